internal import BlockStorage
public import PoolEngine
internal import Synchronization

/// What a mount shows of a pool: volumes and snapshots as files, and the control directory `.ctl`.
///
/// Each verb is one call of the engine. Any thread may call; nothing is kept between calls but open files, and of groups
/// without members their names. Errors are `PoolError`s, whose errno is the errno table of volfs-ctl(7).
public final class VolumeFileSystem: Sendable {
    public let pool: Pool
    let options: Options
    let refusals = RefusalLog()
    let open: Mutex<OpenTable>
    package let jobs: Jobs
    let limits = Mutex(LimitsCache())
    let times: DirectoryTimes
    let events: EventLog
    /// Counts and times of requests, which whoever serves them notes.
    public let requests: RequestMetrics
    /// URIs of NBD servers of it.
    let servedAt = Mutex<[String]>([])
    /// Whether the daemon can be started again without an end of the mount.
    let isRestartable = Mutex<@Sendable () -> Bool>({ false })
    /// What the state was when it was last looked at, for an event.
    let lastState = Mutex<String?>(nil)
    /// Bytes that the last request needed that was refused because the pool was full; 0 if none was.
    let shortage = Atomic<UInt64>(0)
    /// One more than the bytes that the host had free when it was that which had no room; 0 if it was not.
    let hostShortage = Atomic<UInt64>(0)
    /// The size in bytes that the device had when it was first seen to be shorter than the pool, 1 at least; 0 as long as it was not.
    /// A lone number: relaxed.
    let cutSize = Atomic<UInt64>(0)
    let groups = Mutex(GroupTable())
    /// Names in the trash that somebody is about to take.
    let trashNames = Mutex<Set<String>>([])
    /// Held by who takes something out of the trash, to have it back or for good.
    let trashExit = Mutex<Void>(())
    let trashChecked = Mutex<UInt64>(0)
    /// Since when those in the trash are taken to be there whose time of change was still to come when they were first seen, by id.
    let trashSeen = Mutex<[UInt64: (changed: UInt64, since: UInt64)]>([:])
    /// Held while a volume's list of groups is read and written: a commit lock.
    let membershipLock = Mutex<Void>(())
    let walks = WalkControls()
    /// Bytes of memory that what serves the pool beside the mount may take.
    let besideMemory = Atomic<UInt64>(0)

    /// What a mount chooses.
    public struct Options: Sendable {
        /// Where it is mounted, as an absolute path, for symlinks with absolute targets.
        public var mountpoint = ""
        public var isReadOnly = false
        /// False for a pool that a command has opened for itself.
        public var isMounted = true
        /// Every write is durable when it returns.
        public var isSynchronous = false
        public var showsSnapshots = true
        public var showsControl = false
        public var hasControl = true
        /// Owner of the directories.
        public var uid: UInt32 = 0
        public var gid: UInt32 = 0
        public var process: Int32 = 0
        public var source = ""
        /// Owner of new volumes, if not who makes them.
        public var newOwner: UInt32?
        public var newGroup: UInt32?
        /// Taken from the modes of new volumes.
        public var umask: UInt32 = 0
        /// Mode of new volumes, whatever their maker asks for.
        public var fileMode: UInt32?
        /// Mode of the mount's root; of `.ctl/clone`.
        public var directoryMode: UInt32 = 0o755
        public var cloneMode: UInt32 = 0o755
        /// New volumes have the property fixed=on.
        public var makesFixed = false
        /// fallocate(2) without flags reserves; else it is accepted and does nothing.
        public var reservesOnAllocate = true
        /// Seconds for which removed volumes are kept; 0 for not at all.
        public var trashSeconds: UInt64 = 0
        /// The most threads that call, and the bytes of the largest request: for the bound on memory.
        public var threads = 1
        public var transfer = 1 << 20
        /// Of the program, for `.ctl/metrics`.
        public var version = ""
        /// Daemons that have served the mount before this one.
        public var generation: UInt64 = 0
        /// Nanoseconds since 1970.
        public var now: @Sendable () -> UInt64
        /// Waits about that many milliseconds.
        public var pause: @Sendable (Int) -> Void
        /// What a process is called; empty where that cannot be known.
        public var commandName: @Sendable (Int32) -> String = { _ in "" }
        /// Whether a process has a directory open whose path ends so; false where that cannot be known.
        public var hasOpen: @Sendable (Int32, String) -> Bool = { _, _ in false }
        /// Called when something may have to be done by the threads that look after the mount, which may sleep: after the first
        /// request in a while, and when somebody begins to read events. It must not wait.
        public var attention: @Sendable () -> Void = {}
        /// Runs something on a thread of its own; false if it cannot.
        public var spawn: @Sendable (@escaping @Sendable () -> Void) -> Bool = { _ in false }

