internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Long work on a pool in use, as directories: `mkdir .ctl/job/scrub` starts it, `rmdir` cancels it and removes its report.
public final class Jobs: Sendable {
    public enum Kind: String, CaseIterable, Sendable { case scrub, check, checkData = "check-data" }

    /// What `.ctl/job/KIND/state` says.
    enum Phase: String, Sendable { case running, clean, problems, cancelled, failed }

    struct Job: Sendable {
        var phase = Phase.running
        var control = JobControl()
        var started: UInt64
        var text = ""
        var json = ""
    }

    private let jobs = Mutex<[Kind: Job]>([:])
    private let pool: Pool
    private let options: VolumeFileSystem.Options

    init(pool: Pool, options: VolumeFileSystem.Options) {
        self.pool = pool
        self.options = options
    }

    var kinds: [Kind] { jobs.withLock { jobs in Kind.allCases.filter { jobs[$0] != nil } } }

    func job(_ kind: Kind) throws(PoolError) -> Job {
        try jobs.withLock { jobs throws(PoolError) in
            guard let job = jobs[kind] else { throw .notFound }
            return job
        }
    }

    /// Throws `.exists` while one of that kind runs or its report is there.
    func start(_ kind: Kind) throws(PoolError) {
        let job = Job(started: options.now())
        try jobs.withLock { jobs throws(PoolError) in
            if jobs[kind] != nil { throw .exists }
            jobs[kind] = job
        }
        let isStarted = options.spawn { [self] in run(kind, job.control) }
        if isStarted { return }
        jobs.withLock { $0[kind] = nil }
        throw .system(.thread, errno: 11)
    }

    /// Cancels it if it runs, and waits for that. Its report is gone on return.
    func remove(_ kind: Kind) throws(PoolError) {
        try job(kind).control.cancel()
        while try job(kind).phase == .running { options.pause(10) }
        jobs.withLock { $0[kind] = nil }
    }

    /// Cancels everything, and returns when nothing runs any more.
    func stop() { for kind in kinds { try? remove(kind) } }

    private func run(_ kind: Kind, _ control: JobControl) {
        var phase = Phase.failed, text = "", json = ""
        do throws(PoolError) {
            switch kind {
            case .scrub:
                // A little at a time: a mebibyte, then room for the others.
                let report = try pool.scrub(control, pause: { options.pause(2) })
                (phase, text, json) = (report.isClean ? .clean : .problems, ReportText.text(report), ReportText.json(report))
            case .check, .checkData:
                let report = try pool.checkWhileUsed(readingData: kind == .checkData, control: control)
                (phase, text, json) = (report.isClean ? .clean : .problems, ReportText.text(report), ReportText.json(report))
            }
        } catch .cancelled {
            phase = .cancelled
        } catch {
            text = reason(for: error)
        }
        let (end, report, structured) = (phase, text, json)
        jobs.withLock { jobs in
            jobs[kind]?.phase = end
            jobs[kind]?.text = report + "\n"
            jobs[kind]?.json = structured + "\n"
        }
    }
}
