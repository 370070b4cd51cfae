public import BlockStorage
internal import Synchronization

/// An open pool: volumes, snapshots and clones on one block device.
///
/// Every method may be called from any thread. Objects are named by a number that stays the same for their whole life:
/// a volume keeps it through renames and rollbacks. Methods that change which objects exist are durable when they
/// return; `write` and `discard` survive the end of the process when they return, and loss of power after `flush`.
/// After loss of power the pool is exactly as it was at one moment not before the last completed `flush`.
///
/// The engine starts no thread: call `maintain()` from one, a few times a second, or nothing is freed in the background.
public final class Pool: Sendable {
    public let device: any BlockDevice
    public let geometry: Geometry
    public let configuration: Configuration
    let environment: Environment
    let map: ZoneMap
    let poolID: UInt64

    // Locks in the order they are taken. All but `state` are commit locks: they are held during I/O, which is what they
    // are for, one checkpoint, barrier or journal write at a time.
    let growLock = Mutex<Void>(())
    let checkpointLock: Mutex<CheckpointBuffers>
    let flushLock = Mutex<Void>(())
    /// Frames are written from one aligned page. From memory that a page fault could split, a process that is killed in
    /// the middle would leave half a frame.
    let journalLock: BusyMutex<AlignedBuffer>
    let barrierLock = Mutex<Void>(())
    let state: BusyMutex<PoolState>
    /// What requests that are done have used, for the next. Taken alone.
    let spareContents = BusyMutex<[GroupContent]>([])

    /// What a caller can choose about an open pool. Sizes in bytes.
    public struct Configuration: Sendable {
        /// Memory for clean tree nodes. 256 MiB map 64 GiB of volumes that are in use.
        public var cacheSize = 256 << 20
        /// Memory for changed nodes: past it a checkpoint is made.
        public var dirtySize = 64 << 20
        /// Nanoseconds after which changes are checkpointed.
        public var checkpointInterval: UInt64 = 5_000_000_000
        /// Whether segments that are wholly free are given back to the host.
        public var discardsFreeSegments = true
        /// Bytes by which a full pool makes its device larger before it refuses anything; 0 for never, nil for what the pool was
        /// made with.
        public var autogrow: UInt64?
        /// Bytes of freed blocks that wait for a checkpoint, beyond which one is made: what was freed last is what the next writes
        /// are best made to.
        public var quarantineSize = 128 << 20
        /// Free segments that are kept for the next writes, as the host already has storage for them; of a large pool one part in 64,
        /// up to 512 MiB. 0 for none.
        public var warmSegments = 32
        /// For tests: the rule that is not kept.
        package var brokenRule: OrderingRule?
        /// Whether each checkpoint compares the blocks in use with what all trees reach. Reads every node, under the lock:
        /// for tests. Nil is yes in a debug build where the pool is small, no in any other.
        package var verifiesAccounting: Bool?

        public init() {}
    }

    /// What the engine needs from outside.
    public struct Environment: Sendable {
        /// Nanoseconds since 1970.
        public var now: @Sendable () -> UInt64
        public var random: @Sendable () -> UInt64
        /// Waits about a millisecond, for other threads.
        public var pause: @Sendable () -> Void
        /// Told how many of how many groups of records have been replayed, while a pool is opened.
        public var recovering: @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }

