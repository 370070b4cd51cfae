internal import BlockStorage
internal import PoolEngine
internal import VolumeFS

/// `volfs scrub`: reads and verifies everything, of a mounted pool in the daemon, of another one here.
enum ScrubCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let ways = ["start", "stop", "status", "wait"].filter { arguments.has($0) }
        guard ways.count <= 1 else { throw .usage("--\(ways[1])", "one of --start, --stop, --status and --wait") }
        let mode = try Progress.mode(arguments)
        return try CheckCommand.judged(arguments) { path throws(Failure) in
            if let mount = MountTable().mount(serving: path) {
                return try mounted(MountedJob("scrub", mountpoint: mount.mountpoint), ways.first, arguments, mode)
            }
            guard ways.isEmpty else { throw Failure(.failed, path, "is not mounted; without --\(ways[0]) it is scrubbed here and now") }
            let pool = try DirectPool.opened(path, mode: .readWrite)
            let report: ScrubReport
            do throws(PoolError) {
                report = try WatchedWork.run("scrub", mode) { control throws(PoolError) in try pool.scrub(control) }
                try pool.close()
            } catch .cancelled where Interruption.isEnding {
                try? pool.close()
                throw Interruption.failure(path, "what was mended is stored; a scrub begins at the beginning: volfs scrub \(Path.quoted(path))")
            } catch {
                throw Failure(error, object: path, pool: path)
            }
            say(arguments.isJSON ? ReportText.json(report) : ReportText.text(report))
            return report.isClean ? CheckCommand.Status.clean : CheckCommand.Status.uncorrected
        }
    }

    private static func mounted(
        _ job: MountedJob, _ way: String?, _ arguments: Arguments, _ mode: Progress.Mode
    ) throws(Failure) -> Int32 {
        switch way {
        case "start": try job.start()
        case "stop": try job.stop()
        case "status": say(arguments.isJSON ? job.json.description : job.status)
        case "wait": return try job.wait(isJSON: arguments.isJSON, mode, cancels: false)
        default: return try job.run(isJSON: arguments.isJSON, mode, cancels: false)
        }
        if arguments.isJSON && way != "status" { say(job.json.description) }
        return 0
    }
}
