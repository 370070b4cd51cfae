internal import BlockStorage
internal import Glibc
internal import PoolEngine
internal import VolumeFS

/// `volfs check`, with the exit statuses of fsck(8).
package enum CheckCommand {
    package enum Status {
        package static let clean: Int32 = 0, corrected: Int32 = 1, uncorrected: Int32 = 4, operational: Int32 = 8, usage: Int32 = 16
        package static let cancelled: Int32 = 32
        /// Commands that have them.
        package static let commands: Set<String> = ["check", "repair", "scrub"]
    }

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let mode = try Progress.mode(arguments), readsData = arguments.has("data")
        return try judged(arguments) { path throws(Failure) in
            let mounted = MountTable().mount(serving: path)
            // Where the kernel lets nobody start a job nobody writes either: the file can be read beside the daemon.
            let isReadOnly = mounted.map { MountTable.readOnlyReason($0.mountpoint) != nil } ?? false
            if let mount = mounted, !isReadOnly {
                let job = MountedJob(readsData ? "check-data" : "check", mountpoint: mount.mountpoint)
                return try job.run(isJSON: arguments.isJSON, mode)
            }
            let pool = try DirectPool.opened(mounted?.source ?? path, mode: .readOnly)
            let report: CheckReport
            do throws(PoolError) {
                report = try WatchedWork.run("check", mode) { control throws(PoolError) in
                    try pool.check(readingData: readsData, control: control)
                }
            } catch .cancelled where Interruption.isEnding {
                throw Interruption.failure(path, "nothing was changed; start again")
            } catch {
                throw Failure(error, object: path, pool: path)
            }
            say(arguments.isJSON ? ReportText.json(report) : ReportText.text(report))
            return report.isClean ? Status.clean : Status.uncorrected
        }
    }

    /// Runs one of these commands on the pool of the first operand; a failure is said, and becomes one of their statuses.
    static func judged(_ arguments: Arguments, _ body: (String) throws(Failure) -> Int32) throws(Failure) -> Int32 {
        do throws(Failure) {
            return try body(Path.absolute(arguments.operands[0]))
        } catch {
            let code = status(of: error)
            complain(arguments.isJSON ? error.json(code: code) : error.text)
            return code
        }
    }

    private static func status(of failure: Failure) -> Int32 {
        switch failure.status {
        // What is no pool cannot be judged.
        case .corrupt where failure.errno == EMEDIUMTYPE: Status.operational
        case .corrupt: Status.uncorrected
        case .interrupted, .terminated: Status.cancelled
        case .usage: Status.usage
        default: Status.operational
        }
    }
}
