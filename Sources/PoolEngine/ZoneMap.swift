internal import BlockStorage
internal import Synchronization

/// Where blocks lie on the device. All copies of a map see the same zones; a pool that grows adds one behind the others, one
/// that shrinks drops the last ones or takes the end off one. Where a block lies never changes.
struct ZoneMap: Sendable {
    let geometry: Geometry
    private let table: ZoneTable
    /// 250 TiB in whole zones; and as often can a pool grow.
    static let maximumZones = 8192

    var zones: UnsafeBufferPointer<Zone> { table.zones }
    var blockCount: Int { zones.last.map { $0.firstBlock + $0.blockCount } ?? 0 }

    struct Zone: Sendable {
        var header: ZoneHeader
        var firstBlock: Int
        var blockCount: Int
        var firstRegion: Int
        var regionCount: Int
    }

    init(geometry: Geometry, headers: [ZoneHeader]) {
        self.geometry = geometry
        table = ZoneTable()
        for header in headers { append(header) }
    }

    /// Adds a zone behind the last. One thread at a time; those that look at the map meanwhile see it or not.
    func append(_ header: ZoneHeader) { table.append(zone(header, behind: zones.last)) }

    /// From now on the first `count` zones are all there are, and the last of them is as `last` says: as it was, or with fewer
    /// segments. One thread at a time; those that look at the map meanwhile see the old one or the new one, and may go on using
    /// an address that is not in the new one: what they read there is not what its checksum says, or is refused by the device.
    func cut(toZones count: Int, last: ZoneHeader) {
        precondition(count > 0 && count <= zones.count, "a cut leaves zones that there are")
        let before = count > 1 ? zones[count - 2] : nil
        table.replace(keeping: count - 1, then: zone(last, behind: before))
    }

    private func zone(_ header: ZoneHeader, behind last: Zone?) -> Zone {
        let count = Int(header.segments) * geometry.segmentBlocks
        return Zone(
            header: header, firstBlock: last.map { $0.firstBlock + $0.blockCount } ?? 0, blockCount: count,
            firstRegion: last.map { $0.firstRegion + $0.regionCount } ?? 0,
            regionCount: (count + geometry.regionBlocks - 1) / geometry.regionBlocks)
    }

    /// True if the address names a block of this pool.
    func contains(_ address: BlockAddress) -> Bool {
        address.value >= UInt64(geometry.segmentBlocks) && address.value - UInt64(geometry.segmentBlocks) < UInt64(blockCount)
    }

    /// True if a node can be where the pointer says, and its copy.
    func isSound(_ pointer: NodePointer, isLeaf: Bool) -> Bool {
        guard contains(pointer.address) else { return false }
        if pointer.distance == 0 { return true }
        return !isLeaf && abs(pointer.distance) <= NodePointer.maximumDistance && contains(pointer.copy)
    }

    /// True if the whole run lies in this pool, inside one zone.
    func contains(_ run: BlockRun) -> Bool {
        run.count > 0 && contains(run.start) && contains(run.start.advanced(by: run.count - 1))
            && zone(of: index(of: run.start)).firstBlock == zone(of: index(of: run.end) - 1).firstBlock
    }

    /// True if `second` lies right behind `first` on the device too. Addresses run on from zone to zone, bytes do not.
    func isContiguous(_ first: BlockAddress, _ second: BlockAddress) -> Bool {
        second.value == first.value + 1
            && (zones.count == 1 || zone(of: index(of: first)).firstBlock == zone(of: index(of: second)).firstBlock)
    }

    /// The two runs as one, if the second continues the first on the device.
    func joined(_ first: BlockRun, _ second: BlockRun) -> BlockRun? {
        guard isContiguous(first.start.advanced(by: first.count - 1), second.start), first.count + second.count < 1 << 20
        else { return nil }
        return BlockRun(start: first.start, count: first.count + second.count)
    }

    func index(of address: BlockAddress) -> Int { Int(address.value) - geometry.segmentBlocks }
    func address(of index: Int) -> BlockAddress { BlockAddress(UInt64(index + geometry.segmentBlocks)) }

