internal import BlockStorage

/// The exact count, beside the one that is kept: which blocks all trees and the catalog reach, and by how many references.
extension PoolState {
    /// Throws `.corrupt(.bitmap, .accounting)` unless the blocks in use are exactly those that are reached. Reads nodes that
    /// are not in memory, under the lock: for debug builds and tests, with small pools.
    func verifyAccounting(_ reader: NodeReader) throws(PoolError) {
        var reach = Reach(map: space.map)
        catalog.tree.forEach { reach.mark($0) }
        shares.tree.forEach { reach.mark($0) }
        for version in versions.values {
            for node in version.propertyNodes { reach.mark(node) }
            let cursor = version.isHidden ? version.record.reapCursor : 0
            try walk(version.root, level: version.level, first: 0, above: cursor, reader, &reach)
        }
        for version in versions.values where !version.reserved.isEmpty { try verifyPromise(version, reader, reach.buffer) }
        var stored: [BlockAddress: Int] = [:]
        shares.forEach { stored[$0] = $1 }
        if stored != reach.uses.others.mapValues({ $0.count }) { throw .corrupt(.bitmap, position: 0, .accounting) }
        let live = space.liveWords()
        guard let word = live.indices.first(where: { live[$0] != reach.words[$0] }) else { return }
        let bit = (live[word] ^ reach.words[word]).trailingZeroBitCount
        throw .corrupt(.bitmap, position: space.map.address(of: word * 64 + bit).value, .accounting)
    }

    /// Marks a node, its copy and all below that lies above the reap cursor. What was walked whole is not walked again.
    private func walk(
        _ reference: NodeReference, level: Int, first: UInt64, above cursor: UInt64, _ reader: NodeReader,
        _ reach: inout Reach
    ) throws(PoolError) {
        if reference.isHole || first + span(level) <= cursor { return }
        if cursor == 0 && !reach.begin(reference) { return }
        let node = try node(reference, reader, reach.buffer)
        reach.mark(reference.pointer)
        for slot in 0..<geometry.fanout {
            let child = first + (level > 0 ? UInt64(slot) * span(level - 1) : UInt64(slot))
            if level > 0 {
                try walk(self.child(of: node, slot), level: level - 1, first: child, above: cursor, reader, &reach)
            } else if child >= cursor {
                reach.mark(node.entry(slot, geometry.fanout), block: child)
            }
        }
    }

    /// Throws unless at least as many blocks are promised as the version lacks.
    private func verifyPromise(_ version: Version, _ reader: NodeReader, _ buffer: AlignedBufferBox) throws(PoolError) {
        var backed = 0
        func count(_ reference: NodeReference, level: Int, first: UInt64) throws(PoolError) {
            if reference.isHole || !version.reserved.overlaps(first..<first + span(level)) { return }
            let node = try node(reference, reader, buffer)
            for slot in 0..<geometry.fanout {
                let block = first + UInt64(slot) * (level > 0 ? span(level - 1) : 1)
                if level > 0 {
                    try count(child(of: node, slot), level: level - 1, first: block)
                } else if version.reserved.contains(block), isBacked(node.entry(slot, geometry.fanout), version, block: block) {
                    backed += 1
                }
            }
        }
        try count(version.root, level: version.level, first: 0)
        guard version.promisedData >= Int(version.reserved.count) - backed else {
            throw .corrupt(.version, position: version.id, .accounting)
        }
    }

    private func node(
        _ reference: NodeReference, _ reader: NodeReader, _ buffer: AlignedBufferBox
    ) throws(PoolError) -> Node {
        if case .memory(let node) = reference { return node }
        let block = buffer.buffer.bytes
        let found = try reader.read(reference.pointer, into: block)
        return try Node(
            block: UnsafeRawBufferPointer(block), identity: found.identity, pointer: reference.pointer,
            position: found.position, geometry: geometry, map: space.map)
    }
}

/// The blocks found so far, and the nodes that were walked.
private struct Reach {
    let map: ZoneMap
    let buffer: AlignedBufferBox
    private(set) var words: [UInt64]
    private(set) var uses = IntroductionCounter()
    private var dirty: Set<ObjectIdentifier> = []
    private var clean: Set<BlockAddress> = []

    init(map: ZoneMap) {
        self.map = map
        buffer = AlignedBufferBox(count: map.geometry.blockSize)
        words = [UInt64](repeating: 0, count: (map.blockCount + 63) / 64)
    }

    /// True if the node was not walked yet.
    mutating func begin(_ reference: NodeReference) -> Bool {
        if case .memory(let node) = reference, node.isDirty { return dirty.insert(ObjectIdentifier(node)).inserted }
        return clean.insert(reference.address).inserted
    }

    mutating func mark(_ node: NodePointer) {
        mark(node.address)
        mark(node.copy)
    }

    mutating func mark(_ entry: Entry, block: UInt64) {
        guard entry.address != .none else { return }
        mark(entry.address)
        uses.note(entry.address, block: block, generation: entry.generation)
    }

    private mutating func mark(_ address: BlockAddress) {
        guard address != .none else { return }
        let index = map.index(of: address)
        words[index / 64] |= 1 << UInt64(index % 64)
    }
}
