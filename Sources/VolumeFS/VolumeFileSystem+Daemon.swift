internal import PoolEngine
internal import Synchronization

/// What the daemon tells its log, its service manager and whoever collects metrics.
extension VolumeFileSystem {
    /// `12 volumes, 3 open, 41 % used`.
    public var summary: String {
        let usage = pool.usage(), statistics = pool.statistics()
        let percent = usage.capacity == 0 ? 0 : Double(usage.allocated) * 100 / Double(usage.capacity)
        let opened = open.withLock { $0.files.count }
        return "\(statistics.volumes) volume\(statistics.volumes == 1 ? "" : "s"), \(opened) open, \(Int(percent.rounded())) % used"
    }

    /// What `.ctl/state` says.
    public var state: String { stateName }

    /// All numbers of `.ctl/stats.json` as `key=value`.
    public var statisticsLine: String { statisticsNumbers.map { "\($0.0)=\($0.1)" }.joined(separator: " ") }

    /// Bytes that the names of open directories may have together.
    public static var directoryLimit: Int { MemoryBound.directories }

    /// `isKept` is asked whenever somebody wants to know whether the mount would outlive the daemon.
    public func tellWhetherRestartable(_ isKept: @escaping @Sendable () -> Bool) { isRestartable.withLock { $0 = isKept } }

    /// Files that can be open at a time.
    public static var handleLimit: Int { MemoryBound.handles }

    /// What `.ctl/metrics` says.
    public var metrics: String { metricsText() }

    /// What serves the pool beside the mount may take so many bytes of memory. To be called once.
    public func noteMemory(beside bytes: UInt64) { besideMemory.store(bytes, ordering: .relaxed) }

    /// Bytes of memory that the daemon stays below whatever it is asked to do (volfs(1), mount.volfs(8)).
    public var memoryBound: UInt64 {
        let statistics = pool.statistics()
        return MemoryBound(
            configuration: pool.configuration, blocks: pool.usage().capacity / UInt64(pool.geometry.blockSize),
            objects: UInt64(statistics.volumes + statistics.snapshots + statistics.hidden), threads: UInt64(options.threads),
            transfer: UInt64(options.transfer), beside: besideMemory.load(ordering: .relaxed)
        ).bytes
    }
}
