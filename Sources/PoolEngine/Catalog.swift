internal import BlockStorage

/// The tree of version records on disk: which block holds which records. The records themselves are in memory, as
/// `Version`s, so a leaf is always written whole from there and never read again after opening.
///
/// Leaf n holds the records of ids n * recordsPerLeaf and up; interior nodes fan out above it as a volume's do. Nodes
/// without records below them do not exist: a pool without versions has no catalog at all.
struct Catalog {
    let recordsPerLeaf: Int
    private let fanout: Int
    /// `levels[0]` are leaves, the last level has the root at index 0.
    private(set) var levels: [[UInt64: NodePointer]] = []

    /// A node to be written by a checkpoint.
    struct Planned {
        var level: Int
        var index: UInt64
        var address = BlockAddress.none
        var distance = 0
        var copy: BlockAddress { NodePointer(address: address, generation: 0, checksum: 0, distance: distance).copy }
    }

    init(geometry g: Geometry) {
        recordsPerLeaf = (g.blockSize - NodeLayout.headerSize) / VersionRecord.size
        fanout = g.fanout
    }

    var depth: Int { levels.count }
    var root: NodePointer { levels.last?[0] ?? .none }
    var nodeCount: Int { levels.reduce(0) { $0 + $1.count } }
    func leafIndex(of id: UInt64) -> UInt64 { id / UInt64(recordsPerLeaf) }

    func contains(_ node: NodePointer) -> Bool { levels.contains { $0.values.contains(node) } }

    /// Every node.
    func forEach(_ body: (NodePointer) -> Void) {
        for level in levels { for pointer in level.values { body(pointer) } }
    }

    /// Blocks that writing one changed record takes, at the most, where ids up to `maximum` exist: each node has two
    /// copies, and the tree may have to grow by more than one level.
    func pathBlocks(upTo maximum: UInt64) -> Int { 2 * (max(depth, depth(for: leafIndex(of: maximum))) + 1) }

    /// Finds the nodes to write when `dirtyLeaves` have changed, children before parents, and the places that the nodes
    /// they replace leave behind. `hasRecords` tells whether a leaf still has any.
    mutating func plan(
        dirtyLeaves: Set<UInt64>, hasRecords: (UInt64) -> Bool
    ) -> (planned: [Planned], released: [NodePointer]) {
        let oldDepth = depth
        var present = Set(levels.first.map { Array($0.keys) } ?? [])
        for leaf in dirtyLeaves { if hasRecords(leaf) { present.insert(leaf) } else { present.remove(leaf) } }
        let newDepth = depth(for: present.max())
        while levels.count < newDepth { levels.append([:]) }
        var planned: [Planned] = [], released: [NodePointer] = []
        var dirty = dirtyLeaves
        for level in 0..<levels.count {
            if level >= newDepth { dirty = Set(levels[level].keys) }
            if level >= oldDepth { dirty.insert(0) }
            for index in dirty.sorted() {
                if let old = levels[level].removeValue(forKey: index) { released.append(old) }
                guard level < newDepth, level == 0 ? present.contains(index) : hasChild(level, index) else { continue }
                levels[level][index] = NodePointer.none
                planned.append(Planned(level: level, index: index))
            }
            dirty = Set(dirty.map { $0 / UInt64(fanout) })
        }
        levels.removeLast(levels.count - newDepth)
        return (planned, released)
    }

    /// Gives a planned node its place.
    mutating func place(_ node: Planned) {
        levels[node.level][node.index] = NodePointer(
            address: node.address, generation: 0, checksum: 0, distance: node.distance)
    }

    /// Records the checksum of a node just composed, for its parent.
    mutating func setChecksum(_ checksum: UInt32, of node: Planned) {
        levels[node.level][node.index]?.checksum = checksum
    }

    /// Fills in a planned interior node and seals it. Its children have their checksums.
    func composeInterior(_ node: Planned, into block: UnsafeMutableRawBufferPointer, pool: UInt64, epoch: UInt64) -> UInt32 {
        block.clear()
        var count = 0
        for slot in 0..<fanout {
            let pointer = levels[node.level - 1][node.index * UInt64(fanout) + UInt64(slot)]
            let entry = pointer.map { Entry.node($0, mapped: 0, isLeaf: false) }
            // The block's base address: a whole block, never empty.
            NodeLayout.store(entry ?? .hole(0), block.baseAddress!, fanout: fanout, slot)
            if entry != nil { count += 1 }
        }
        return seal(node, block, count: count, pool: pool, epoch: epoch)
    }

