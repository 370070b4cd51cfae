internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// `volfs repair`, with the exit statuses of fsck(8).
enum RepairCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        try CheckCommand.judged(arguments) { path throws(Failure) in
            try refuseIfMounted(path)
            let isDryRun = arguments.has("dry-run"), isForced = arguments.has("force")
            let report: RepairReport
            Interruption.watch()
            let device = CancellableDevice(try PoolDevice.open(path, writing: !isDryRun, isPlan: isDryRun)) { !Interruption.isEnding }
            do throws(PoolError) {
                report = try Pool.repair(device, environment: DirectPool.environment, isDryRun: isDryRun, givesUpVolumes: isForced)
            } catch {
                if device.isCancelled { throw Interruption.failure(path, "nothing was changed; start again") }
                throw Failure(error, object: path, pool: path)
            }
            // What could not be read any more may have been taken for damage.
            if device.isCancelled { throw Interruption.failure(path, "nothing was changed; start again") }
            say(arguments.isJSON ? ReportText.json(report, isDryRun: isDryRun) : ReportText.text(report, isDryRun: isDryRun))
            if report.isClean { return CheckCommand.Status.clean }
            if !isDryRun && !report.isRepaired {
                throw Failure(
                    .corrupt, path,
                    "whole volumes would be lost, and nothing was written; keep a copy of the file, see volfs restore, then give them up with: "
                        + "volfs repair --force \(Path.quoted(path))")
            }
            return isDryRun ? CheckCommand.Status.uncorrected : CheckCommand.Status.corrected
        }
    }
}
