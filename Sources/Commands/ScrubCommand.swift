internal import BlockStorage
internal import PoolEngine
internal import VolumeFS

/// `volfs scrub`: reads and verifies everything, of a mounted pool in the daemon, of another one here.
enum ScrubCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let ways = ["start", "stop", "status", "wait"].filter { arguments.has($0) }
        guard ways.count <= 1 else { throw .usage("--\(ways[1])", "one of --start, --stop, --status and --wait") }
        return try CheckCommand.judged(arguments) { path throws(Failure) in
            if let mount = MountTable().mount(serving: path) {
                return try mounted(MountedJob("scrub", mountpoint: mount.mountpoint), ways.first, isJSON: arguments.isJSON)
            }
            guard ways.isEmpty else { throw Failure(.failed, path, "is not mounted; without --\(ways[0]) it is scrubbed here and now") }
            let pool = try DirectPool.opened(path, mode: .readWrite)
            do throws(PoolError) {
                let report = try pool.scrub(JobControl())
                try pool.close()
                say(arguments.isJSON ? ReportText.json(report) : ReportText.text(report))
                return report.isClean ? CheckCommand.Status.clean : CheckCommand.Status.uncorrected
            } catch {
                throw Failure(error, object: path, pool: path)
            }
        }
    }

    private static func mounted(_ job: MountedJob, _ way: String?, isJSON: Bool) throws(Failure) -> Int32 {
        switch way {
        case "start": try job.start()
        case "stop": try job.stop()
        case "status": say(try job.status())
        case "wait": return try job.wait(isJSON: isJSON)
        default: return try job.run(isJSON: isJSON)
        }
        return 0
    }
}
