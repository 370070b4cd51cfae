internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import Synchronization
internal import VolumeFS

/// What the daemon does beside serving: it hears signals, keeps enough threads, and writes metrics. One thread runs it, and
/// sleeps while there is nothing of that.
final class DaemonWatch: Sendable {
    static let signals = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGURG]
    /// Nanoseconds between two writes of the metrics' file.
    private static let metricsInterval: UInt64 = 15_000_000_000

    private let files: VolumeFileSystem
    private let options: MountOptions
    private let workers: FuseWorkers
    private let kept: KeptMount?
    private let log: Log
    /// Which filesystem is ours, of those that may be mounted at the same place.
    private let device: String?
    private let metrics: Mutex<String?>
    private let wakeEvent: WakeEvent
    private let events: SignalWatch
    private let flag = Atomic(false)
    private let isLeaving = Atomic(false)

    /// `wakeEvent` is what the file system and the workers call for attention with. `kept` is what a service manager keeps of the
    /// mount. The signals are blocked.
    init(
        files: VolumeFileSystem, options: MountOptions, workers: FuseWorkers, kept: KeptMount?, wakeEvent: WakeEvent
    ) throws(PoolError) {
        self.kept = kept
        self.wakeEvent = wakeEvent
        events = try SignalWatch(Self.signals, wakeEvent: wakeEvent)
        self.files = files
        self.options = options
        self.workers = workers
        log = options.log
        device = options.kept?.record.device ?? MountInfo.top(at: options.mountpoint)?.device
        metrics = Mutex(options.metrics)
    }

    func end() {
        // Only the flag itself is communicated, so relaxed order is enough; joining the thread orders the rest.
        flag.store(true, ordering: .relaxed)
        wakeEvent.wake()
    }

    /// Returns after `end`.
    func run() {
        var isStopping = false
        var nextMetrics = monotonicClock()
        while !flag.load(ordering: .relaxed) {
            let isCrowded = workers.tend()
            let now = monotonicClock()
            if now >= nextMetrics {
                nextMetrics = now + Self.metricsInterval
                writeMetrics()
            }
            let untilMetrics = metrics.withLock { $0 } == nil ? nil : Int((nextMetrics - now) / 1_000_000) + 1
            switch events.next(mounts: device != nil && files.hasEventReaders, milliseconds: isCrowded ? FuseWorkers.interval : untilMetrics) {
            case .other: continue
            case .mounts: endEventsIfDetached()
            case .signal(SIGHUP): reload()
            case .signal(SIGUSR1): writeStatistics()
            case .signal(SIGUSR2): rotateLevel()
            case .signal(SIGURG): leave(isStopping)
            case .signal(let signal):
                if isHandedOver && signal != SIGQUIT { continue }
                if isStopping || signal == SIGQUIT { endAtOnce() }
                isStopping = stop()
            }
        }
    }

    /// Detached by somebody else, the mount ends with the last file: those that wait for events would be that for ever.
    private func endEventsIfDetached() {
        if let device, !MountInfo.all().contains(where: { $0.device == device }) { files.endEvents() }
    }

    // MARK: Ending

    /// The mount stays, for the daemon after this one.
    var isHandedOver: Bool { isLeaving.load(ordering: .acquiring) }

    private func leave(_ isStopping: Bool) {
        if isStopping || isHandedOver { return }
        guard let kept, kept.isKept else {
            return log.write(.warning, "no service manager keeps the mount, so it cannot be handed over", ["mountpoint": options.mountpoint])
        }
        if let danger = files.refugeText {
            return log.write(.warning, "the mount cannot be handed over", ["mountpoint": options.mountpoint, "reason": danger])
        }
        // What was acknowledged and lost must not be taken for stored by the next daemon.
        guard !files.pool.statistics().isSuspended else {
            return log.write(.warning, "the pool is read-only after a failed write, so the mount cannot be handed over", ["mountpoint": options.mountpoint])
        }
        log.write(.info, "handing the mount over", ["mountpoint": options.mountpoint])
        isLeaving.store(true, ordering: .releasing)
        options.reporter.begin(["STOPPING=1"], extends: true) { "handing the mount over" }
        files.beginHandOver(repeats: kept.repeats)
        // Somebody may wait for one.
        files.stopJobs()
        workers.leave()
    }

    /// Unmounts, or detaches the mountpoint while something is open. False if neither could be done.
    private func stop() -> Bool {
        // Whoever is killed from here on was told to end.
        kept?.forget()
        let mounts = MountInfo.all()
        guard let top = mounts.last(where: { $0.mountpoint == options.mountpoint }), top.device == device else {
            files.stop()
            let isCovered = mounts.contains { $0.device == device }
            log.write(
                .warning, isCovered ? "covered by another mount; unmount that first" : "detached already",
                ["mountpoint": options.mountpoint])
            if !isCovered { reportDraining() }
            return !isCovered
        }
        options.reporter.begin(["STOPPING=1"], extends: true) { "unmounting" }
        log.write(.info, "unmounting", ["mountpoint": options.mountpoint])
        if Self.unmount(options.mountpoint, lazily: false) { return true }
        files.stop()
        reportDraining()
        for user in files.users { log.write(.warning, "still open", ["volume": user.name, "by": user.user.text]) }
        if Self.unmount(options.mountpoint, lazily: true) { return true }
        log.write(.error, "cannot be detached", ["mountpoint": options.mountpoint, "reason": String(cString: strerror(errno))])
        return false
    }

    private func reportDraining() {
        options.reporter.begin(["STOPPING=1"], extends: true) { [files] in
            "detached; serving what is open until it is closed, \(files.users.count) of them"
        }
    }

    /// After a second signal: what was written is stored, and what is open breaks.
    private func endAtOnce() -> Never {
        log.write(.warning, "ending although files are open", ["open": "\(files.users.count)"])
        do throws(PoolError) {
            try files.pool.checkpoint()
        } catch {
            log.write(.error, "the last checkpoint failed; the next mount recovers", ["reason": files.sentence(for: error)])
        }
        exit(1)
    }

    private static func unmount(_ mountpoint: String, lazily: Bool) -> Bool {
        if umount2(mountpoint, lazily ? Int32(MNT_DETACH) : 0) == 0 { return true }
        guard errno == EPERM else { return false }
        // Not root: the helper that mounted it may also unmount it.
        let words: [String] = ["fusermount3", lazily ? "-uz" : "-u", "-q", mountpoint]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        guard posix_spawnp(&child, "fusermount3", nil, nil, &arguments, environ) == 0 else { return false }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        return status == 0
    }

    // MARK: The log and metrics

    private func reload() {
        guard let wanted = options.reload() else {
            let problem = log.reopen()
            if problem != 0 { log.write(.error, "the log cannot be opened anew", ["reason": String(cString: strerror(problem))]) }
            return
        }
        let problem = log.open(wanted.target)
        if problem != 0 { log.write(.error, "the log cannot be opened anew", ["reason": String(cString: strerror(problem))]) }
        log.level = wanted.level
        metrics.withLock { $0 = wanted.metrics }
        log.write(.info, "configuration read", ["loglevel": wanted.level.name])
        writeMetrics()
    }

    private func writeStatistics() {
        log.write(.info, "statistics", ["state": files.state, "summary": files.summary, "numbers": files.statisticsLine])
    }

    /// From warning to info to debug and back.
    private func rotateLevel() {
        let next: Log.Level = switch log.level {
        case .error, .warning: .info
        case .info: .debug
        case .debug: .warning
        }
        log.level = next
        log.write(next, "log level", ["loglevel": next.name])
    }

    /// Whoever reads the file finds it whole: it is written beside and renamed.
    func writeMetrics() {
        guard let path = metrics.withLock({ $0 }) else { return }
        let passing = "\(path).\(getpid())"
        let text = files.metrics
        guard let file = fopen(passing, "we") else { return sayMetricsFailed(path) }
        let isWritten = fputs(text, file) >= 0
        if fclose(file) == 0 && isWritten && rename(passing, path) == 0 { return }
        sayMetricsFailed(path)
        unlink(passing)
    }

    private func sayMetricsFailed(_ path: String) {
        log.write(.warning, "metrics cannot be written", ["file": path, "reason": String(cString: strerror(errno))])
    }
}
