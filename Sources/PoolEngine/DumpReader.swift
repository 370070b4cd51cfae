internal import BlockStorage

/// Takes a dump apart, line by line, and checks that it makes sense before anything is written.
struct DumpReader {
    private let device: any BlockDevice
    private var number = 0
    private var superblock: Superblock?
    private var headers: [ZoneHeader] = []
    private var map: ZoneMap?
    private var nodes: [BlockAddress: Node] = [:]
    private var open: Node?
    private var openAddress = BlockAddress.none
    private var versions: [(record: VersionRecord, root: BlockAddress)] = []
    private var uses = IntroductionCounter()
    private var properties: [UInt64: [String: [UInt8]]] = [:]
    private var hasEnded = false
    /// Some of the blocks of data, from all of the dump, by which the device can be known: one of so many.
    private var samples: [(address: BlockAddress, checksum: UInt32)] = []
    private var sampleStep = 1
    private var dataCount = 0
    private static let maximumSamples = 128

    init(device: any BlockDevice) { self.device = device }

    /// What a whole dump says.
    struct Restored {
        var superblock: Superblock
        var headers: [ZoneHeader]
        fileprivate var versions: [(record: VersionRecord, root: NodeReference)]
        fileprivate var uses: IntroductionCounter
        fileprivate var nodeBlocks: Int
        fileprivate var properties: [UInt64: [String: [UInt8]]]
    }

    mutating func take(_ line: Substring) throws(PoolError) {
        number += 1
        if line.isEmpty || line.hasPrefix("#") { return }
        let words = line.split(separator: " ", maxSplits: 1)
        let rest = words.count > 1 ? words[1] : ""
        guard !hasEnded else { throw .malformed(line: number) }
        switch words[0] {
        case "volfs-dump": guard rest == "1" else { throw .malformed(line: number) }
        case "pool": try takePool(Fields(rest, number))
        case "geometry": try takeGeometry(Fields(rest, number))
        case "zone": try takeZone(Fields(rest, number))
        case "node": try takeNode(rest)
        case "version": try takeVersion(rest)
        case "property": try takeProperty(rest)
        case "end":
            endNode()
            hasEnded = true
        default: try takeEntry(words[0], rest)
        }
    }

    // MARK: The pool

    private mutating func takePool(_ fields: Fields) throws(PoolError) {
        guard let uuid = UUIDBytes(text: try fields.text("uuid")) else { throw .malformed(line: number) }
        var superblock = Superblock(uuid: uuid, geometry: .standard(size: try fields.number("size")))
        superblock.epoch = try fields.number("epoch")
        superblock.size = try fields.number("size")
        superblock.created = try fields.number("created")
        // Older dumps do not tell it.
        superblock.autogrow = fields.has("autogrow") ? try fields.number("autogrow") : 0
        superblock.nextID = try fields.number("next_id")
        superblock.nextGeneration = UInt32(truncatingIfNeeded: try fields.number("next_generation"))
        let there = try device.size
        guard superblock.size <= there else { throw .truncated(size: there, expected: superblock.size) }
        guard superblock.nextID < PoolState.maximumID, superblock.epoch < 1 << 61 else {
            throw .malformed(line: number)
        }
        self.superblock = superblock
    }

    private mutating func takeGeometry(_ fields: Fields) throws(PoolError) {
        func size(_ name: String) throws(PoolError) -> Int { Int(clamping: min(try fields.number(name), 1 << 30)) }
        let geometry = Geometry(
            blockSize: try size("block"), fanout: try size("fanout"), segmentBlocks: try size("segment"), ringSlots: try size("slots"),
            ringStride: try size("stride"), journalFrames: try size("journal"), spaceLogFrames: try size("space_log"))
        do throws(PoolError) { try geometry.validate() } catch { throw .malformed(line: number) }
        guard superblock != nil else { throw .malformed(line: number) }
        superblock?.geometry = geometry
    }

    private mutating func takeZone(_ fields: Fields) throws(PoolError) {
        guard let superblock, nodes.isEmpty, open == nil else { throw .malformed(line: number) }
        let g = superblock.geometry
        let offset = headers.last?.end(g) ?? g.firstZoneOffset
        let first = headers.last.map { $0.firstSegment + $0.segments } ?? 1
        let wanted = try fields.number("segments")
        guard wanted > 0, wanted <= UInt64(g.largestZoneSegments), let header = ZoneHeader(
            index: headers.count, offset: offset, end: superblock.size, firstSegment: first, limit: Int(wanted), geometry: g)
        else { throw .malformed(line: number) }
        guard try fields.number("offset") == offset, header.segments == wanted else { throw .malformed(line: number) }
        headers.append(header)
        map = ZoneMap(geometry: g, headers: headers)
    }

