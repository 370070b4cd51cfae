internal import BlockStorage

/// Everything of an open pool that changes, behind the pool's lock. Its methods make no I/O.
///
/// What they cannot do without a node that is not in memory, they do not begin: they return the nodes they miss, the
/// caller reads those with the lock released, and asks again.
struct PoolState: ~Copyable {
    let geometry: Geometry
    /// Low half of the pool's uuid, which every structure on disk repeats.
    let poolID: UInt64
    let isReadOnly: Bool
    /// The durable one, and its checksum, which the next one names.
    var superblock: Superblock
    var superblockChecksum: UInt32 = 0
    /// Copies of superblocks that opening the pool has mended and that no scrub has told of.
    var mendedSuperblocks = 0
    var space: Allocator
    var journal: Journal
    var cache: NodeCache
    var catalog: Catalog
    var shares: ShareTable

    /// All versions by id, hidden ones too.
    var versions: [UInt64: Version] = [:]
    /// What has a name: live versions by their volume's id, snapshots by their own.
    var objects: [UInt64: Version] = [:]
    var volumeNames: [String: UInt64] = [:]
    var snapshotNames: [UInt64: [String: UInt64]] = [:]
    /// Deleted versions whose blocks are not all freed, and the one being freed now.
    var hidden: Set<UInt64> = []
    var victim: Version?
    /// A version has been freed in the open epoch.
    var hasReaped = false

    /// The open epoch: what changes now is stored by the checkpoint of this number.
    var epoch: UInt64
    var nextID: UInt64
    var nextGeneration: UInt32
    var dirtyVersions: Set<UInt64> = []
    /// Upper bound of the blocks that the next checkpoint allocates for nodes.
    var dirtyBlocks = 0
    /// What of the closed epoch's bound was not needed for its nodes. Until its checkpoint is durable a replay may need it:
    /// nodes that were dropped meanwhile are made again there.
    var undurableBlocks = 0
    /// Blocks promised to requests under way, for data and nodes they have not taken yet.
    var reservedBlocks = 0
    /// Blocks promised to volumes for their reserved ranges, without what requests have been given of it.
    var heldPromises = 0
    /// Of ranges that are being reserved: blocks that the volume was found to have for itself.
    var countedBacked = 0
    /// Versions that have such ranges.
    var promiseHolders: Set<UInt64> = []
    /// Of requests that write into reserved ranges: what they were given of the promise.
    var prepayments: [UInt64: Prepayment] = [:]
    var nextTicket: UInt64 = 0
    var isSuspended: Bool { suspension != nil }
    /// Why nothing is written any more.
    private(set) var suspension: PoolError?
    /// A checkpoint whose blocks are kept because somebody reads it.
    var pinnedEpoch: UInt64?
    /// The next checkpoint stores all bitmap pages, whether or not the space log has room.
    var rewritesBitmap = false
    /// For repair: the blocks in use as stored, where that can be read.
    var storedWords: [UInt64]?
    /// A frozen epoch is being stored.
    var isStoring = false
    var brokenRule: OrderingRule?
    /// Length of the record before, for a test that breaks rule R2.
    var previousRecord = 0
    /// Volumes being cut to a size. What is written beyond it meanwhile would come back when the volume grows again.
    var shrinking: [UInt64: UInt64] = [:]
    /// The pool is being made larger or smaller.
    var isChangingSize = false
    /// Nodes that a step of the work on the tail needs, beside those in the cache.
    var pinnedNodes: [BlockAddress: Node] = [:]
    /// The epoch in which something was last moved out of the tail. No record says so: until a checkpoint does, no record may
    /// name a block that is there already.
    var lastMove: UInt64 = 0
    /// No version is begun to be freed: half freed, it refers to blocks that are somebody else's, or nobody's.
    var beginsNoReaping = false
    /// The next checkpoint makes the pool smaller.
    var cut: PoolCut?
    /// Bytes given back to the device, read and write counts: for `statistics`.
    var counters = Counters()

