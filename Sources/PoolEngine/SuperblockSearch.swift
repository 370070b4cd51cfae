internal import BlockStorage

/// Tells the superblock of a pool again when none is left, since the beginning of its device was overwritten. For repair.
///
/// Each zone's header repeats the geometry. Every checkpoint that changes a version's record writes a new root of the catalog, so
/// the newest root below which the catalog is whole is that of a checkpoint, and nothing it needs has been used for anything else
/// since (rule R5). What only the journal had after it is lost: a superblock says where the journal begins, and nothing else does.
struct SuperblockSearch {
    let superblock: Superblock
    /// The checkpoint whose catalog was found. The superblock's own number is above all that anything on the device names.
    let epoch: UInt64
    private let device: any BlockDevice

    /// Reads the whole device. Throws `.notAPool` where there is no zone of a pool, `.corrupt` where there is no catalog in it, or
    /// where another pool was on the device before and has left a zone's header.
    init(_ device: any BlockDevice, _ environment: Pool.Environment) throws(PoolError) {
        self.device = device
        guard let zone = try Self.firstZone(on: device, below: try device.size) else { throw .notAPool }
        var uuid = UUIDBytes(randomHigh: environment.random(), randomLow: 0)
        uuid.low = zone.pool
        var told = Superblock(uuid: uuid, geometry: zone.geometry)
        told.size = try device.size
        told.zoneCount = zone.index + 1
        var end = zone.end
        while case let at = try OpenedPool.next(zone: told.zoneCount, after: end - UInt64(zone.geometry.segmentSize), told, on: device),
            at < told.size, let next = try Self.zone(on: device, at: at)
        {
            told.zoneCount += 1
            end = next.end
        }
        told.size = end
        // Of two that were made on one device nothing tells which was the last.
        guard try Self.isOnlyPool(zone, on: device) else { throw .corrupt(.zoneHeader, position: zone.offset, .identity) }
        told.created = environment.now()
        told.written = told.created
        told.incarnation = environment.random()

        let headers = try OpenedPool.zones(of: told, on: device, isRepair: true).headers
        let map = ZoneMap(geometry: zone.geometry, headers: headers)
        let scan = try CatalogScan(NodeReader(device: device, map: map, pool: zone.pool))
        // One that was being written when power was lost may have its catalog whole and not all of its maps.
        let whole = scan.roots.filter {
            (told.catalogRoot, told.catalogDepth) = ($0.pointer, $0.level + 1)
            return OpenedPool.hasWholeCatalog(told, headers, device)
        }
        let reader = NodeReader(device: device, map: map, pool: zone.pool)
        var best: CatalogScan.Root?
        for root in whole.prefix(8) where best == nil {
            guard let records = try? scan.records(below: root, geometry: zone.geometry) else { continue }
            if try Self.hasWholeMaps(records, reader, zone.geometry) { best = root }
        }
        guard let root = best ?? whole.first ?? scan.roots.first else { throw .corrupt(.superblock, position: 0, .missing) }
        (told.catalogRoot, told.catalogDepth, epoch) = (root.pointer, root.level + 1, root.epoch)
        let records = try scan.records(below: root, geometry: zone.geometry)
        told.nextID = max(scan.id, records.map(\.id).max() ?? 0) + 1
        told.nextGeneration = max(scan.generation, records.map(\.generation).max() ?? 0) + 1
        told.epoch = max(scan.epoch, try Self.journalEpoch(told, on: device))
        superblock = told
    }

    /// Whether every node of every version can be read. What is deleted is not looked at. Throws `.cancelled`.
    private static func hasWholeMaps(_ records: [VersionRecord], _ reader: NodeReader, _ geometry: Geometry) throws(PoolError) -> Bool {
        let survey = Survey(reader: reader, geometry: geometry)
        for record in records where record.state != .hidden {
            try survey.walk(record.root, level: record.level, first: 0, family: record.family)
        }
        return survey.lost.isEmpty
    }

