internal import BlockStorage

/// The nodes of a tree whose leaves' contents are in memory: which block holds which leaf. Leaves are always written whole
/// from there, and never read again after opening. The catalog and the counts of shared blocks are such trees.
///
/// Leaf n holds what belongs to ids n * idsPerLeaf and up; interior nodes fan out above it as a volume's do. Nodes without
/// anything below them do not exist. Each node has two copies.
struct PageTree {
    let kind: NodeLayout.Tree
    let idsPerLeaf: UInt64
    let fanout: Int
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

    /// Passes the verified block that a pointer names to its second argument.
    typealias Read = (NodePointer, (UnsafeRawBufferPointer, NodeReader.Found) throws(PoolError) -> Void) throws(PoolError) -> Void

    init(kind: NodeLayout.Tree, geometry g: Geometry, idsPerLeaf: UInt64) {
        self.kind = kind
        self.idsPerLeaf = idsPerLeaf
        fanout = g.fanout
    }

    var depth: Int { levels.count }
    var root: NodePointer { levels.last?[0] ?? .none }
    var nodeCount: Int { levels.reduce(0) { $0 + $1.count } }
    func leafIndex(of id: UInt64) -> UInt64 { id / idsPerLeaf }

    func contains(_ node: NodePointer) -> Bool { levels.contains { $0.values.contains(node) } }

    /// Every node.
    func forEach(_ body: (NodePointer) -> Void) {
        for level in levels { for pointer in level.values { body(pointer) } }
    }

    /// A leaf below each of those nodes.
    func leaves(below isMeant: (NodePointer) -> Bool) -> Set<UInt64> {
        var found: Set<UInt64> = []
        for level in levels.indices {
            for (index, pointer) in levels[level] where isMeant(pointer) {
                var child: UInt64? = index
                for below in levels.indices.prefix(level).reversed() {
                    child = child.flatMap { parent in
                        (0..<UInt64(fanout)).map { parent * UInt64(fanout) + $0 }.first { levels[below][$0] != nil }
                    }
                }
                if let child { found.insert(child) }
            }
        }
        return found
    }

    /// Blocks that writing one changed leaf takes, at the most, where leaves up to `maximum` exist: the tree may have to grow
    /// by more than one level.
    func pathBlocks(upTo maximum: UInt64) -> Int { 2 * (max(depth, depth(for: maximum)) + 1) }

    /// Finds the nodes to write when `dirtyLeaves` have changed, children before parents, and the places that the nodes
    /// they replace leave behind. `isPresent` tells whether a leaf still has anything.
    mutating func plan(
        dirtyLeaves: Set<UInt64>, isPresent: (UInt64) -> Bool
    ) -> (planned: [Planned], released: [NodePointer]) {
        let oldDepth = depth
        var present = Set(levels.first.map { Array($0.keys) } ?? [])
        for leaf in dirtyLeaves { if isPresent(leaf) { present.insert(leaf) } else { present.remove(leaf) } }
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

    /// Seals a node whose contents are in `block`.
    func seal(_ node: Planned, _ block: UnsafeMutableRawBufferPointer, count: Int, pool: UInt64, epoch: UInt64) -> UInt32 {
        NodeLayout.seal(
            block,
            as: NodeLayout.Identity(
                address: node.address, pool: pool, level: node.level, tree: kind, count: count, family: 0, writer: 0,
                generation: 0, epoch: epoch, first: first(node.level, node.index)))
    }

    /// Reads the whole tree; `take` gets each leaf's block, its index, the count in its header, and its position. Throws
    /// `.corrupt` for a node that is not the one its place asks for.
    mutating func load(
        root: NodePointer, depth: Int, map: ZoneMap, read: Read,
        take: (UnsafeRawBufferPointer, UInt64, Int, UInt64) throws(PoolError) -> Void
    ) throws(PoolError) {
        levels = [[UInt64: NodePointer]](repeating: [:], count: depth)
        guard depth > 0 else { return }
        guard map.isSound(root, isLeaf: false) else { throw .corrupt(.node, position: root.address.value, .mapping) }
        levels[depth - 1][0] = root
        for level in (0..<depth).reversed() {
            for (index, pointer) in levels[level].sorted(by: { $0.key < $1.key }) {
                let children = try load(pointer, level, index, map, read, take)
                for (child, pointer) in children { levels[level - 1][child] = pointer }
            }
        }
    }

    /// Reads one node. Returns its children, of a leaf none.
    private func load(
        _ pointer: NodePointer, _ level: Int, _ index: UInt64, _ map: ZoneMap, _ read: Read,
        _ take: (UnsafeRawBufferPointer, UInt64, Int, UInt64) throws(PoolError) -> Void
    ) throws(PoolError) -> [(UInt64, NodePointer)] {
        var children: [(UInt64, NodePointer)] = []
        // Nothing is kept of it: the compiler cannot see that `read` calls its argument before it returns.
        try withoutActuallyEscaping(take) { take throws(PoolError) in
            try read(pointer) { block, found throws(PoolError) in
                let identity = found.identity, position = found.position
                guard identity.tree == kind, identity.level == level, identity.first == first(level, index) else {
                    throw .corrupt(.node, position: position, .identity)
                }
                if level == 0 { return try take(block, index, identity.count, position) }
                children = decodeInterior(block, index: index)
                guard children.allSatisfy({ map.isSound($0.1, isLeaf: false) }) else {
                    throw .corrupt(.node, position: position, .mapping)
                }
            }
        }
        return children
    }

    private func decodeInterior(_ block: UnsafeRawBufferPointer, index: UInt64) -> [(UInt64, NodePointer)] {
        (0..<fanout).compactMap { slot in
            // Read only: the mutable view is what the accessor takes. A whole block, never empty.
            let entry = NodeLayout.entry(UnsafeMutableRawPointer(mutating: block.baseAddress!), fanout: fanout, slot)
            guard !entry.isHole else { return nil }
            // A forged index wraps, and is no leaf's.
            return (index &* UInt64(fanout) &+ UInt64(slot), entry.pointer(isLeaf: false))
        }
    }

    private func first(_ level: Int, _ index: UInt64) -> UInt64 {
        var ids = idsPerLeaf
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
