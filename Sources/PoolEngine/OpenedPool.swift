internal import BlockStorage

/// The first half of opening a pool: what the fixed places of the device say. The second half is `Pool.recover`.
struct OpenedPool {
    private(set) var superblock: Superblock
    let map: ZoneMap
    let device: any BlockDevice
    let configuration: Pool.Configuration
    let isReadOnly: Bool
    /// Zones whose headers could not be read, and were told again from the geometry.
    private(set) var retoldZones: [ZoneHeader] = []
    /// The superblocks that were found; and how many copies that were damaged have been written again from the other one.
    private(set) var copies: SuperblockCopies?
    private(set) var mendedSuperblocks = 0
    /// There was no superblock, and this one is what a search of the device tells: it does not know which blocks are in use.
    private(set) var isTold = false

    /// `zones` are the headers of a pool that is in use here, which knows them; else they are read.
    init(device: any BlockDevice, configuration: Pool.Configuration, isReadOnly: Bool, zones known: [ZoneHeader]? = nil) throws(PoolError) {
        self.device = device
        self.configuration = configuration
        self.isReadOnly = isReadOnly
        var (newest, copies) = try Self.newestSuperblock(on: device)
        if !isReadOnly {
            // Whatever is read from here on must be durable before a block is written that only an older checkpoint
            // needs (rule R9). After anything but a close, the cache may also hold what never reached the device.
            if newest.isClean { try device.flush() } else { try device.flushAndDropCache() }
            (newest, copies) = try Self.newestSuperblock(on: device)
        }
        superblock = newest
        self.copies = copies
        if superblock.readOnlyCompatible != 0 && !isReadOnly {
            throw .unsupportedFormat(version: Superblock.version, features: superblock.readOnlyCompatible)
        }
        let size = try device.size
        guard size >= superblock.size else { throw .truncated(size: size, expected: superblock.size) }
        var zones = (headers: known ?? [], retold: [ZoneHeader]())
        if known == nil { zones = try Self.zones(of: superblock, on: device) }
        map = ZoneMap(geometry: superblock.geometry, headers: zones.headers)
        // Only of a pool that was being cut: before anything else, so that the next superblock need not say so any more.
        retoldZones = zones.retold
        if !isReadOnly {
            // A loss of power may have torn one. Where it cannot be written the pool is as good as it was.
            mendedSuperblocks = (try? copies.mend(on: device)) ?? 0
            try writeZoneHeaders()
            superblock.isCut = false
        }
    }

    /// For repair: damage is noted and worked around. The superblock before the newest is taken if only from it the whole
    /// catalog can be read: the journal then brings it forward, as its frames are still there.
    init(
        repairing device: any BlockDevice, configuration: Pool.Configuration, environment: Pool.Environment, isDryRun: Bool,
        report: inout RepairReport
    ) throws(PoolError) {
        self.device = device
        self.configuration = configuration
        isReadOnly = isDryRun
        if !isDryRun { try device.flushAndDropCache() }
        let (found, problem, _) = try Self.superblocks(on: device)
        if found.isEmpty, let problem, case .unsupportedFormat = problem { throw problem }
        guard let newest = found.max(by: { $0.superblock.epoch < $1.superblock.epoch })?.superblock else {
            let search = try SuperblockSearch(device, environment)
            report.findings.append(.noSuperblock(epoch: search.epoch))
            superblock = search.superblock
            let zones = try Self.zones(of: superblock, on: device, isRepair: true)
            (map, retoldZones, isTold) = (ZoneMap(geometry: superblock.geometry, headers: zones.headers), zones.retold, true)
            return
        }
        var chosen = newest
        var zones = try Self.zones(of: newest, on: device, isRepair: true)
        if !Self.hasWholeCatalog(newest, zones.headers, device),
            let before = found.first(where: { $0.superblock.epoch + 1 == newest.epoch })?.superblock
        {
            let zonesBefore = try Self.zones(of: before, on: device, isRepair: true)
            if Self.hasWholeCatalog(before, zonesBefore.headers, device) {
                (chosen, zones) = (before, zonesBefore)
                report.findings.append(.olderSuperblock(epoch: before.epoch, lost: newest.epoch))
            }
        }
        let size = try device.size
        guard size >= chosen.size else { throw .truncated(size: size, expected: chosen.size) }
        let copies = SuperblockCopies(found, of: chosen, on: device)
        for damaged in copies.damaged { report.findings.append(.superblockCopy(position: damaged.position)) }
        superblock = chosen
        map = ZoneMap(geometry: chosen.geometry, headers: zones.headers)
        retoldZones = zones.retold
        let isCut = chosen.isCut
        superblock.isCut = false
        for zone in retoldZones where !(isCut && zone.index + 1 == chosen.zoneCount) {
            report.findings.append(.zoneHeader(position: zone.offset))
        }
    }