    /// Whether the device may be a pool without a superblock, by a zone's header where most pools have their first.
    static func mayBePool(_ device: any BlockDevice) -> Bool {
        guard let size = try? device.size, let zone = try? firstZone(on: device, below: min(size, 512 << 20)) else { return false }
        return zone.index == 0
    }

    // MARK: Zones

    private struct Zone {
        var offset: UInt64
        var geometry: Geometry
        var pool: UInt64
        var index: Int
        var end: UInt64
    }

    /// All zones lie on a segment, which is never smaller.
    private static let step: UInt64 = 8192

    private static func firstZone(on device: any BlockDevice, from first: UInt64 = 0, below limit: UInt64) throws(PoolError) -> Zone? {
        let chunk = AlignedBuffer(count: 1 << 20)
        var start = first
        while start < limit {
            let count = Int(min(limit - start, UInt64(chunk.bytes.count)))
            try device.read(into: chunk.bytes.part(0..<count), at: start)
            for offset in stride(from: 0, to: count - 3, by: Int(step)) {
                if UnsafeRawBufferPointer(chunk.bytes).integer(at: offset) != ZoneHeader.magic { continue }
                if let zone = try zone(on: device, at: start + UInt64(offset)) { return zone }
            }
            start += UInt64(count)
        }
        return nil
    }

    /// True if all headers of zones that there are, looked for everywhere, are of that zone's pool.
    private static func isOnlyPool(_ zone: Zone, on device: any BlockDevice) throws(PoolError) -> Bool {
        let size = try device.size
        var start: UInt64 = 0
        while start < size {
            guard let next = try firstZone(on: device, from: start, below: size) else { return true }
            if next.pool != zone.pool { return false }
            start = next.offset + step
        }
        return true
    }

    /// The zone whose header is whole and says that it lies there.
    private static func zone(on device: any BlockDevice, at offset: UInt64) throws(PoolError) -> Zone? {
        let size = try device.size
        let buffer = AlignedBuffer(count: Int(min(65_536, size - offset)))
        guard buffer.bytes.count >= 512 else { return nil }
        try device.read(into: buffer.bytes, at: offset)
        let bytes = UnsafeRawBufferPointer(buffer.bytes)
        func number(_ field: Int) -> Int { Int(bytes.integer(at: 64 + 4 * field, as: UInt32.self)) }
        let geometry = Geometry(
            blockSize: number(0), fanout: number(1), segmentBlocks: number(2), ringSlots: number(3), ringStride: number(4),
            journalFrames: number(5), spaceLogFrames: number(6))
        guard (try? geometry.validate()) != nil, geometry.blockSize <= bytes.count,
            SealedBlock.problem(bytes.part(0..<geometry.blockSize), magic: ZoneHeader.magic) == nil, bytes.integer(at: 24) == offset
        else { return nil }
        let segments: UInt64 = bytes.integer(at: 40), data: UInt64 = bytes.integer(at: 56)
        guard segments > 0, data > offset, data < size, segments <= (size - data) / UInt64(geometry.segmentSize) else { return nil }
        return Zone(
            offset: offset, geometry: geometry, pool: bytes.integer(at: 8), index: Int(bytes.integer(at: 16, as: UInt32.self)),
            end: data + segments * UInt64(geometry.segmentSize))
    }

    /// The newest checkpoint that a journal frame knows of: the next superblock's number must be above it.
    private static func journalEpoch(_ superblock: Superblock, on device: any BlockDevice) throws(PoolError) -> UInt64 {
        let g = superblock.geometry
        let buffer = AlignedBuffer(count: g.blockSize)
        var epoch: UInt64 = 0
        for frame in 0..<g.journalFrames {
            try device.read(into: buffer.bytes, at: g.journalOffset + UInt64(frame * g.blockSize))
            let found = JournalFrame(decoding: UnsafeRawBufferPointer(buffer.bytes), pool: superblock.uuid.low)
            epoch = max(epoch, found?.durableEpoch ?? 0)
        }
        return epoch
    }
}