    let levelShift: Int

    init(superblock: Superblock, space: consuming Allocator, journal: consuming Journal, cacheNodes: Int, isReadOnly: Bool) {
        geometry = superblock.geometry
        poolID = superblock.uuid.low
        self.isReadOnly = isReadOnly
        self.superblock = superblock
        superblockChecksum = superblock.checksum
        self.space = space
        self.journal = journal
        cache = NodeCache(capacity: cacheNodes)
        catalog = Catalog(geometry: superblock.geometry)
        shares = ShareTable(geometry: superblock.geometry)
        epoch = superblock.epoch + 1
        nextID = superblock.nextID
        nextGeneration = superblock.nextGeneration
        levelShift = superblock.geometry.fanout.trailingZeroBitCount
    }

    // MARK: Versions

    mutating func takeID() -> UInt64 {
        defer { nextID += 1 }
        return nextID
    }

    mutating func takeGeneration() -> UInt32 {
        defer { nextGeneration += 1 }
        return nextGeneration
    }

    /// Whether `count` versions more can be numbered, so that a journal or a superblock with them is taken for sound.
    func hasNumbers(_ count: Int) -> Bool {
        nextGeneration < Self.maximumGeneration && UInt64(count) <= UInt64(Self.maximumGeneration - nextGeneration)
            && UInt64(count) < Self.maximumID - nextID
    }

    /// The version an object's data is in now.
    func version(of object: UInt64) throws(PoolError) -> Version {
        guard let version = objects[object] else { throw .notFound }
        return version
    }

    /// Adds a version to the tables; its name counts at once.
    mutating func insert(_ version: Version) {
        versions[version.id] = version
        if let parent = versions[version.record.parent] { parent.children.insert(version.id) }
        switch version.record.state {
        case .volume:
            objects[version.record.volume] = version
            volumeNames[version.record.name] = version.record.volume
        case .snapshot:
            objects[version.id] = version
            snapshotNames[version.record.volume, default: [:]][version.record.name] = version.id
        case .hidden: hidden.insert(version.id)
        }
        markDirty(version)
    }

    /// Takes a version's name away: from now on only its blocks remain, until they are freed.
    mutating func hide(_ version: Version) {
        switch version.record.state {
        case .volume:
            objects[version.record.volume] = nil
            volumeNames[version.record.name] = nil
        case .snapshot:
            objects[version.id] = nil
            snapshotNames[version.record.volume]?[version.record.name] = nil
            if snapshotNames[version.record.volume]?.isEmpty == true { snapshotNames[version.record.volume] = nil }
        case .hidden: preconditionFailure("hidden twice")
        }
        dropProperties(version)
        dropPromise(version)
        hidden.insert(version.id)
        markDirty(version)
    }

    mutating func markDirty(_ version: Version) {
        if dirtyVersions.insert(version.id).inserted { dirtyBlocks += catalogPathBlocks }
    }

    /// Blocks that the change of one version record costs the next checkpoint, three new versions from now on too.
    var catalogPathBlocks: Int { catalog.pathBlocks(upTo: nextID + 3) }

    /// Links a version under another parent, in the version tree only.
    func setParent(of version: Version, to parent: UInt64) {
        versions[version.record.parent]?.children.remove(version.id)
        version.record.parent = parent
        versions[parent]?.children.insert(version.id)
        version.parentGeneration = versions[parent]?.generation ?? 0
    }

    /// Counts mapped blocks that a version has no more. A stored count that was too small stays at 0, for check to tell.
    func uncount(_ blocks: UInt64, from version: Version) {
        version.record.referenced = version.record.referenced > blocks ? version.record.referenced - blocks : 0
    }

    // MARK: Ownership

    /// The ownership rule: true if `version` itself may free a reference of `generation` that lies wholly below logical
    /// block `end`. What is older belongs to an ancestor, except that below the reap cursor of a dying parent that
    /// parent has handed over what it still shared.
    func owns(_ version: Version, generation: UInt32, end: UInt64) -> Bool {
        if let victim, brokenRule != .ownership, version.record.parent == victim.id, end <= victim.record.reapCursor {
            return generation > victim.parentGeneration
        }
        return generation > version.parentGeneration
    }

