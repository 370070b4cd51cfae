internal import Glibc
internal import PoolEngine
internal import VolumeFS

/// `volfs destroy`: what goes is said before anybody is asked.
enum DestroyCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let isDryRun = arguments.has("dry-run"), isConfirmed = arguments.has("yes")
        let pool = try access(toPool: arguments.operands[0], writing: !isDryRun)
        var doomed = try select(try pool.list(), of: pool, arguments)
        // Before the first goes, as snapshots would be lost for nothing.
        try ChangeReport.refuse(.destroy, of: doomed, in: pool, arguments)
        let isSaying = isDryRun || !isConfirmed || arguments.has("verbose")
        if isSaying { doomed = try pool.counted(doomed) }
        // A mount may keep removed volumes for a while.
        let seconds = try pool.trashSeconds(), gone = seconds > 0 ? doomed.filter(\.isSnapshot) : doomed
        let freed = !isSaying ? nil : gone.isEmpty ? 0 : try pool.freed(byDestroying: gone)
        if isDryRun && arguments.isJSON { say(json(doomed, freed: freed, isDryRun: true, trashSeconds: seconds)) }
        if isSaying && (!arguments.isJSON || !isDryRun && !isConfirmed) {
            let lines = explanation(of: doomed, freed: freed, isDryRun ? "would" : "will", trashSeconds: seconds)
            // Standard output is for the object.
            for line in lines { if arguments.isJSON { complain(line) } else { say(line) } }
        }
        if isDryRun { return 0 }
        if !isConfirmed { try confirm("Destroy \(doomed.count == 1 ? "it" : "them")?", "nothing was destroyed", arguments) }
        let (destroyed, failures) = ChangeReport.each(doomed) { object throws(Failure) in try pool.destroy(object) }
        try pool.finish()
        if arguments.isJSON && !destroyed.isEmpty { say(json(destroyed, freed: nil, isDryRun: false, trashSeconds: seconds)) }
        return try ChangeReport.conclude(failures, of: doomed.count, arguments)
    }

    private static func explanation(of doomed: [ObjectLine], freed: UInt64?, _ verb: String, trashSeconds: UInt64) -> [String] {
        var lines = doomed.map { object in
            trashSeconds > 0 && !object.isSnapshot
                ? "\(verb) move \(object.name) to the trash (\(Wording.size(object.referenced)) referenced, which is free \(time(trashSeconds)) later)"
                : "\(verb) destroy \(object.name) (\(cost(of: object)))"
        }
        if doomed.count > 1, let freed { lines.append("together they free \(freed == 0 ? "nothing" : Wording.size(freed))") }
        return lines
    }

    private static func time(_ seconds: UInt64) -> String {
        for (unit, name) in [(86_400, "day"), (3600, "hour"), (60, "minute")] as [(UInt64, String)] where seconds % unit == 0 {
            return Wording.count(seconds / unit, name)
        }
        return Wording.count(seconds, "second")
    }

    /// What destroying one object costs whoever does it.
    static func cost(of object: ObjectLine) -> String {
        "\(Wording.size(object.referenced)) referenced" + (object.usage.map { ", frees \(Wording.size($0.unique))" } ?? "")
    }

    /// What goes, snapshots before their volume.
    private static func select(_ lines: [ObjectLine], of pool: any PoolAccess, _ arguments: Arguments) throws(Failure) -> [ObjectLine] {
        let named = try ListCommand.select(lines, names: Array(arguments.operands.dropFirst()), of: pool, arguments)
        var doomed = Set(named.map(\.name))
        for volume in named where !volume.isSnapshot {
            let snapshots = lines.filter { $0.isSnapshot && split($0.name).volume == volume.name }
            if arguments.has("recursive") { doomed.formUnion(snapshots.map(\.name)) }
            guard snapshots.allSatisfy({ doomed.contains($0.name) }) else {
                throw Failure(
                    .busy, volume.name, "has \(Wording.count(volume.snapshots, "snapshot")); destroy them first, or use -r", errno: ENOTEMPTY)
            }
        }
        return lines.filter { $0.isSnapshot && doomed.contains($0.name) } + lines.filter { !$0.isSnapshot && doomed.contains($0.name) }
    }

    static func json(_ lines: [ObjectLine], freed: UInt64?, isDryRun: Bool, trashSeconds: UInt64) -> String {
        JSON.object([
            ("schema", .text("volfs.destroy/1")), ("dry_run", .bool(isDryRun)), ("frees", freed.map { .size($0) } ?? .null),
            ("objects", .array(lines.map(\.json))),
            ("trashed", .array(trashSeconds == 0 ? [] : lines.filter { !$0.isSnapshot }.map { .text($0.name) })),
        ])
    }

    /// Throws `refusal` unless the answer is yes.
    static func confirm(_ question: String, _ refusal: String, _ arguments: Arguments) throws(Failure) {
        guard isatty(0) == 1 else { throw .usage(arguments.command, "there is no terminal to ask on; add -y") }
        // Not on standard output, which may be a file.
        fflush(nil)
        _ = "\(question) [y/N] ".withCString { write(2, $0, strlen($0)) }
        guard let answer = readLine(), answer == "y" || answer == "yes" else {
            throw Failure(.failed, arguments.command, refusal)
        }
    }
}