    // MARK: Nodes

    private mutating func takeNode(_ rest: Substring) throws(PoolError) {
        endNode()
        let words = rest.split(separator: " ", maxSplits: 1)
        guard let superblock, words.count == 2, let address = UInt64(words[0]), nodes[BlockAddress(address)] == nil else {
            throw .malformed(line: number)
        }
        let fields = Fields(words[1], number)
        let level = try fields.number("level"), first = try fields.number("first")
        guard level <= UInt64(Geometry.maximumLevel), first % superblock.geometry.span(level: Int(level)) == 0 else {
            throw .malformed(line: number)
        }
        let identity = VersionIdentity(
            id: try fields.number("writer"), family: try fields.number("family"),
            generation: UInt32(truncatingIfNeeded: try fields.number("generation")))
        open = Node(level: Int(level), first: first, version: identity, holeGeneration: 0, geometry: superblock.geometry)
        openAddress = BlockAddress(address)
    }

    private mutating func takeEntry(_ word: Substring, _ rest: Substring) throws(PoolError) {
        let range = word.split(separator: "-").compactMap { Int($0) }
        let words = rest.split(separator: " ")
        guard let superblock, let map, let node = open, (1...2).contains(range.count), let from = range.first, let to = range.last,
            from <= to, to < superblock.geometry.fanout, words.count >= 2, let value = UInt64(words[1])
        else { throw .malformed(line: number) }
        let fanout = superblock.geometry.fanout
        switch words[0] {
        case "hole", "lost":
            guard let generation = UInt32(exactly: value), generation <= node.generation, words[0] == "hole" || node.level == 0 else {
                throw .malformed(line: number)
            }
            for slot in from...to {
                node.store(words[0] == "hole" ? .hole(generation) : .poisoned(generation), at: slot, fanout)
                if words[0] == "lost" { node.count += 1 }
            }
        case "node":
            let span = superblock.geometry.span(level: max(0, node.level - 1))
            guard node.level > 0, let child = nodes[BlockAddress(value)], child.level == node.level - 1,
                child.first == node.first + UInt64(from) * span, child.generation <= node.generation
            else { throw .malformed(line: number) }
            node.children[from] = child
            node.count += 1
            node.store(
                .node(NodePointer(address: .none, generation: child.generation, checksum: 0), mapped: 0, isLeaf: false), at: from, fanout)
        case "data":
            guard node.level == 0, words.count == 4, let generation = UInt32(words[2]), let checksum = UInt32(words[3], radix: 16),
                generation <= node.generation, map.contains(BlockAddress(value))
            else { throw .malformed(line: number) }
            uses.note(BlockAddress(value), block: node.first + UInt64(from), generation: generation)
            node.store(
                Entry(address: BlockAddress(value), generation: generation, checksum: checksum, descriptor: .data), at: from, fanout)
            node.count += 1
            noteSample(BlockAddress(value), checksum)
        default: throw .malformed(line: number)
        }
    }

    private mutating func noteSample(_ address: BlockAddress, _ checksum: UInt32) {
        defer { dataCount += 1 }
        guard dataCount % sampleStep == 0 else { return }
        samples.append((address, checksum))
        guard samples.count > Self.maximumSamples else { return }
        samples = samples.indices.filter { $0 % 2 == 0 }.map { samples[$0] }
        sampleStep *= 2
    }

    /// Whether at least one of the samples is on the device as the dump says. Data that was written since the dump may be elsewhere, and
    /// some of a device that needs this may be unreadable; throws if none of it could be read.
    func findsData() throws(PoolError) -> Bool {
        guard let map, let superblock else { return false }
        let block = AlignedBuffer(count: superblock.geometry.blockSize)
        var problem: PoolError?, hasRead = false
        for sample in samples {
            do throws(PoolError) {
                try device.read(into: block.bytes, at: map.offset(of: sample.address))
                hasRead = true
            } catch {
                problem = error
                continue
            }
            let bytes = UnsafeRawBufferPointer(block.bytes)
            if crc32c(bytes) == sample.checksum, !isZero(bytes) { return true }
        }
        if let problem, !hasRead { throw problem }
        return false
    }

    private mutating func endNode() {
        if let open { nodes[openAddress] = open }
        open = nil
    }

    // MARK: Versions

