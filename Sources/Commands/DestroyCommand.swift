internal import Glibc
internal import VolumeFS

enum DestroyCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let isDryRun = arguments.has("dry-run")
        let pool = try access(toPool: arguments.operands[0], writing: !isDryRun)
        let doomed = try select(try pool.list(), arguments)
        if isDryRun || !arguments.has("yes") {
            for object in doomed { say("\(isDryRun ? "would destroy" : "will destroy") \(object.name) (\(Wording.size(object.referenced)) referenced)") }
        }
        if isDryRun { return 0 }
        if !arguments.has("yes") { try confirm() }
        for object in doomed { try pool.destroy(object) }
        try pool.finish()
        return 0
    }

    /// What goes, snapshots before their volume.
    private static func select(_ lines: [ObjectLine], _ arguments: Arguments) throws(Failure) -> [ObjectLine] {
        var doomed: [ObjectLine] = []
        for object in try ListCommand.select(lines, names: Array(arguments.operands.dropFirst())) {
            if !object.isSnapshot && object.snapshots > 0 {
                guard arguments.has("recursive") else {
                    throw Failure(.busy, object.name, "has \(object.snapshots) snapshots; destroy them first, or use -r", errno: ENOTEMPTY)
                }
                doomed += lines.filter { $0.isSnapshot && split($0.name).volume == object.name }
            }
            doomed.append(object)
        }
        var seen: Set<String> = []
        return doomed.filter { seen.insert($0.name).inserted }
    }

    private static func confirm() throws(Failure) {
        guard isatty(0) == 1 else { throw .usage("destroy", "there is no terminal to ask on; add -y") }
        say("Destroy them? [y/N] ", end: "")
        fflush(nil)
        guard let answer = readLine(), answer == "y" || answer == "yes" else { throw Failure(.failed, "destroy", "nothing was destroyed") }
    }
}