        public init(
            now: @escaping @Sendable () -> UInt64, random: @escaping @Sendable () -> UInt64,
            pause: @escaping @Sendable () -> Void
        ) {
            self.now = now
            self.random = random
            self.pause = pause
        }
    }

    public enum Mode: Sendable { case readOnly, readWrite }

    /// Opens the pool on `device`, recovering it if it was not closed. In `.readOnly` nothing is written: the journal is
    /// replayed in memory. Throws `.notAPool`, `.unsupportedFormat`, `.truncated` or `.corrupt`.
    public convenience init(
        opening device: any BlockDevice, mode: Mode = .readWrite, configuration: Configuration = Configuration(),
        environment: Environment
    ) throws(PoolError) {
        let opened = try OpenedPool(device: device, configuration: configuration, isReadOnly: mode == .readOnly)
        self.init(opened, device: device, configuration: configuration, environment: environment, state: try opened.makeState())
        try recover(from: opened.superblock, isReadOnly: mode == .readOnly)
    }

    /// A pool whose state is that of a checkpoint.
    init(
        _ opened: OpenedPool, device: any BlockDevice, configuration: Configuration, environment: Environment,
        state: consuming sending PoolState
    ) {
        self.device = device
        self.configuration = configuration
        self.environment = environment
        geometry = opened.superblock.geometry
        map = opened.map
        poolID = opened.superblock.uuid.low
        journalLock = BusyMutex(AlignedBuffer(count: opened.superblock.geometry.blockSize))
        checkpointLock = Mutex(CheckpointBuffers(geometry: opened.superblock.geometry))
        state.brokenRule = configuration.brokenRule
        state.mendedSuperblocks = opened.mendedSuperblocks
        self.state = BusyMutex(state)
    }

    /// Makes everything durable and marks the pool as closed. The pool is of no use afterwards.
    public func close() throws(PoolError) {
        if state.withLock({ $0.isReadOnly }) { return }
        try checkpoint(.closing)
        // What the checkpoint before needs stays, and is given back when the pool is opened again.
        // So does what cannot be given back: everything is durable already.
        while (try? punchFreeSegments(warm: 0)) == true {}
    }

    // MARK: Tree nodes

    /// Runs `body` under the lock until it finds in memory all the nodes it needs. Between two attempts the nodes that
    /// it missed are read, with the lock released.
    func withNodes<Result: Sendable>(
        _ body: (inout PoolState, inout [MissingNode]) throws(PoolError) -> Result?
    ) throws(PoolError) -> Result {
        var unreadable: [NodePointer] = []
        var attempts = 0
        while true {
            var missing: [MissingNode] = []
            let result = try state.withLock { state throws(PoolError) in try body(&state, &missing) }
            if let result, missing.isEmpty { return result }
            precondition(!missing.isEmpty, "an operation that neither succeeds nor says what it misses")
            attempts += 1
            // Two nodes that push each other out of the cache for ever are not of our making.
            if attempts > 100_000 { throw .corrupt(.node, position: missing[0].pointer.address.value, .mapping) }
            do throws(PoolError) {
                try load(missing)
            } catch {
                // A node may have been freed, and its block used again, while we read it. Then it is not asked for again;
                // if it is, the device returned something else than was written.
                let pointers = missing.map(\.pointer)
                if pointers == unreadable { throw error }
                unreadable = pointers
            }
        }
    }

    /// Reads nodes into the cache. Throws `.corrupt` for one that is not what its parent says.
    func load(_ missing: [MissingNode]) throws(PoolError) {
        let buffer = AlignedBuffer(count: geometry.blockSize)
        for wanted in missing {
            let node = try read(wanted, buffer: buffer.bytes)
            state.withLock { $0.cache.insert(node) }
        }
    }

    func read(_ wanted: MissingNode, buffer: UnsafeMutableRawBufferPointer) throws(PoolError) -> Node {
        let found = try NodeReader(device: device, map: map, pool: poolID).read(wanted.pointer, into: buffer)
        if found.isCopy { state.withLock { $0.counters.nodesFromCopy += 1 } }
        let block = UnsafeRawBufferPointer(buffer), identity = found.identity, position = found.position
        guard identity.tree == .volume, identity.level == wanted.level, identity.first == wanted.first else {
            throw .corrupt(.node, position: position, .identity)
        }
        return try Node(
            block: block, identity: identity, pointer: wanted.pointer, position: position, geometry: geometry,
            map: map)
    }

    // MARK: Failure

    /// After a failed write of metadata or a failed barrier nobody knows what the device holds: nothing more is written.
    func suspend(_ cause: PoolError) { state.withLock { $0.suspend(cause) } }

    /// Makes every finished write durable. One at a time, and none after one failed: the kernel reports a lost write to
    /// one of two barriers that run together, and the other would vouch for it.
    func barrier() throws(PoolError) {
        try barrierLock.withLock { _ throws(PoolError) in
            if state.withLock({ $0.isSuspended }) { throw .suspended }
            try orSuspend { () throws(PoolError) in try device.flush() }
        }
    }

    /// Small is up to 256 MiB of 4 KiB blocks.
    var verifiesAccounting: Bool {
        #if DEBUG
        return configuration.verifiesAccounting ?? (map.blockCount <= 1 << 16)
        #else
        return configuration.verifiesAccounting ?? false
        #endif
    }

    func breaks(_ rule: OrderingRule) -> Bool { configuration.brokenRule == rule }

    /// Runs `body`, whose failure suspends the pool.
    func orSuspend<Result>(_ body: () throws(PoolError) -> Result) throws(PoolError) -> Result {
        do throws(PoolError) {
            return try body()
        } catch {
            suspend(error)
            throw error
        }
    }
}
