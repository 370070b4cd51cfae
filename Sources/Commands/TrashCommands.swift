internal import Glibc
internal import VolumeFS

/// `volfs undelete` and `volfs purge`: what was removed under a mount with a trash.
enum TrashCommands {
    static func undelete(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1]
        // A second one of a name has a number behind it in the trash, which no volume's name can have.
        let new = arguments.operands.count > 2 ? arguments.operands[2] : String(name.prefix { $0 != "~" })
        try NameRule.checkVolume(new)
        let pool = try access(toPool: arguments.operands[0], writing: true)
        guard let entry = try pool.trash().first(where: { $0.name == name }) else { throw notThere(name, arguments) }
        try pool.undelete(entry, as: new)
        return try ChangeReport.finish(pool, arguments, changed: [new])
    }

    /// If one of several is not there, all of them stay.
    static func purge(_ arguments: Arguments) throws(Failure) -> Int32 {
        let isDryRun = arguments.has("dry-run"), isConfirmed = arguments.has("yes")
        let pool = try access(toPool: arguments.operands[0], writing: !isDryRun)
        let all = try pool.trash(), names = arguments.operands.dropFirst()
        for name in names where !all.contains(where: { $0.name == name }) { throw notThere(name, arguments) }
        let doomed = names.isEmpty ? all : all.filter { names.contains($0.name) }
        if isDryRun && arguments.isJSON { say(DestroyCommand.json(doomed, freed: nil, isDryRun: true, trashSeconds: 0)) }
        if doomed.isEmpty { complain("volfs: \(arguments.operands[0]): its trash is empty") }
        if !doomed.isEmpty && (!isConfirmed || isDryRun) {
            for entry in doomed {
                let line = "\(isDryRun ? "would" : "will") delete \(entry.name) for good (\(Wording.size(entry.referenced)) referenced)"
                // Standard output is for the object.
                if !arguments.isJSON { say(line) } else if !isDryRun { complain(line) }
            }
        }
        if isDryRun { return 0 }
        if !isConfirmed && !doomed.isEmpty { try DestroyCommand.confirm("Delete \(doomed.count == 1 ? "it" : "them") for good?", "nothing was deleted", arguments) }
        let (purged, failures) = ChangeReport.each(doomed) { entry throws(Failure) in try pool.purge(entry) }
        try pool.finish()
        if arguments.isJSON && failures.count < max(1, doomed.count) { say(DestroyCommand.json(purged, freed: nil, isDryRun: false, trashSeconds: 0)) }
        return try ChangeReport.conclude(failures, of: doomed.count, arguments)
    }

    static func notThere(_ name: String, _ arguments: Arguments) -> Failure {
        Failure(.notFound, name, "is not in the trash; see: volfs list \(Path.quoted(arguments.operands[0])) -t trash", errno: ENOENT)
    }
}
