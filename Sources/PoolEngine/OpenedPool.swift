internal import BlockStorage

/// The first half of opening a pool: what the fixed places of the device say. The second half is `Pool.recover`.
struct OpenedPool {
    let superblock: Superblock
    let map: ZoneMap
    private let device: any BlockDevice
    private let configuration: Pool.Configuration
    private let isReadOnly: Bool

    init(device: any BlockDevice, configuration: Pool.Configuration, isReadOnly: Bool) throws(PoolError) {
        self.device = device
        self.configuration = configuration
        self.isReadOnly = isReadOnly
        var newest = try Self.newestSuperblock(on: device)
        if !isReadOnly {
            // Whatever is read from here on must be durable before a block is written that only an older checkpoint
            // needs (rule R9). After anything but a close, the cache may also hold what never reached the device.
            if newest.isClean { try device.flush() } else { try device.flushAndDropCache() }
            newest = try Self.newestSuperblock(on: device)
        }
        superblock = newest
        if superblock.readOnlyCompatible != 0 && !isReadOnly {
            throw .unsupportedFormat(version: Superblock.version, features: superblock.readOnlyCompatible)
        }
        let size = try device.size
        guard size >= superblock.size else { throw .truncated(size: size, expected: superblock.size) }
        map = ZoneMap(geometry: superblock.geometry, headers: try Self.zones(of: superblock, on: device))
    }

    /// The pool's state as of its last checkpoint, without the journal.
    func makeState() throws(PoolError) -> PoolState {
        var space = Allocator(map: map)
        try loadBitmap(&space)
        try replaySpaceLog(&space)
        guard UInt64(space.liveCount) == superblock.allocated else {
            throw .corrupt(.bitmap, position: superblock.allocated, .accounting)
        }
        let journal = Journal(
            geometry: superblock.geometry, pool: superblock.uuid.low, incarnation: superblock.incarnation,
            tail: superblock.journalTail, nextLSN: superblock.journalLSN, durableEpoch: superblock.epoch)
        var state = PoolState(
            superblock: superblock, space: space, journal: journal,
            cacheNodes: max(64, configuration.cacheSize / superblock.geometry.blockSize), isReadOnly: isReadOnly)
        try loadCatalog(&state)
        return state
    }

    // MARK: Superblock