    static func hasWholeCatalog(_ superblock: Superblock, _ headers: [ZoneHeader], _ device: any BlockDevice) -> Bool {
        let map = ZoneMap(geometry: superblock.geometry, headers: headers)
        let reader = NodeReader(device: device, map: map, pool: superblock.uuid.low)
        let buffer = AlignedBuffer(count: superblock.geometry.blockSize)
        let bytes = buffer.bytes
        var catalog = Catalog(geometry: superblock.geometry)
        let records = try? catalog.load(root: superblock.catalogRoot, depth: superblock.catalogDepth, map: map) { pointer, use throws(PoolError) in
            try use(UnsafeRawBufferPointer(bytes), try reader.read(pointer, into: bytes))
        }
        return records != nil
    }

    /// Writes the headers that were told again to their places. Durable on return.
    func writeZoneHeaders() throws(PoolError) {
        guard !retoldZones.isEmpty else { return }
        let block = AlignedBuffer(count: superblock.geometry.blockSize)
        for zone in retoldZones {
            zone.encode(into: block.bytes, pool: superblock.uuid.low, geometry: superblock.geometry)
            try device.write(UnsafeRawBufferPointer(block.bytes), at: zone.offset)
        }
        try device.flush()
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
        try loadShares(&state)
        return state
    }

    // MARK: Superblock

    /// Every valid superblock of the newest epoch wins. The rings' place follows from the geometry, which is in them, so
    /// the start of the device is searched for the magic: one torn slot must not hide the others.
    private static func newestSuperblock(on device: any BlockDevice) throws(PoolError) -> (Superblock, SuperblockCopies) {
        let (found, problem, newerFormat) = try superblocks(on: device)
        guard let best = found.max(by: { $0.superblock.epoch < $1.superblock.epoch }) else {
            if problem == nil && SuperblockSearch.mayBePool(device) { throw .corrupt(.superblock, position: 0, .missing) }
            throw problem ?? .notAPool
        }
        if let newerFormat, newerFormat >= best.superblock.epoch, let problem { throw problem }
        return (best.superblock, SuperblockCopies(found, of: best.superblock, on: device))
    }