    /// Where a block lies on the device, in bytes: the identity segment map.
    func offset(of address: BlockAddress) -> UInt64 {
        let index = index(of: address)
        let zone = zone(of: index)
        return zone.header.dataOffset + UInt64(index - zone.firstBlock) * UInt64(geometry.blockSize)
    }

    /// Region and bit within its page of the block with `index`.
    func pagePosition(of index: Int) -> (region: Int, bit: Int) {
        let zone = zone(of: index)
        let within = index - zone.firstBlock
        return (zone.firstRegion + within / geometry.regionBlocks, within % geometry.regionBlocks)
    }

    /// Calls `body` with the number, first block index and block count of each region below `limit`.
    func forEachRegion(_ limit: Int, _ body: (Int, Int, Int) throws(PoolError) -> Void) throws(PoolError) {
        for zone in zones {
            for region in 0..<zone.regionCount where zone.firstRegion + region < limit {
                let first = region * geometry.regionBlocks
                try body(
                    zone.firstRegion + region, zone.firstBlock + first,
                    min(geometry.regionBlocks, zone.blockCount - first))
            }
        }
    }

    /// Where one of the two slots of a region's bitmap page lies, in bytes.
    func pageOffset(region: Int, slot: Int) -> UInt64 {
        let zone = zones.last { $0.firstRegion <= region }!  // region 0 is in the first zone
        return zone.header.bitmapOffset + UInt64((2 * (region - zone.firstRegion) + slot) * geometry.blockSize)
    }

    /// Index of the first block that a region's page describes.
    func firstBlock(ofRegion region: Int) -> Int {
        let zone = zones.last { $0.firstRegion <= region }!  // region 0 is in the first zone
        return zone.firstBlock + (region - zone.firstRegion) * geometry.regionBlocks
    }

    var regionCount: Int { zones.last.map { $0.firstRegion + $0.regionCount } ?? 0 }

    private func zone(of index: Int) -> Zone {
        if zones.count == 1 { return zones[0] }
        var low = 0, high = zones.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if zones[middle].firstBlock <= index { low = middle } else { high = middle - 1 }
        }
        return zones[low]
    }
}

/// The zones of a map, read by any thread without a lock.
///
/// Sendable: `current` is published whole, and what it replaces stays in memory as long as the table. `all` is only used by the
/// one thread that changes the table.
private final class ZoneTable: @unchecked Sendable {
    /// Released after the list is complete, acquired before it is read.
    private let current: Atomic<Unmanaged<ZoneList>>
    private var all: [ZoneList]

    init() {
        let list = ZoneList()
        all = [list]
        current = Atomic(Unmanaged.passUnretained(list))
    }

    var zones: UnsafeBufferPointer<ZoneMap.Zone> {
        // `all` keeps every list that was ever current.
        current.load(ordering: .acquiring)._withUnsafeGuaranteedRef { $0.zones }
    }

    func append(_ zone: ZoneMap.Zone) { all[all.count - 1].append(zone) }

    func replace(keeping count: Int, then last: ZoneMap.Zone) {
        let list = ZoneList()
        for zone in zones[0..<count] { list.append(zone) }
        list.append(last)
        all.append(list)
        current.store(Unmanaged.passUnretained(list), ordering: .releasing)
    }
}

/// Zones that are only ever added to.
///
/// Sendable: an element is written once, before the count that makes it visible.
private final class ZoneList: @unchecked Sendable {
    private let storage = UnsafeMutableBufferPointer<ZoneMap.Zone>.allocate(capacity: ZoneMap.maximumZones)
    /// Released after the element it counts is written, acquired before it is read.
    private let count = Atomic(0)

    deinit { storage.deallocate() }

    var zones: UnsafeBufferPointer<ZoneMap.Zone> {
        UnsafeBufferPointer(rebasing: storage[0..<count.load(ordering: .acquiring)])
    }

    func append(_ zone: ZoneMap.Zone) {
        let index = count.load(ordering: .relaxed)
        precondition(index < ZoneMap.maximumZones, "more zones than a pool can have")
        storage.initializeElement(at: index, to: zone)
        count.store(index + 1, ordering: .releasing)
    }
}