/// Every block of a pool read once: the catalog's roots, and the largest numbers that any node has.
private struct CatalogScan {
    struct Root: Hashable {
        var pointer: NodePointer
        var level: Int
        var epoch: UInt64
    }
    /// Newest first; those that may have all others of a checkpoint's catalog below them.
    private(set) var roots: [Root] = []
    private(set) var epoch: UInt64 = 0
    private(set) var generation: UInt32 = 0
    private(set) var id: UInt64 = 0
    private let reader: NodeReader

    /// Passes over what cannot be read. Throws `.cancelled`.
    init(_ reader: NodeReader) throws(PoolError) {
        self.reader = reader
        let geometry = reader.map.geometry
        let segment = AlignedBuffer(count: geometry.segmentSize)
        // Of one address there may be an old node's copy, and what is there now.
        var places: [Root: BlockAddress] = [:], found: Set<Root> = []
        for start in stride(from: 0, to: reader.map.blockCount, by: geometry.segmentBlocks) {
            let first = reader.map.address(of: start)
            guard try reader.canRead(segment.bytes, at: first) else { continue }
            for index in 0..<geometry.segmentBlocks {
                let block = UnsafeRawBufferPointer(segment.bytes.part(index * geometry.blockSize..<(index + 1) * geometry.blockSize))
                guard let identity = identity(block) else { continue }
                epoch = max(epoch, identity.epoch)
                generation = max(generation, identity.generation)
                if identity.tree == .volume { id = max(id, identity.family, identity.writer) }
                guard identity.tree == .catalog, identity.first == 0, identity.level < 24 else { continue }
                let place = first.advanced(by: index)
                let pointer = NodePointer(address: identity.address, generation: 0, checksum: crc32c(block))
                let root = Root(pointer: pointer, level: identity.level, epoch: identity.epoch)
                found.insert(root)
                if place != identity.address { places[root] = place }
            }
        }
        // Of two checkpoints of one number, one was never completed.
        let top = Dictionary(grouping: found, by: \.epoch).mapValues { $0.map(\.level).max() }
        roots = found.filter { $0.level == top[$0.epoch] }.map { root in
            var root = root
            root.pointer.distance = places[root].flatMap { NodePointer.distance(from: root.pointer.address, to: $0) } ?? 0
            return root
        }.sorted { ($0.epoch, $0.pointer.address) > ($1.epoch, $1.pointer.address) }
    }

    /// What a whole node of this pool says it is.
    private func identity(_ block: UnsafeRawBufferPointer) -> NodeLayout.Identity? {
        guard block.integer(at: 0, as: UInt32.self) == NodeLayout.magic, block.integer(at: NodeLayout.Offset.pool) == reader.pool else {
            return nil
        }
        let pointer = NodePointer(
            address: BlockAddress(block.integer(at: NodeLayout.Offset.address)),
            generation: block.integer(at: NodeLayout.Offset.generation), checksum: crc32c(block))
        return try? NodeLayout.open(block, pointer: pointer, pool: reader.pool, position: 0)
    }

    /// The records of those of a catalog's leaves that can be read.
    func records(below root: Root, geometry: Geometry) throws(PoolError) -> [VersionRecord] {
        let buffer = AlignedBuffer(count: geometry.blockSize)
        let bytes = buffer.bytes
        var catalog = Catalog(geometry: geometry)
        return try catalog.load(root: root.pointer, depth: root.level + 1, map: reader.map) { pointer, use throws(PoolError) in
            do throws(PoolError) {
                try use(UnsafeRawBufferPointer(bytes), try reader.read(pointer, into: bytes))
            } catch {
                guard case .corrupt = error else { throw error }
            }
        }
    }
}
