internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// `volfs wait`: returns when what was deleted is freed, or a job is done.
enum WaitCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let what = arguments.operands.count > 1 ? arguments.operands[1] : Self.freed
        let kinds = [Self.freed] + Jobs.Kind.allCases.map(\.rawValue)
        guard kinds.contains(what) else { throw .usage(what, "there is no such job; there is \(kinds.joined(separator: ", "))") }
        let timeout = try TopCommand.number(arguments, "timeout", 0...1_000_000_000)
        Interruption.watch()
        guard let mount = MountTable().mount(serving: path) else {
            guard Self.isFreeing(what) else { throw Failure(.notFound, what, "does not run, as the pool is not mounted", errno: ENOENT) }
            // Opening a pool for writing and closing it frees all there is.
            let pool = try DirectPool(path: path, mode: .readWrite)
            try pool.finish()
            return tell(what, "done", arguments)
        }
        let pool = ControlledPool(mount), began = wallClock()
        // From before it is looked at: of its end nothing else is left to see.
        let endings = what == Jobs.Kind.shrink.rawValue ? JobEndings(of: what, mountpoint: mount.mountpoint) : nil
        var hasRun = false
        while let state = try state(of: what, pool) {
            hasRun = true
            if state != "running" { return tell(what, state, arguments) }
            try Interruption.check(what, "it goes on; wait again: volfs wait \(Path.quoted(arguments.operands[0])) \(what)")
            if let timeout, wallClock() > began, (wallClock() - began) / 1_000_000_000 >= UInt64(timeout) {
                throw Failure(.busy, what, "is not done after \(timeout) s; wait again, or see: volfs status \(Path.quoted(arguments.operands[0]))", errno: ETIMEDOUT)
            }
            pause(milliseconds: 50)
        }
        if hasRun, let state = endings?.last() {
            if state == "clean" { return tell(what, "ended", arguments) }
            throw Failure(.failed, what, "\(state == "cancelled" ? "was cancelled" : "failed"), and the pool is as large as it was", errno: state == "cancelled" ? EINTR : EIO)
        }
        if hasRun {
            throw Failure(
                .failed, what, "runs no more, and its report is gone, as somebody else fetched it or cancelled it, or its daemon ended; see: volfs status \(Path.quoted(arguments.operands[0]))",
                errno: ENOENT)
        }
        let start = [Jobs.Kind.scrub.rawValue: "volfs scrub \(Path.quoted(arguments.operands[0])) --start"][what] ?? "volfs status \(Path.quoted(arguments.operands[0]))"
        throw Failure(.notFound, what, "does not run, and has left no report; see: \(start)", errno: ENOENT)
    }

    private static let freed = "freed"

    /// The job is there only as long as there is something to free, and what is waited for is that there is nothing.
    private static func isFreeing(_ what: String) -> Bool { [freed, Jobs.Kind.freeing.rawValue].contains(what) }

    /// `running` or what it ended as; nil for a job that is not there.
    private static func state(of what: String, _ pool: ControlledPool) throws(Failure) -> String? {
        guard isFreeing(what) else {
            return MountedJob(what, mountpoint: pool.mountpoint).state
        }
        let statistics = try pool.counters()
        return statistics.number("hidden") > statistics.number("waiting") ? "running" : "done"
    }

    private static func tell(_ what: String, _ state: String, _ arguments: Arguments) -> Int32 {
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.wait/1")), ("what", .text(what)), ("state", .text(state))])) }
        return 0
    }
}
