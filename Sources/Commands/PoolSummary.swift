internal import VolumeFS

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

    init(_ statistics: FlatJSON) {
        uuid = statistics["uuid"]
        state = statistics["state"]
        blockSize = statistics.number("block_size")
        capacity = statistics.number("capacity")
        allocated = statistics.number("allocated")
        available = statistics.number("available")
        volumes = statistics.number("volumes")
        snapshots = statistics.number("snapshots")
    }

    var json: JSON {
        .fields([
            ("schema", .text("volfs.pool/1")), ("uuid", .text(uuid)), ("state", .text(state)),
            ("block_size", .size(blockSize)), ("capacity", .size(capacity)), ("allocated", .size(allocated)),
            ("free", .size(capacity - allocated)), ("available", .size(available)), ("volumes", .size(volumes)),
            ("snapshots", .size(snapshots)),
        ])
    }
}
