/// What a volume or a snapshot takes of the pool, in bytes. Data blocks and the nodes of its map, nodes with their copies, both
/// times the block size; what has not been stored yet counts as it will be.
///
/// A version *owns* the references and nodes that it may free by the ownership rule (`PoolState.owns`): those that came into being
/// since the version before it. Exact when nothing else goes on. While the object is written to, or something deleted before it is
/// being freed, the numbers are those of no one moment.
public struct ObjectUsage: Equatable, Sendable {
    /// What it owns and no version that began as it still shares. A block that ranges of the pool share
    /// (`Pool.share`) counts once for each reference.
    public var used: UInt64
    /// What deleting it, and nothing else, gives back once the reaper is through: nothing while two or more versions began as it;
    /// with one, what it owns and that one does not share; else all it owns, and what only it kept hidden ancestors from giving
    /// back. A block of several references is given back with its last one.
    public var unique: UInt64
    /// Data in its map that is younger than the version before it: written since the last snapshot, or since it was cloned.
    public var written: UInt64

    public init(used: UInt64, unique: UInt64, written: UInt64) {
        (self.used, self.unique, self.written) = (used, unique, written)
    }
}
