internal import BlockStorage

/// A tree node in memory.
///
/// A *dirty* node has no address yet; versions share it by reference. It may be changed in place only by the version of
/// its own generation. From the moment a checkpoint gives it an address nobody changes it any more: who wants to, copies.
///
/// Sendable: every field is read and written under the pool's lock, except that a checkpoint sets `checksum` of the
/// frozen nodes it is writing, which nobody else reads before it is published.
final class Node: @unchecked Sendable {
    private(set) var page: UnsafeMutableRawPointer
    let level: Int
    let first: UInt64
    let family: UInt64
    let writer: UInt64
    let generation: UInt32
    var address = BlockAddress.none
    /// From `address` to the copy, in blocks; 0 for a leaf.
    var distance = 0
    var checksum: UInt32 = 0
    /// Entries that are not holes.
    var count: Int
    /// In an interior node made in memory: the children that are in memory too. Their entries are placeholders.
    var children: [Node?]
    /// Set while a checkpoint gathers the dirty nodes, of which versions may share some.
    var isCollected = false
    /// For the cache's clock.
    var isRecent = true
    private let blockSize: Int

    var isDirty: Bool { address == .none }
    var pointer: NodePointer {
        NodePointer(address: address, generation: generation, checksum: checksum, distance: distance)
    }

    /// A node of holes of `holeGeneration`, dirty.
    init(
        level: Int, first: UInt64, version: borrowing VersionIdentity, holeGeneration: UInt32, geometry g: Geometry
    ) {
        page = .allocate(byteCount: g.blockSize, alignment: MemoryLayout<UInt64>.alignment)
        page.initializeMemory(as: UInt8.self, repeating: 0, count: g.blockSize)
        self.level = level
        self.first = first
        family = version.family
        writer = version.id
        generation = version.generation
        count = 0
        children = level == 0 ? [] : [Node?](repeating: nil, count: g.fanout)
        blockSize = g.blockSize
        let hole = Entry.hole(holeGeneration)
        for index in 0..<g.fanout { NodeLayout.store(hole, page, fanout: g.fanout, index) }
    }

    /// A dirty copy of `other` for `version`.
    init(copying other: Node, version: borrowing VersionIdentity, geometry g: Geometry) {
        page = .allocate(byteCount: g.blockSize, alignment: MemoryLayout<UInt64>.alignment)
        page.copyMemory(from: other.page, byteCount: g.blockSize)
        level = other.level
        first = other.first
        family = version.family
        writer = version.id
        generation = version.generation
        count = other.count
        children = level == 0 || !other.children.isEmpty ? other.children : [Node?](repeating: nil, count: g.fanout)
        blockSize = g.blockSize
    }

    /// A dirty copy of `other` that takes its place in every version: for repair, which changes what nobody owns alone.
    convenience init(replacing other: Node, geometry g: Geometry) {
        let identity = VersionIdentity(id: other.writer, family: other.family, generation: other.generation)
        self.init(copying: other, version: identity, geometry: g)
    }

    /// A clean node from its block, whose header has been checked. Throws if an entry cannot be right.
    init(
        block: UnsafeRawBufferPointer, identity: NodeLayout.Identity, pointer: NodePointer, position: UInt64,
        geometry g: Geometry, map: ZoneMap
    ) throws(PoolError) {
        page = .allocate(byteCount: g.blockSize, alignment: MemoryLayout<UInt64>.alignment)
        page.copyMemory(from: block.baseAddress!, byteCount: g.blockSize)  // a whole block, never empty
        level = identity.level
        first = identity.first
        family = identity.family
        writer = identity.writer
        generation = identity.generation
        address = pointer.address
        distance = pointer.distance
        checksum = pointer.checksum
        count = 0
        children = []
        blockSize = g.blockSize
        for index in 0..<g.fanout {
            let entry = entry(index, g.fanout)
            let isSound: Bool =
                switch entry.descriptor.kind {
                case .hole: entry.address == .none
                case .data: level == 0 && map.contains(entry.address)
                case .poisoned: level == 0 && entry.address == .none
                case .node: level > 0 && map.isSound(entry.pointer(isLeaf: level == 1), isLeaf: level == 1)
                default: false
                }
            guard isSound, entry.generation <= generation else { throw .corrupt(.node, position: position, .mapping) }
            if !entry.isHole { count += 1 }
        }
        guard count == identity.count else { throw .corrupt(.node, position: position, .mapping) }
    }

    deinit { page.deallocate() }

    @inline(__always)
    func entry(_ index: Int, _ fanout: Int) -> Entry { NodeLayout.entry(page, fanout: fanout, index) }

    @inline(__always)
    func store(_ entry: Entry, at index: Int, _ fanout: Int) { NodeLayout.store(entry, page, fanout: fanout, index) }

    /// Copies the final block of a frozen node to `block`: children's addresses filled in, header, checksum. Sets
    /// `checksum`. Its children have theirs already.
    func writeImage(to block: UnsafeMutableRawBufferPointer, pool: UInt64, epoch: UInt64, fanout: Int) {
        let target = block.baseAddress!  // a whole block, never empty
        target.copyMemory(from: page, byteCount: blockSize)
        for (index, child) in children.enumerated() {
            guard let child else { continue }
            NodeLayout.store(childEntry(child), target, fanout: fanout, index)
        }
        var written = 0
        for index in 0..<fanout where !NodeLayout.entry(target, fanout: fanout, index).isHole { written += 1 }
        checksum = NodeLayout.seal(
            block,
            as: NodeLayout.Identity(
                address: address, pool: pool, level: level, tree: .volume, count: written, family: family, writer: writer,
                generation: generation, epoch: epoch, first: first))
    }

    /// Called when the node and all below it are on the device: the children are found by address from now on.
    func settle(fanout: Int) {
        for (index, child) in children.enumerated() {
            if let child { store(childEntry(child), at: index, fanout) }
        }
        children = []
    }

    private func childEntry(_ child: Node) -> Entry {
        // A child without an address lies below the reap cursor of a deleted version: nothing will follow it.
        if child.isDirty { return .hole(child.generation) }
        return .node(child.pointer, mapped: child.count, isLeaf: child.level == 0)
    }
}

/// What a node records of the version that makes it.
struct VersionIdentity {
    var id: UInt64
    var family: UInt64
    var generation: UInt32
}

/// A place in a tree: nothing, a node on disk, or a node in memory.
enum NodeReference {
    case hole(UInt32)
    case disk(NodePointer, mapped: Int)
    case memory(Node)

    var isHole: Bool { if case .hole = self { true } else { false } }

    /// Generation of the node, or of the hole.
    var generation: UInt32 {
        switch self {
        case .hole(let generation): generation
        case .disk(let pointer, _): pointer.generation
        case .memory(let node): node.generation
        }
    }

    /// `.none` for a hole and for a node that has no place on disk yet.
    var pointer: NodePointer {
        switch self {
        case .hole: .none
        case .disk(let pointer, _): pointer
        case .memory(let node): node.pointer
        }
    }

    var address: BlockAddress { pointer.address }

    /// Mapped blocks, if this is a leaf.
    var mapped: Int {
        switch self {
        case .hole: 0
        case .disk(_, let mapped): mapped
        case .memory(let node): node.count
        }
    }

    /// Same node: the same object, or the same introduction of the same block.
    func isSameNode(as other: NodeReference) -> Bool {
        if case .memory(let a) = self, case .memory(let b) = other, a === b { return true }
        return address != .none && address == other.address && generation == other.generation
    }
}