    /// Fills in a planned leaf and seals it.
    func composeLeaf(
        _ node: Planned, records: [VersionRecord], into block: UnsafeMutableRawBufferPointer, pool: UInt64, epoch: UInt64
    ) -> UInt32 {
        block.clear()
        for record in records {
            let slot = Int(record.id % UInt64(recordsPerLeaf))
            let start = NodeLayout.headerSize + slot * VersionRecord.size
            record.encode(into: block.part(start..<start + VersionRecord.size))
        }
        return seal(node, block, count: records.count, pool: pool, epoch: epoch)
    }

    /// Reads the whole catalog. `read` returns the verified block that a pointer names.
    mutating func load(
        root: NodePointer, depth: Int, map: ZoneMap,
        read: (NodePointer, (UnsafeRawBufferPointer, NodeReader.Found) throws(PoolError) -> Void) throws(PoolError) -> Void
    ) throws(PoolError) -> [VersionRecord] {
        levels = [[UInt64: NodePointer]](repeating: [:], count: depth)
        guard depth > 0 else { return [] }
        guard map.isSound(root, isLeaf: false) else { throw .corrupt(.node, position: root.address.value, .mapping) }
        levels[depth - 1][0] = root
        var records: [VersionRecord] = []
        for level in (0..<depth).reversed() {
            for (index, pointer) in levels[level].sorted(by: { $0.key < $1.key }) {
                var children: [(UInt64, NodePointer)] = []
                try read(pointer) { block, found throws(PoolError) in
                    let identity = found.identity, position = found.position
                    guard identity.tree == .catalog, identity.level == level, identity.first == first(level, index) else {
                        throw .corrupt(.node, position: position, .identity)
                    }
                    if level == 0 {
                        records += try decodeLeaf(block, index: index, count: identity.count, position: position)
                    } else {
                        children = decodeInterior(block, index: index)
                        guard children.allSatisfy({ map.isSound($0.1, isLeaf: false) }) else {
                            throw .corrupt(.node, position: position, .mapping)
                        }
                    }
                }
                for (child, pointer) in children { levels[level - 1][child] = pointer }
            }
        }
        return records
    }

    private func decodeLeaf(
        _ block: UnsafeRawBufferPointer, index: UInt64, count: Int, position: UInt64
    ) throws(PoolError) -> [VersionRecord] {
        var records: [VersionRecord] = []
        for slot in 0..<recordsPerLeaf {
            let start = NodeLayout.headerSize + slot * VersionRecord.size
            let bytes = block.part(start..<start + VersionRecord.size)
            if isZero(bytes) { continue }
            let record = try VersionRecord(decoding: bytes, position: position + UInt64(start))
            guard record.id == index * UInt64(recordsPerLeaf) + UInt64(slot) else {
                throw .corrupt(.version, position: position + UInt64(start), .identity)
            }
            records.append(record)
        }
        guard records.count == count else { throw .corrupt(.node, position: position, .mapping) }
        return records
    }

    private func decodeInterior(_ block: UnsafeRawBufferPointer, index: UInt64) -> [(UInt64, NodePointer)] {
        (0..<fanout).compactMap { slot in
            // Read only: the mutable view is what the accessor takes. A whole block, never empty.
            let entry = NodeLayout.entry(UnsafeMutableRawPointer(mutating: block.baseAddress!), fanout: fanout, slot)
            guard !entry.isHole else { return nil }
            return (index * UInt64(fanout) + UInt64(slot), entry.pointer(isLeaf: false))
        }
    }

    private func seal(
        _ node: Planned, _ block: UnsafeMutableRawBufferPointer, count: Int, pool: UInt64, epoch: UInt64
    ) -> UInt32 {
        NodeLayout.seal(
            block,
            as: NodeLayout.Identity(
                address: node.address, pool: pool, level: node.level, tree: .catalog, count: count, family: 0, writer: 0,
                generation: 0, epoch: epoch, first: first(node.level, node.index)))
    }

    private func first(_ level: Int, _ index: UInt64) -> UInt64 {
        var ids = UInt64(recordsPerLeaf)
        // A level that no id reaches wraps, and is no node's.
        for _ in 0..<level { ids &*= UInt64(fanout) }
        return index &* ids
    }

    private func hasChild(_ level: Int, _ index: UInt64) -> Bool {
        (0..<UInt64(fanout)).contains { levels[level - 1][index * UInt64(fanout) + $0] != nil }
    }

    private func depth(for maximumLeaf: UInt64?) -> Int {
        guard let maximumLeaf else { return 0 }
        var depth = 1, reach: UInt64 = 1
        while maximumLeaf >= reach {
            depth += 1
            reach *= UInt64(fanout)
        }
        return depth
    }
}