    private mutating func takeVersion(_ rest: Substring) throws(PoolError) {
        endNode()
        // The name is last, and may be empty.
        let halves = rest.split(separator: " name=", maxSplits: 1, omittingEmptySubsequences: false)
        let fields = Fields(halves[0], number)
        let states: [String: VersionRecord.State] = ["volume": .volume, "snapshot": .snapshot, "hidden": .hidden]
        guard halves.count == 2, let state = states[try fields.text("state")], let uuid = UUIDBytes(text: try fields.text("uuid")) else {
            throw .malformed(line: number)
        }
        func small(_ name: String) throws(PoolError) -> UInt32 { UInt32(truncatingIfNeeded: try fields.number(name)) }
        var record = VersionRecord(
            id: try fields.number("id"), volume: try fields.number("volume"), parent: try fields.number("parent"),
            family: try fields.number("family"), state: state, generation: try small("generation"),
            level: Int(clamping: try fields.number("level")), size: try fields.number("size"), created: try fields.number("created"),
            attributes: Attributes(mode: try small("mode") & 0o7777, uid: try small("uid"), gid: try small("gid")), uuid: uuid,
            name: String(halves[1]))
        record.referenced = try fields.number("referenced")
        record.reapCursor = try fields.number("cursor")
        record.modified = try fields.number("modified")
        record.changed = try fields.number("changed")
        record.originVersion = try fields.number("origin_version")
        record.originVolume = try fields.number("origin_volume")
        let root = try fields.text("root")
        guard record.level <= Geometry.maximumLevel else { throw .malformed(line: number) }
        if root.hasPrefix("hole:") {
            guard let generation = UInt32(root.dropFirst(5)) else { throw .malformed(line: number) }
            record.root = NodePointer(address: .none, generation: generation, checksum: 0)
            versions.append((record, .none))
        } else {
            guard let address = UInt64(root), let node = nodes[BlockAddress(address)], node.level == record.level, node.first == 0 else {
                throw .malformed(line: number)
            }
            record.root = NodePointer(address: .none, generation: node.generation, checksum: 0)
            versions.append((record, BlockAddress(address)))
        }
    }

    private mutating func takeProperty(_ rest: Substring) throws(PoolError) {
        let words = rest.split(separator: " ")
        guard words.count == 3, let id = UInt64(words[0]), versions.last?.record.id == id, versions.last?.record.state != .hidden,
            let name = Self.bytes(words[1]).flatMap({ String(validating: $0, as: UTF8.self) }), let value = Self.bytes(words[2]),
            name.utf8.count <= 255, value.count <= PropertyChain.maximumSize - 4
        else { throw .malformed(line: number) }
        properties[id, default: [:]][name] = value
        guard PropertyChain.encode(properties[id] ?? [:]).count <= PropertyChain.maximumSize else { throw .malformed(line: number) }
    }

    private static func bytes(_ word: Substring) -> [UInt8]? {
        let digits = Array(word.utf8.dropFirst())
        guard word.hasPrefix("x"), digits.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    /// Throws unless the dump was whole.
    func finish(_ environment: Pool.Environment) throws(PoolError) -> Restored {
        guard hasEnded, var superblock, !headers.isEmpty else { throw .malformed(line: number + 1) }
        superblock.isClean = true
        superblock.zoneCount = headers.count
        superblock.incarnation = environment.random()
        superblock.nonce = environment.random()
        superblock.written = environment.now()
        let roots = versions.map { entry in
            (entry.record, nodes[entry.root].map { NodeReference.memory($0) } ?? .hole(entry.record.root.generation))
        }
        let nodeBlocks = nodes.values.reduce(0) { $0 + NodePointer.copies(level: $1.level) }
        return Restored(superblock: superblock, headers: headers, versions: roots, uses: uses, nodeBlocks: nodeBlocks, properties: properties)
    }
}

extension DumpReader.Restored {
    /// Puts everything into the state of a pool just laid out.
    func fill(_ state: inout PoolState) throws(PoolError) {
        for block in uses.blocks.sorted() { try state.space.claim(BlockRun(start: block, count: 1)) }
        _ = state.countShares(uses)
        try state.takeOver(versions.map(\.record))
        state.dirtyBlocks += nodeBlocks
        for (record, root) in versions {
            guard let version = state.versions[record.id] else { continue }
            version.root = root
            version.properties = properties[record.id] ?? [:]
            if !version.properties.isEmpty { state.touchProperties(version) }
            state.markDirty(version)
        }
        state.openPromises(isCountedAnew: true)
        state.rewritesBitmap = true
    }
}

/// `name=value` words.
private struct Fields {
    private var values: [Substring: Substring] = [:]
    private let line: Int

    init(_ text: Substring, _ line: Int) {
        self.line = line
        for word in text.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
    }

    func has(_ name: String) -> Bool { values[Substring(name)] != nil }

    func text(_ name: String) throws(PoolError) -> String {
        guard let value = values[Substring(name)] else { throw .malformed(line: line) }
        return String(value)
    }

    func number(_ name: String) throws(PoolError) -> UInt64 {
        guard let value = UInt64(try text(name)) else { throw .malformed(line: line) }
        return value
    }
}