        public init(now: @escaping @Sendable () -> UInt64, pause: @escaping @Sendable (Int) -> Void) {
            self.now = now
            self.pause = pause
        }
    }

    struct OpenTable {
        var next: UInt64
        /// Open handles of each volume or snapshot.
        var files: [UInt64: [UInt64: VolumeUser]] = [:]
        /// Contents of open control files, as of the moment they were opened.
        var texts: [UInt64: [UInt8]] = [:]
        /// Open differences.
        var diffs: [UInt64: DiffText] = [:]
        var questions: [UInt64: SpaceQuestion] = [:]
        /// All of those, in bytes; and handles of either kind.
        var textBytes = 0
        var handles = 0
        /// Handles whose changes are durable when a call returns.
        var synchronous: Set<UInt64> = []
        /// Sizes of volumes that are open to be written to, as events have told them last.
        var toldSizes: [UInt64: UInt64] = [:]
        /// Requests for another size that are under way, for each volume that has some.
        var resizing: [UInt64: Int] = [:]
        /// Objects being deleted: nobody may open them any more.
        var ending: Set<UInt64> = []
        var isStopping = false

        /// Whether somebody has a volume open to write to it.
        func isWritten(_ object: UInt64) -> Bool { files[object]?.values.contains { $0.writes } == true }

        mutating func endResizing(_ object: UInt64) {
            let left = resizing[object, default: 1] - 1
            resizing[object] = left > 0 ? left : nil
        }
    }

    public init(pool: Pool, options: Options) {
        self.pool = pool
        self.options = options
        open = Mutex(OpenTable(next: Self.firstHandle(options.generation)))
        requests = RequestMetrics(wake: options.attention)
        events = EventLog(now: options.now)
        jobs = Jobs(pool: pool, options: options, events: events)
        times = DirectoryTimes(start: options.now())
    }

    /// From now on nothing new can be opened but control files, to be read; what is open goes on, but for readers of events, who come
    /// to the end, and for what is being counted. A second time it does nothing.
    public func stop() {
        let isFirst = open.withLock { table in
            defer { table.isStopping = true }
            return !table.isStopping
        }
        guard isFirst else { return }
        walks.figures.cancel()
        events.publish("state", options.source, [("state", .text(Self.stopping))])
        events.end()
    }

    /// Cancels all jobs and waits for their end. To be called before the pool is closed.
    public func stopJobs() { jobs.stop() }

    /// Does what is due of its own accord. To be called some times a second while requests come, by one thread.
    public func tend() {
        emptyTrash()
        observe()
    }

    /// Milliseconds after which `tend`, or the maintenance of the pool, has something to do although nothing is asked of the
    /// mount any more; nil if it never will.
    public var restTime: Int? {
        pool.hasMaintenance ? 1000 : trashTime
    }

    /// For statvfs(3).
    public var usage: PoolUsage { pool.usage() }

    /// For verbs that make or end something.
    func refuseIfReadOnly() throws(PoolError) {
        if options.isReadOnly { throw .readOnly }
        if pool.isSuspended { throw .refused(.poolIsSuspended) }
        try refuseIfStopping()
    }

    func refuseIfStopping() throws(PoolError) { if open.withLock({ $0.isStopping }) { throw .refused(.isStopping) } }
}
