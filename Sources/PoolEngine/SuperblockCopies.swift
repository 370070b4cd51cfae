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
    /// The copy of the newest that was never written: in a pool's first round of the rings its place is as it was made.
    private(set) var unwritten: Damaged?
    private let blockSize: Int

    /// `found` is every valid superblock on the device with its place, `newest` the one that counts. A copy that is older than the
    /// other is no damage, nor one that was never written: power was lost between the two.
    init(_ found: [(superblock: Superblock, position: UInt64)], of newest: Superblock, on device: any BlockDevice) {
        let geometry = newest.geometry
        blockSize = geometry.blockSize
        let whole = Set(found.filter { $0.superblock.uuid == newest.uuid }.map(\.position))
        // A pool that was restored begins with any number.
        let slots = UInt64(geometry.ringSlots)
        let isFirstRound = newest.epoch <= slots || !found.contains { $0.superblock.epoch + slots == newest.epoch + 1 }
        for slot in 0..<geometry.ringSlots {
            let places = geometry.ringOffsets.map { $0 + UInt64(slot * geometry.ringStride) }
            guard let source = places.first(where: { whole.contains($0) }) else { continue }
            for place in places where !whole.contains(place) {
                let copy = Damaged(position: place, whole: source)
                if isFirstRound, newest.epoch % slots == UInt64(slot), Self.isBlank(place, geometry, device) { unwritten = copy } else { damaged.append(copy) }
            }
        }
    }

    /// As when the pool was made. What cannot be read is not.
    private static func isBlank(_ place: UInt64, _ geometry: Geometry, _ device: any BlockDevice) -> Bool {
        let block = AlignedBuffer(count: geometry.blockSize)
        guard (try? device.read(into: block.bytes, at: place)) != nil else { return false }
        return isZero(UnsafeRawBufferPointer(block.bytes))
    }

    /// What the device has now. No checkpoint may run meanwhile. Throws where no superblock can be read.
    init(on device: any BlockDevice, of newest: Superblock) throws(PoolError) {
        self.init(try OpenedPool.superblocks(on: device).found, of: newest, on: device)
    }

    /// Writes the damaged ones again from the others, and returns how many, and what was never written. Not durable before a flush.
    func mend(on device: any BlockDevice) throws(PoolError) -> Int {
        let copies = damaged + (unwritten.map { [$0] } ?? [])
        if copies.isEmpty { return 0 }
        let block = AlignedBuffer(count: blockSize)
        for copy in copies {
            try device.read(into: block.bytes, at: copy.whole)
            // It was whole before.
            _ = try Superblock(decoding: UnsafeRawBufferPointer(block.bytes), position: copy.whole)
            try device.write(UnsafeRawBufferPointer(block.bytes), at: copy.position)
        }
        return damaged.count
    }
}

extension Pool {
    /// Copies of superblocks and headers of zones that are damaged, where they are on the device. `known` is what has been read of the
    /// former. The caller keeps checkpoints away.
    func damagedPlaces(_ known: SuperblockCopies? = nil) throws(PoolError) -> (superblocks: SuperblockCopies, zones: [ZoneHeader]) {
        let superblock = state.withLock { $0.superblock }
        let copies = if let known { known } else { try SuperblockCopies(on: device, of: superblock) }
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
