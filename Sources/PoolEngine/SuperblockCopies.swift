internal import BlockStorage
internal import Synchronization

/// The superblocks of both rings compared: each is there twice, and one whose copy is whole is told by that.
struct SuperblockCopies {
    struct Damaged: Equatable {
        /// Bytes from the device's start, of the damaged copy and of the other one.
        var position: UInt64
        var whole: UInt64
    }
    /// Slots that neither ring has whole are not among them: they were never written, or what they had nobody can tell.
    private(set) var damaged: [Damaged] = []
    private let blockSize: Int

    /// `found` is every valid superblock on the device with its place, `newest` the one that counts. A copy that is whole but older
    /// than the other is no damage: power was lost between the two.
    init(_ found: [(superblock: Superblock, position: UInt64)], of newest: Superblock) {
        let geometry = newest.geometry
        blockSize = geometry.blockSize
        let whole = Set(found.filter { $0.superblock.uuid == newest.uuid }.map(\.position))
        for slot in 0..<geometry.ringSlots {
            let places = geometry.ringOffsets.map { $0 + UInt64(slot * geometry.ringStride) }
            guard let source = places.first(where: { whole.contains($0) }) else { continue }
            damaged += places.filter { !whole.contains($0) }.map { Damaged(position: $0, whole: source) }
        }
    }

    /// What the device has now. No checkpoint may run meanwhile. Throws where no superblock can be read.
    init(on device: any BlockDevice, of newest: Superblock) throws(PoolError) {
        self.init(try OpenedPool.superblocks(on: device).found, of: newest)
    }

    /// Writes the damaged ones again from the others, and returns how many. Not durable before a flush.
    func mend(on device: any BlockDevice) throws(PoolError) -> Int {
        if damaged.isEmpty { return 0 }
        let block = AlignedBuffer(count: blockSize)
        for copy in damaged {
            try device.read(into: block.bytes, at: copy.whole)
            // It was whole before.
            _ = try Superblock(decoding: UnsafeRawBufferPointer(block.bytes), position: copy.whole)
            try device.write(UnsafeRawBufferPointer(block.bytes), at: copy.position)
        }
        return damaged.count
    }
}

extension Pool {
    /// Copies of superblocks and headers of zones that are damaged, where they are on the device. The caller keeps checkpoints away.
    func damagedPlaces() throws(PoolError) -> (superblocks: SuperblockCopies, zones: [ZoneHeader]) {
        let superblock = state.withLock { $0.superblock }
        let copies = try SuperblockCopies(on: device, of: superblock)
        let block = AlignedBuffer(count: geometry.blockSize), expected = AlignedBuffer(count: geometry.blockSize)
        var zones: [ZoneHeader] = []
        for zone in map.zones.map(\.header) {
            // Of a pool that was being cut it is written when the pool is opened for writing.
            if superblock.isCut && zone.index + 1 == superblock.zoneCount { continue }
            zone.encode(into: expected.bytes, pool: poolID, geometry: geometry)
            try device.read(into: block.bytes, at: zone.offset)
            if !block.bytes.elementsEqual(expected.bytes) { zones.append(zone) }
        }
        return (copies, zones)
    }

    /// Writes what is damaged of the fixed places again, and returns how many. Durable with the next barrier.
    func mendPlaces() throws(PoolError) -> Int {
        try checkpointLock.withLock { _ throws(PoolError) in
            guard state.withLock({ !$0.isReadOnly && !$0.isSuspended }) else { return 0 }
            let (superblocks, zones) = try damagedPlaces()
            let block = AlignedBuffer(count: geometry.blockSize)
            for zone in zones {
                zone.encode(into: block.bytes, pool: poolID, geometry: geometry)
                try device.write(UnsafeRawBufferPointer(block.bytes), at: zone.offset)
            }
            return try superblocks.mend(on: device) + zones.count
        }
    }
}