    /// Every valid superblock of the newest epoch wins. The rings' place follows from the geometry, which is in them, so
    /// the start of the device is searched for the magic: one torn slot must not hide the others.
    private static func newestSuperblock(on device: any BlockDevice) throws(PoolError) -> Superblock {
        let size = try device.size
        let count = Int(min(size, 2 << 20)) / 512 * 512
        guard count > 0 else { throw .notAPool }
        let buffer = AlignedBuffer(count: count)
        try device.read(into: buffer.bytes, at: 0)
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        var best: Superblock?
        var problem: PoolError?
        for offset in stride(from: 0, to: count, by: 512) where bytes.integer(at: offset) == Superblock.magic {
            do throws(PoolError) {
                let found = try decode(bytes, at: offset)
                if found.epoch > best?.epoch ?? 0 { best = found }
            } catch {
                // A version we do not know says more than a checksum that does not fit.
                if case .unsupportedFormat = error { problem = error } else { problem = problem ?? error }
            }
        }
        if let best { return best }
        throw problem ?? .notAPool
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(PoolError) -> Superblock {
        // The block size is in the block whose checksum needs it; a wrong guess fails the checksum.
        let blockSize = Int(bytes.integer(at: offset + 32, as: UInt32.self))
        guard (512...65_536).contains(blockSize), offset + blockSize <= bytes.count else {
            throw .corrupt(.superblock, position: UInt64(offset), .identity)
        }
        let block = bytes.part(offset..<offset + blockSize)
        let found = try Superblock(decoding: block, position: UInt64(offset))
        let slot = Int(found.epoch % UInt64(found.geometry.ringSlots)) * found.geometry.ringStride
        let places = found.geometry.ringOffsets.map { Int($0) + slot }
        guard places.contains(offset) else { throw .corrupt(.superblock, position: UInt64(offset), .identity) }
        return found
    }

    // MARK: Zones and space

    private static func zones(of superblock: Superblock, on device: any BlockDevice) throws(PoolError) -> [ZoneHeader] {
        let g = superblock.geometry
        var headers: [ZoneHeader] = []
        var offset = g.firstZoneOffset
        var segment: UInt64 = 1
        let buffer = AlignedBuffer(count: g.blockSize)
        for index in 0..<superblock.zoneCount {
            guard offset + UInt64(g.blockSize) <= superblock.size else {
                throw .corrupt(.superblock, position: offset, .mapping)
            }
            try device.read(into: buffer.bytes, at: offset)
            let header = try ZoneHeader(
                decoding: UnsafeRawBufferPointer(buffer.bytes), index: index, offset: offset, firstSegment: segment,
                pool: superblock.uuid.low, geometry: g, end: superblock.size)
            headers.append(header)
            offset = header.end(g)
            segment += header.segments
        }
        return headers
    }

    private func loadBitmap(_ space: inout Allocator) throws(PoolError) {
        guard superblock.bitmapEpoch != 0 else { return }
        let regions = Int(superblock.bitmapRegions)
        guard regions <= map.regionCount else { throw .corrupt(.superblock, position: 0, .mapping) }
        let buffer = AlignedBuffer(count: superblock.geometry.blockSize)
        for zone in map.zones {
            for region in zone.firstRegion..<zone.firstRegion + zone.regionCount where region < regions {
                let position = map.pageOffset(region: region, slot: superblock.bitmapSlot)
                try device.read(into: buffer.bytes, at: position)
                let page = UnsafeRawBufferPointer(buffer.bytes)
                try BitmapPage.check(
                    page, pool: superblock.uuid.low, region: UInt64(region), epoch: superblock.bitmapEpoch,
                    position: position)
                let first = (region - zone.firstRegion) * superblock.geometry.regionBlocks
                space.load(
                    first: zone.firstBlock + first,
                    count: min(superblock.geometry.regionBlocks, zone.blockCount - first),
                    bits: page.part(BitmapPage.headerSize..<page.count))
            }
        }
    }

    private func replaySpaceLog(_ space: inout Allocator) throws(PoolError) {
        let g = superblock.geometry
        let buffer = AlignedBuffer(count: g.blockSize)
        for sequence in superblock.spaceTail..<superblock.spaceHead {
            let position = g.spaceLogOffset + sequence % UInt64(g.spaceLogFrames) * UInt64(g.blockSize)
            try device.read(into: buffer.bytes, at: position)
            let frame = try SpaceLogFrame.decode(
                UnsafeRawBufferPointer(buffer.bytes), pool: superblock.uuid.low, sequence: sequence, position: position)
            guard frame.epoch > superblock.bitmapEpoch, frame.epoch <= superblock.epoch else {
                throw .corrupt(.spaceLog, position: position, .identity)
            }
            for run in frame.runs { try space.apply(run, position: position) }
        }
    }

    // MARK: Catalog

    private func loadCatalog(_ state: inout PoolState) throws(PoolError) {
        let buffer = AlignedBuffer(count: superblock.geometry.blockSize)
        let bytes = buffer.bytes
        let reader = NodeReader(device: device, map: map, pool: superblock.uuid.low)
        var fromCopy: UInt64 = 0
        let records = try state.catalog.load(
            root: superblock.catalogRoot, depth: superblock.catalogDepth
        ) { pointer, use throws(PoolError) in
            let found = try reader.read(pointer, into: bytes)
            if found.isCopy { fromCopy += 1 }
            try use(UnsafeRawBufferPointer(bytes), found)
        }
        state.counters.nodesFromCopy = fromCopy
        try state.takeOver(records)
    }
}

extension PoolState {
    /// Fills the tables from the catalog's records. Throws if they contradict one another.
    mutating func takeOver(_ records: [VersionRecord]) throws(PoolError) {
        var generations: [UInt64: UInt32] = [:]
        for record in records { generations[record.id] = record.generation }
        for record in records {
            let parent = record.parent == 0 ? 0 : generations[record.parent] ?? .max
            guard parent < record.generation, record.id < nextID, record.generation < nextGeneration else {
                throw .corrupt(.version, position: record.id, .mapping)
            }
            insert(Version(record: record, parentGeneration: parent))
        }
        for version in versions.values { versions[version.record.parent]?.children.insert(version.id) }
        guard objects.count + hidden.count == versions.count else { throw .corrupt(.version, position: 0, .mapping) }
        dirtyVersions = []
        dirtyBlocks = 0
        victim = versions.values.first { $0.isHidden && $0.record.reapCursor > 0 }
    }
}
