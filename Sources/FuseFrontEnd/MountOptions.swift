public import BlockStorage

/// How a pool is mounted.
public struct MountOptions: Sendable {
    /// Absolute path of an existing directory.
    public var mountpoint: String
    /// Absolute path of the pool, shown as the mount's source.
    public var source: String
    public var isReadOnly = false
    /// Every write is durable when it returns.
    public var isSynchronous = false
    /// Whether other users may use the mount; files' modes decide what they may do.
    public var allowsOthers = false
    public var showsSnapshots = true
    public var showsControl = false
    public var hasControl = true
    /// Makes what the pool is on larger; refused where that is not known.
    public var enlarge: @Sendable (UInt64) throws(PoolError) -> Void = { _ throws(PoolError) in throw .notSupported }
    /// libfuse prints every request.
    public var debugs = false
    /// Threads that serve requests.
    public var threads = 3
    /// Mode of new volumes, before the caller's umask.
    public var fileMode: UInt32 = 0o666

    public init(mountpoint: String, source: String) {
        self.mountpoint = mountpoint
        self.source = source
    }
}
