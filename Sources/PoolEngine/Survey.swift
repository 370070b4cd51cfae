internal import BlockStorage

/// A walk over all trees of a pool that goes on where it finds damage: what is reached, and what is lost. For repair.
final class Survey {
    private(set) var reached: Set<BlockAddress> = []
    private(set) var uses = IntroductionCounter()
    /// References that lead nowhere, each once.
    private(set) var lost: [Lost] = []
    /// Nodes of whose two copies one is damaged, and where that is.
    private(set) var damagedCopies: [BlockAddress: UInt64] = [:]
    private(set) var nodes: [(pointer: NodePointer, level: Int)] = []
    var nodeCount: Int { nodes.count }
    private let reader: NodeReader
    private let geometry: Geometry
    private let buffer: AlignedBufferBox
    private var walked: Set<BlockAddress> = []
    private var lostAddresses: Set<BlockAddress> = []

    struct Lost {
        var pointer: NodePointer
        var level: Int
        var first: UInt64
        var family: UInt64
        var problem: PoolError
    }

    init(reader: NodeReader, geometry: Geometry) {
        self.reader = reader
        self.geometry = geometry
        buffer = AlignedBufferBox(count: geometry.blockSize)
    }

    func mark(_ node: NodePointer) {
        reached.insert(node.address)
        if node.copy != .none, reader.map.contains(node.copy) { reached.insert(node.copy) }
    }

    /// Walks a node and all below it that lies above the reap cursor. Throws `.cancelled` alone: what was not read any more is not lost.
    func walk(_ pointer: NodePointer, level: Int, first: UInt64, family: UInt64, above cursor: UInt64 = 0) throws(PoolError) {
        if pointer.isNone || first + geometry.span(level: level) <= cursor { return }
        if cursor == 0 && !walked.insert(pointer.address).inserted { return }
        let node: Node
        do throws(PoolError) {
            node = try read(pointer, level: level, first: first)
        } catch {
            if error == .cancelled { throw error }
            if lostAddresses.insert(pointer.address).inserted {
                lost.append(Lost(pointer: pointer, level: level, first: first, family: family, problem: error))
            }
            return
        }
        mark(pointer)
        if let position = reader.damagedCopy(pointer, buffer: buffer.buffer.bytes) { damagedCopies[pointer.address] = position }
        nodes.append((pointer, level))
        for slot in 0..<geometry.fanout {
            let entry = node.entry(slot, geometry.fanout)
            if entry.address == .none { continue }
            if level > 0 {
                let child = first + UInt64(slot) * geometry.span(level: level - 1)
                try walk(entry.pointer(isLeaf: level == 1), level: level - 1, first: child, family: family, above: cursor)
            } else if first + UInt64(slot) >= cursor {
                reached.insert(entry.address)
                uses.note(entry.address, block: first + UInt64(slot), generation: entry.generation)
            }
        }
    }

    /// The node at a place of a tree. Throws `.corrupt` if neither copy is that node.
    func read(_ pointer: NodePointer, level: Int, first: UInt64) throws(PoolError) -> Node {
        let found = try reader.read(pointer, into: buffer.buffer.bytes)
        guard found.identity.tree == .volume, found.identity.level == level, found.identity.first == first else {
            throw .corrupt(.node, position: found.position, .identity)
        }
        return try Node(
            block: UnsafeRawBufferPointer(buffer.buffer.bytes), identity: found.identity, pointer: pointer,
            position: found.position, geometry: geometry, map: reader.map)
    }
}

/// Nodes found by reading every block of a pool: the last resort for what is below a lost node.
struct NodeScan {
    struct Key: Hashable {
        var family: UInt64
        var level: Int
        var first: UInt64
    }
    private(set) var found: [Key: [(pointer: NodePointer, epoch: UInt64)]] = [:]

    /// Reads the pool's blocks in order, a segment at a time, and passes over those that cannot be read. Throws `.cancelled`.
    init(reader: NodeReader, geometry: Geometry) throws(PoolError) {
        let segment = AlignedBuffer(count: geometry.segmentSize)
        for start in stride(from: 0, to: reader.map.blockCount, by: geometry.segmentBlocks) {
            let address = reader.map.address(of: start)
            guard try reader.canRead(segment.bytes, at: address) else { continue }
            for index in 0..<geometry.segmentBlocks {
                let bytes = segment.bytes.part(index * geometry.blockSize..<(index + 1) * geometry.blockSize)
                take(UnsafeRawBufferPointer(bytes), at: address.advanced(by: index), pool: reader.pool)
            }
        }
    }

    private mutating func take(_ block: UnsafeRawBufferPointer, at place: BlockAddress, pool: UInt64) {
        guard block.integer(at: 0, as: UInt32.self) == NodeLayout.magic else { return }
        let pointer = NodePointer(
            address: place, generation: block.integer(at: NodeLayout.Offset.generation), checksum: crc32c(block))
        guard let identity = try? NodeLayout.open(block, pointer: pointer, pool: pool, position: 0), identity.tree == .volume
        else { return }
        let key = Key(family: identity.family, level: identity.level, first: identity.first)
        found[key, default: []].append((pointer, identity.epoch))
    }

    /// The youngest node of a place that is not older than `generation` allows and that nothing reaches.
    func youngest(_ key: Key, notAbove generation: UInt32, except reached: Set<BlockAddress>) -> NodePointer? {
        (found[key] ?? []).filter { $0.pointer.generation <= generation && !reached.contains($0.pointer.address) }
            .max { ($0.pointer.generation, $0.epoch) < ($1.pointer.generation, $1.epoch) }?.pointer
    }
}
