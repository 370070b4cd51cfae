public import LinuxIO

/// How a pool is mounted.
public struct MountOptions: Sendable {
    /// Who may use a mount besides its owner; files' modes decide what they may do.
    public enum Access: Sendable { case owner, root, everybody }

    /// What can change while the pool is mounted.
    public struct Reloadable: Sendable {
        public var target: Log.Target
        public var level: Log.Level
        /// Absolute path of a file for metrics, or nil.
        public var metrics: String?

        public init(target: Log.Target, level: Log.Level, metrics: String?) {
            self.target = target
            self.level = level
            self.metrics = metrics
        }
    }

    /// Absolute path of an existing directory.
    public var mountpoint: String
    /// Absolute path of the pool, shown as the mount's source.
    public var source: String
    public var isReadOnly = false
    /// Every write is durable when it returns.
    public var isSynchronous = false
    public var access = Access.owner
    public var showsSnapshots = true
    public var showsControl = false
    public var hasControl = true
    /// Of the program, for metrics.
    public var version = ""
    /// libfuse prints every request.
    public var debugs = false
    /// Threads that serve requests, and those that may wait for one beyond that number.
    public var threads = 3
    public var idleThreads = 2
    /// Bytes of the largest read that the kernel asks for; 0 leaves it to the kernel.
    public var maximumRead: UInt32 = 0
    /// Seconds, at most 1, for which the kernel may take a snapshot's attributes for what they were.
    public var attributeSeconds = 1.0
    /// Words for mount(2) and the kernel.
    public var kernelOptions: [String] = []
    /// Owner of directories and new volumes, if not who mounted and who makes them.
    public var owner: UInt32?
    public var group: UInt32?
    /// Taken from modes of new volumes, beside the caller's umask.
    public var umask: UInt32 = 0
    /// Mode of new volumes, whatever their maker asks for.
    public var fileMode: UInt32?
    public var directoryMode: UInt32 = 0o755
    public var cloneMode: UInt32 = 0o755
    /// New volumes have the property fixed=on.
    public var makesFixed = false
    /// fallocate(2) without flags reserves; else it is accepted and does nothing.
    public var reservesOnAllocate = true
    /// Seconds for which removed volumes are kept; 0 for not at all.
    public var trashSeconds: UInt64 = 0
    /// Absolute path of a file that metrics are written to, or nil.
    public var metrics: String?
    public var log = Log(name: "volfs")
    public var reporter = ServiceReporter.none
    /// A mount that another daemon has left to this one.
    package var kept: KeptMount?
    /// What the configuration says now; nil, with the reason in the log, if it cannot be read.
    public var reload: @Sendable () -> Reloadable? = { nil }

    public init(mountpoint: String, source: String) {
        self.mountpoint = mountpoint
        self.source = source
    }
}
