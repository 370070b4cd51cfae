public import BlockStorage

/// What there is to know of a volume or a snapshot. Sizes in bytes, times in nanoseconds since 1970.
public struct ObjectInfo: Equatable, Sendable {
    /// Never reused; a volume keeps it through renames and rollbacks.
    public var id: UInt64
    public var isSnapshot: Bool
    /// The volume itself, or the one a snapshot is of.
    public var volume: UInt64
    public var name: String
    /// Name of the volume, for a snapshot.
    public var volumeName: String
    public var size: UInt64
    /// Mapped: what the object would take if it shared nothing.
    public var referenced: UInt64
    /// Of a volume: ranges in which writes are never refused for lack of space.
    public var reserved: UInt64
    public var created: UInt64
    public var modified: UInt64
    public var changed: UInt64
    public var attributes: Attributes
    /// Those of the volume itself, for a snapshot as they are now.
    public var volumeAttributes: Attributes
    public var uuid: UUIDBytes
    public var generation: UInt32
    /// `VOLUME@SNAPSHOT` or `VOLUME` that a clone was made from, as it is called now. Nil if it is gone.
    public var origin: String?
    /// How many snapshots a volume has.
    public var snapshotCount: Int

    /// `VOLUME` or `VOLUME@SNAPSHOT`.
    public var fullName: String { isSnapshot ? "\(volumeName)@\(name)" : name }
}

/// Space of a pool, in bytes.
public struct PoolUsage: Equatable, Sendable {
    public var blockSize: Int
    /// All blocks that can hold data or nodes.
    public var capacity: UInt64
    /// In use now, counting what no version has as free at once.
    public var allocated: UInt64
    /// What writes may still take, of the pool and of what it lies on.
    public var available: UInt64
    /// Released, and usable again after the next checkpoints.
    public var quarantined: UInt64
    /// Promised to volumes for their reserved ranges.
    public var promised: UInt64
    /// Kept back so that deleting and checkpoints cannot fail.
    public var reserve: UInt64
    public var free: UInt64 { capacity - allocated }
}

/// Counts since the pool was opened, and what it holds in memory.
public struct PoolStatistics: Equatable, Sendable {
    public var reads: UInt64, writes: UInt64, flushes: UInt64, discards: UInt64
    public var readBytes: UInt64, writtenBytes: UInt64, discardedBytes: UInt64
    public var checkpoints: UInt64, punchedBytes: UInt64, checksumErrors: UInt64
    /// Bytes that were shared instead of copied.
    public var sharedBytes: UInt64
    /// Bytes of memory that the references of shared blocks take.
    public var shareTableSize: Int
    /// Nodes that were read from their copy, as they themselves were damaged.
    public var nodesFromCopy: UInt64
    public var epoch: UInt64
    public var volumes: Int, snapshots: Int
    /// Deleted versions whose blocks are not all freed yet.
    public var hidden: Int
    /// Of those, how many wait because two or more clones still share them.
    public var waiting: Int
    public var cachedNodes: Int, dirtyBlocks: Int
    /// Percent of the free blocks that lie in segments with something in them.
    public var fragmentation: Int
    public var journalUsedFrames: Int, journalFrames: Int
    /// Why the pool accepts nothing any more; nil as long as it does.
    public var suspension: PoolError?
    public var isSuspended: Bool { suspension != nil }
    /// A checkpoint is being written.
    public var isStoring: Bool
    public var isReadOnly: Bool
}
