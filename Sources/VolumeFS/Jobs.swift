package import BlockStorage
package import PoolEngine
internal import Synchronization

/// Long work on a pool in use, as directories: `mkdir .ctl/job/scrub` starts it, `rmdir` cancels it and removes its report.
/// `freeing` is there as long as what was deleted is being freed, `shrink` as long as a write to `.ctl/size` makes the pool
/// smaller, which `rmdir` cancels.
public final class Jobs: Sendable {
    public enum Kind: String, CaseIterable, Sendable { case scrub, check, checkData = "check-data", shrink, freeing }

    /// What `.ctl/job/KIND/state` says.
    enum Phase: String, Sendable { case running, clean, problems, cancelled, failed }

    struct Job: Sendable {
        var phase = Phase.running
        var control = JobControl()
        var started: UInt64
        /// Of freeing; others have it from their control.
        var progress: (done: UInt64, total: UInt64)?
        var text = ""
        var json = ""
    }

    private let jobs = Mutex<[Kind: Job]>([:])
    private let freeing = Mutex<FreeingJob?>(nil)
    private let pool: Pool
    private let options: VolumeFileSystem.Options
    private let events: EventLog

    init(pool: Pool, options: VolumeFileSystem.Options, events: EventLog) {
        self.pool = pool
        self.options = options
        self.events = events
    }

    var kinds: [Kind] {
        let isFreeing = observeFreeing() != nil
        return jobs.withLock { jobs in Kind.allCases.filter { jobs[$0] != nil || ($0 == .freeing && isFreeing) } }
    }

    func job(_ kind: Kind) throws(PoolError) -> Job {
        if kind == .freeing {
            guard let freeing = observeFreeing() else { throw .notFound }
            return Job(started: freeing.started, progress: (freeing.done, freeing.total))
        }
        return try jobs.withLock { jobs throws(PoolError) in
            guard let job = jobs[kind] else { throw .notFound }
            return job
        }
    }

    /// Throws `.exists` while one of that kind runs or its report is there.
    func start(_ kind: Kind) throws(PoolError) {
        if kind == .freeing { throw .refused(.freesByItself) }
        if kind == .shrink { throw .refused(.shrinksBySize) }
        let job = Job(started: options.now())
        try jobs.withLock { jobs throws(PoolError) in
            if jobs[kind] != nil { throw .exists }
            jobs[kind] = job
        }
        let isStarted = options.spawn { [self] in run(kind, job.control) }
        guard isStarted else {
            jobs.withLock { $0[kind] = nil }
            throw .system(.thread, errno: 11)
        }
        events.publish("job-started", kind.rawValue)
    }

    /// Cancels it if it runs, and waits for that. Its report is gone on return.
    func remove(_ kind: Kind) throws(PoolError) {
        if kind == .freeing { throw .refused(.freesByItself) }
        let control = try job(kind).control
        control.cancel()
        // Another one may have begun behind it.
        while jobs.withLock({ $0[kind]?.control === control && $0[kind]?.phase == .running }) { options.pause(10) }
        jobs.withLock { jobs in if jobs[kind]?.control === control { jobs[kind] = nil } }
    }

    /// Does the work in the caller's thread. It is a job as long as it lasts, and leaves no report: the caller has the result.
    /// Throws `.inUse` while there is another of that kind.
    package func during(_ kind: Kind, _ body: (JobControl) throws(PoolError) -> Void) throws(PoolError) {
        let job = Job(started: options.now())
        try jobs.withLock { jobs throws(PoolError) in
            if jobs[kind] != nil { throw .inUse }
            jobs[kind] = job
        }
        events.publish("job-started", kind.rawValue)
        var phase = Phase.failed
        defer {
            jobs.withLock { $0[kind] = nil }
            events.publish("job-finished", kind.rawValue, [("state", .text(phase.rawValue))])
        }
        do throws(PoolError) {
            try body(job.control)
            phase = .clean
        } catch {
            if error == .cancelled { phase = .cancelled }
            throw error
        }
    }

    /// Cancels everything, and returns when nothing runs any more.
    func stop() { for kind in kinds { try? remove(kind) } }

    /// Compares with what is left to free. Nil if there is nothing.
    @discardableResult
    func observeFreeing() -> FreeingJob? {
        let left = pool.freeing(), now = options.now()
        let (before, after) = freeing.withLock { freeing in
            let before = freeing
            if left.isEmpty {
                freeing = nil
            } else {
                var job = freeing ?? FreeingJob(started: now)
                job.update(left)
                freeing = job
            }
            return (before, freeing)
        }
        if before == nil && after != nil { events.publish("job-started", Kind.freeing.rawValue) }
        if before != nil && after == nil { events.publish("job-finished", Kind.freeing.rawValue, [("state", .text(Phase.clean.rawValue))]) }
        return after
    }

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
            case .freeing, .shrink: preconditionFailure("neither is started as a job")
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
        events.publish("job-finished", kind.rawValue, [("state", .text(end.rawValue))])
    }
}
