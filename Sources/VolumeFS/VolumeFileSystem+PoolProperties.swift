internal import PoolEngine

/// Properties of the pool itself: files in `.ctl/prop`, and extended attributes `user.volfs.NAME` of the mount's top. All are computed.
extension VolumeFileSystem {
    /// In the order of their numbers.
    static let poolProperties = [
        "block_size", "capacity", "allocated", "free", "available", "dirty", "fragmentation", "errors", "autogrow", "guid",
    ]

    /// Without an end of line; empty for a number that none has.
    func poolPropertyText(_ index: UInt64) -> String {
        guard index < UInt64(Self.poolProperties.count) else { return "" }
        let usage = pool.usage(), statistics = pool.statistics()
        return switch Self.poolProperties[Int(index)] {
        case "block_size": "\(usage.blockSize)"
        case "capacity": "\(usage.capacity)"
        case "allocated": "\(usage.allocated)"
        case "free": "\(usage.free)"
        case "available": "\(usage.available)"
        case "dirty": "\(statistics.dirtyBlocks * usage.blockSize)"
        case "fragmentation": "\(statistics.fragmentation)"
        case "errors": "\(statistics.checksumErrors)"
        case "autogrow": "\(pool.autogrow)"
        default: pool.uuid.text
        }
    }

    /// Name and value of all of them.
    package var allPoolProperties: [(name: String, value: String)] {
        Self.poolProperties.enumerated().map { ($0.element, poolPropertyText(UInt64($0.offset))) }
    }
}
