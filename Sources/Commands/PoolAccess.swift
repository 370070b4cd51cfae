internal import VolumeFS

/// The two ways to a pool: through its mount's control directory, or opening it. Commands do not know which they have.
protocol PoolAccess: AnyObject {
    /// Every volume, each followed by its snapshots.
    func list() throws(Failure) -> [ObjectLine]
    func summary() throws(Failure) -> PoolSummary
    func makeVolume(_ name: String, size: UInt64) throws(Failure)
    func resize(_ name: String, to size: UInt64) throws(Failure)
    func makeSnapshot(_ volume: String, _ name: String) throws(Failure)
    func makeClone(_ source: String, _ name: String) throws(Failure)
    func destroy(_ object: ObjectLine) throws(Failure)
    func rename(_ object: ObjectLine, to name: String) throws(Failure)
    /// What the volume holds is kept as a snapshot called `pre-rollback-TIME`, unless `discarding`.
    func rollback(_ volume: String, to snapshot: String, discarding: Bool) throws(Failure)
    func swap(_ first: String, _ second: String) throws(Failure)
    /// The bytes of a volume or a snapshot.
    func stream(_ name: String, writing: Bool) throws(Failure) -> any VolumeStream
    /// Lines `OFFSET LENGTH`, with ` z` behind what is a hole now; `to` is a snapshot, or nil for the volume as it is.
    func differences(_ volume: String, from: String, to: String?) throws(Failure) -> String
    /// What is set or computed of a volume or a snapshot.
    func properties(_ name: String) throws(Failure) -> [(name: String, value: String)]
    /// An empty value removes it.
    func setProperty(_ name: String, _ property: String, _ value: String) throws(Failure)
    /// Bytes of the pool's file or device that it uses.
    func size() throws(Failure) -> UInt64
    /// Makes the pool that many bytes large.
    func grow(to size: UInt64) throws(Failure)
    /// After the last call: what was changed is durable.
    func finish() throws(Failure)
}

/// A pool's sizes, in bytes.
struct PoolSummary {
    var uuid: String
    var state: String
    var blockSize: UInt64
    var capacity: UInt64
    var allocated: UInt64
    var available: UInt64
    var volumes: UInt64
    var snapshots: UInt64

    var json: JSON {
        .fields([
            ("schema", .text("volfs.pool/1")), ("uuid", .text(uuid)), ("state", .text(state)),
            ("block_size", .size(blockSize)), ("capacity", .size(capacity)), ("allocated", .size(allocated)),
            ("free", .size(capacity - allocated)), ("available", .size(available)), ("volumes", .size(volumes)),
            ("snapshots", .size(snapshots)),
        ])
    }
}

/// `VOL@SNAP` taken apart.
func split(_ name: String) -> (volume: String, snapshot: String?) {
    let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    return (parts[0], parts.count == 2 ? parts[1] : nil)
}