    /// Every valid superblock with its place, what is wrong with the others, and the epoch of the newest one of a format
    /// that we do not know: an older one that we do know must not pass for the newest.
    static func superblocks(
        on device: any BlockDevice
    ) throws(PoolError) -> (found: [(superblock: Superblock, position: UInt64)], problem: PoolError?, newerFormat: UInt64?) {
        let size = try device.size
        let count = Int(min(size, 2 << 20)) / 512 * 512
        guard count > 0 else { throw .notAPool }
        let buffer = AlignedBuffer(count: count)
        try device.read(into: buffer.bytes, at: 0)
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        var all: [(superblock: Superblock, position: UInt64)] = []
        var problem: PoolError?
        var newerFormat: UInt64?
        for offset in stride(from: 0, to: count, by: 512) where bytes.integer(at: offset) == Superblock.magic {
            do throws(PoolError) {
                all.append((try decode(bytes, at: offset), UInt64(offset)))
            } catch {
                // A version we do not know says more than a checksum that does not fit.
                if case .unsupportedFormat = error {
                    problem = error
                    newerFormat = max(newerFormat ?? 0, bytes.integer(at: offset + Superblock.epochOffset))
                } else {
                    problem = problem ?? error
                }
            }
        }
        return (all, problem, newerFormat)
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

    /// With `isRepair` a header that cannot be read is told again: a zone is as large as it can be. So is the last one of a pool
    /// that was being cut.
    static func zones(
        of superblock: Superblock, on device: any BlockDevice, isRepair: Bool = false
    ) throws(PoolError) -> (headers: [ZoneHeader], retold: [ZoneHeader]) {
        let g = superblock.geometry
        guard superblock.zoneCount <= ZoneMap.maximumZones else { throw .corrupt(.superblock, position: 0, .mapping) }
        var headers: [ZoneHeader] = [], retold: [ZoneHeader] = []
        var offset = g.firstZoneOffset
        var segment: UInt64 = 1
        let buffer = AlignedBuffer(count: g.blockSize)
        for index in 0..<superblock.zoneCount {
            guard offset + UInt64(g.blockSize) <= superblock.size else {
                throw .corrupt(.superblock, position: offset, .mapping)
            }
            try device.read(into: buffer.bytes, at: offset)
            let header: ZoneHeader
            do throws(PoolError) {
                header = try ZoneHeader(
                    decoding: UnsafeRawBufferPointer(buffer.bytes), index: index, offset: offset, firstSegment: segment,
                    pool: superblock.uuid.low, geometry: g, end: superblock.size)
            } catch {
                // It reaches to the zone behind it, which lies on a segment.
                let end = isRepair && index + 1 < superblock.zoneCount
                    ? try next(zone: index + 1, after: offset, superblock, on: device) : superblock.size
                let mayTell = isRepair || (superblock.isCut && index + 1 == superblock.zoneCount)
                guard mayTell, let likely = ZoneHeader(index: index, offset: offset, filling: end, firstSegment: segment, geometry: g)
                else { throw error }
                header = likely
                retold.append(likely)
            }
            headers.append(header)
            offset = header.end(g)
            segment += header.segments
            let isLast = index + 1 == superblock.zoneCount
            guard isLast || Int(header.segments) * g.segmentBlocks % 64 == 0,
                segment * UInt64(g.segmentBlocks) < 1 << UInt64(BlockAddress.bits)
            else { throw .corrupt(.zoneHeader, position: header.offset, .mapping) }
        }
        return (headers, retold)
    }

    /// Where the header of a zone is, looked for from segment to segment; the pool's end if it is nowhere.
    static func next(
        zone index: Int, after offset: UInt64, _ superblock: Superblock, on device: any BlockDevice
    ) throws(PoolError) -> UInt64 {
        let g = superblock.geometry, step = UInt64(superblock.geometry.segmentSize)
        let buffer = AlignedBuffer(count: g.blockSize)
        let block = UnsafeRawBufferPointer(buffer.bytes)
        var at = offset + step
        while at + UInt64(g.blockSize) <= superblock.size {
            try device.read(into: buffer.bytes, at: at)
            let isHeader = SealedBlock.problem(block, magic: ZoneHeader.magic) == nil && block.integer(at: 8) == superblock.uuid.low
                && block.integer(at: 16) == UInt32(index) && block.integer(at: 24) == at
            if isHeader { return at }
            at += step
        }
        return superblock.size
    }

    func loadBitmap(_ space: inout Allocator) throws(PoolError) {
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

    func replaySpaceLog(_ space: inout Allocator) throws(PoolError) {
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

    // MARK: Catalog and shared blocks

    func loadShares(_ state: inout PoolState) throws(PoolError) {
        let buffer = AlignedBuffer(count: superblock.geometry.blockSize)
        let bytes = buffer.bytes
        let reader = NodeReader(device: device, map: map, pool: superblock.uuid.low)
        var fromCopy: UInt64 = 0
        try state.shares.load(root: superblock.reflinkRoot, depth: superblock.reflinkDepth, map: map) { pointer, use throws(PoolError) in
            let found = try reader.read(pointer, into: bytes)
            if found.isCopy { fromCopy += 1 }
            try use(UnsafeRawBufferPointer(bytes), found)
        }
        state.counters.nodesFromCopy += fromCopy
    }

    private func loadCatalog(_ state: inout PoolState) throws(PoolError) {
        let buffer = AlignedBuffer(count: superblock.geometry.blockSize)
        let bytes = buffer.bytes
        let reader = NodeReader(device: device, map: map, pool: superblock.uuid.low)
        var fromCopy: UInt64 = 0
        let records = try state.catalog.load(
            root: superblock.catalogRoot, depth: superblock.catalogDepth, map: map
        ) { pointer, use throws(PoolError) in
            let found = try reader.read(pointer, into: bytes)
            if found.isCopy { fromCopy += 1 }
            try use(UnsafeRawBufferPointer(bytes), found)
        }
        state.counters.nodesFromCopy = fromCopy
        try state.takeOver(records)
        for version in state.versions.values where !version.record.properties.isNone {
            (version.properties, version.propertyNodes) = try PropertyChain.read(
                version.record.properties, of: version.id, reader, geometry: superblock.geometry)
        }
        state.openPromises()
    }
}