    /// Ends one reference to a block: its last one makes it free.
    mutating func release(_ address: BlockAddress) {
        if shares.remove(address) { return }
        // The maps contradict the count of blocks: nothing more is written before a repair.
        if !space.release(address, epoch: epoch) { suspend(.corrupt(.bitmap, position: address.value, .accounting)) }
        if brokenRule == .quarantine { endQuarantine(upTo: epoch) }
    }

    /// Makes blocks free that were released up to `epoch`, but none that a pinned checkpoint has.
    mutating func endQuarantine(upTo epoch: UInt64) { space.endQuarantine(upTo: min(epoch, pinnedEpoch ?? epoch)) }

    mutating func releaseNode(_ node: NodePointer) {
        guard !node.isNone else { return }
        cache.remove(node.address)
        release(node.address)
        if node.copy != .none { release(node.copy) }
    }

    /// Bitmap pages have storage on the host while no block above it is in use.
    var backedLimit = -1
    /// The last question for storage was refused.
    var isHostFull = false

    /// The first cause counts.
    mutating func suspend(_ cause: PoolError) { suspension = suspension ?? cause }

    // MARK: Space

    /// Blocks that are held back so that what must not fail cannot: 1/64 of the pool, 8 MiB to 2 GiB, at most a quarter.
    var reserveBlocks: Int { reserve(of: space.usableCount) }

    /// The same of a pool of `total` blocks.
    func reserve(of total: Int) -> Int {
        let unit = geometry.blockSize
        return min(max(total / 64, (8 << 20) / unit), (2 << 30) / unit, total / 4)
    }

    /// The order in which the last space is given out.
    enum Tier { case growing, neutral, administrative, freeing }

    /// Free blocks that operations of `tier` may not touch.
    func floor(_ tier: Tier) -> Int {
        switch tier {
        case .growing: reserveBlocks
        case .neutral: reserveBlocks / 2
        case .administrative: reserveBlocks / 4
        case .freeing: 0
        }
    }

    /// Blocks that an operation of `tier` can still have.
    func available(_ tier: Tier) -> Int {
        // What makes space may use promised blocks too: a promise that is too large must not keep the pool full for ever.
        let promised = tier == .freeing ? 0 : heldPromises + reservationFloat
        return max(0, space.freeCount - committedBlocks - promised - floor(tier))
    }

    /// Blocks of nodes whose place the host must have storage for. Of what requests under way were promised, as much as their
    /// nodes can be: the rest is data, whose write may fail, or promised to be free later.
    var blocksToBack: Int { dirtyBlocks + undurableBlocks + shares.rewriteBlocks + min(reservedBlocks, 8192) }

    /// Free blocks that are spoken for: nodes of the next checkpoint, and of the one under way if it has to be made again; the
    /// whole table of shared blocks, any page of which a release may change; what requests under way were promised, again where
    /// what they have got of it is to be cut off.
    var committedBlocks: Int { dirtyBlocks + undurableBlocks + shares.rewriteBlocks + reservedBlocks + space.tailInFlight }

    struct Counters: Sendable {
        var reads: UInt64 = 0, writes: UInt64 = 0, flushes: UInt64 = 0, discards: UInt64 = 0
        var readBytes: UInt64 = 0, writtenBytes: UInt64 = 0, discardedBytes: UInt64 = 0, checkpoints: UInt64 = 0
        var sharedBytes: UInt64 = 0, punchedBytes: UInt64 = 0, checksumErrors: UInt64 = 0, nodesFromCopy: UInt64 = 0, skippedNodes: UInt64 = 0
    }
}

/// A node that has to be read before an operation can go on.
struct MissingNode: Sendable {
    var pointer: NodePointer
    var level: Int
    var first: UInt64
}
