/// A version in memory: its record, the live reference to its tree, and what can be derived from the version tree.
///
/// Sendable: read and written under the pool's lock only.
final class Version: @unchecked Sendable {
    /// All but `root` and `rootMapped`, which are filled in when a checkpoint writes the record.
    var record: VersionRecord
    var root: NodeReference
    /// Generation of the parent, 0 without one. References of a higher generation are this version's own.
    var parentGeneration: UInt32
    var children: Set<UInt64> = []
    /// Names and values, and the nodes of the chain that has them on disk.
    var properties: [String: [UInt8]] = [:]
    var propertyNodes: [NodePointer] = []
    var hasDirtyProperties = false
    /// Blocks in which writes are never refused, and what is promised for them, in blocks: see PoolState+Promises. Changed through
    /// `changePromise` only.
    var reserved = BlockRanges()
    var promisedData = 0, promisedNodes = 0
    /// Of it, what requests under way have been given already.
    var prepaid = 0
    /// What a count has taken off the promise and no durable checkpoint has taken off yet; and the part that the one under way has.
    var unsettled = 0, unsettledClosed = 0
    var recount: PoolState.Recount?
    var needsRecount = false
    var promised: Int { promisedData + promisedNodes }
    var heldPromise: Int { isHidden ? 0 : max(0, promised - prepaid) + unsettled }
    var requests = RequestCounts()
    var stream = ReadStream()
    /// LSN of the last record that changed it.
    var lastLSN: UInt64 = 0

    init(record: VersionRecord, parentGeneration: UInt32) {
        self.record = record
        self.parentGeneration = parentGeneration
        root = record.root.isNone
            ? .hole(record.root.generation) : .disk(record.root, mapped: record.rootMapped)
    }

    var id: UInt64 { record.id }
    var level: Int { record.level }
    var generation: UInt32 { record.generation }
    var isHidden: Bool { record.state == .hidden }
    var identity: VersionIdentity {
        VersionIdentity(id: record.id, family: record.family, generation: record.generation)
    }
    /// Its bytes have changed at that time.
    func noteData(at time: UInt64) {
        record.modified = time
        noteChange(at: time)
    }

    /// Something of it is another than before, its bytes perhaps: the time of change moves, whatever the clock says, as whoever
    /// compares it with what it was would miss the change. By one store: were the record lent to a function, all accesses to it would
    /// be checked at run time, which a write has dozens of.
    func noteChange(at time: UInt64) { record.changed = max(time, record.changed &+ 1) }

    /// What names it from outside: the volume's id for a live version, its own for a snapshot.
    var objectID: UInt64 { record.state == .volume ? record.volume : record.id }
}
