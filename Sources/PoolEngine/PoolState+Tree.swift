internal import BlockStorage

/// Walking and changing the map of one version.
extension PoolState {
    func span(_ level: Int) -> UInt64 { 1 << UInt64(levelShift * (level + 1)) }

    /// Which child of a node of `level` has `block` below it; in a leaf, the entry itself.
    func slot(_ block: UInt64, _ level: Int) -> Int {
        Int(truncatingIfNeeded: block >> UInt64(levelShift * level)) & (geometry.fanout - 1)
    }

    func child(of node: Node, _ slot: Int) -> NodeReference {
        if !node.children.isEmpty, let child = node.children[slot] { return .memory(child) }
        let entry = node.entry(slot, geometry.fanout)
        if entry.isHole { return .hole(entry.generation) }
        let isLeaf = node.level == 1
        return .disk(entry.pointer(isLeaf: isLeaf), mapped: isLeaf ? entry.descriptor.mapped : 0)
    }

    /// The node behind a reference, or nil, having noted it in `missing`. Not for holes.
    func resolve(_ reference: NodeReference, level: Int, block: UInt64, missing: inout [MissingNode]) -> Node? {
        switch reference {
        case .hole: preconditionFailure("a hole has no node")
        case .memory(let node): return node
        case .disk(let pointer, _):
            let first = block & ~(span(level) - 1)
            // A node is what it is at one place only: elsewhere it is read again, and refused.
            if let node = cache.find(pointer) ?? pinned(pointer), node.level == level, node.first == first { return node }
            missing.append(MissingNode(pointer: pointer, level: level, first: first))
            return nil
        }
    }

    private func pinned(_ pointer: NodePointer) -> Node? {
        guard !pinnedNodes.isEmpty, let node = pinnedNodes[pointer.address], node.checksum == pointer.checksum,
            node.generation == pointer.generation
        else { return nil }
        return node
    }

    /// What lies at `level` above `block`: the reference found there, or the hole that covers it from higher up.
    /// `level` of the result tells which. Nil if a node on the way is missing.
    func descend(
        _ version: Version, to level: Int, block: UInt64, missing: inout [MissingNode]
    ) -> (reference: NodeReference, level: Int)? {
        guard block < span(version.level) else { return (.hole(version.generation), level) }
        var reference = version.root
        var at = version.level
        while at > level {
            if reference.isHole { return (reference, at) }
            guard let node = resolve(reference, level: at, block: block, missing: &missing) else { return nil }
            reference = child(of: node, slot(block, at))
            at -= 1
        }
        return (reference, at)
    }

    /// The leaf above `block`; nil if it is a hole or if nodes are missing.
    func leaf(_ version: Version, _ block: UInt64, missing: inout [MissingNode]) -> Node? {
        guard let found = descend(version, to: 0, block: block, missing: &missing), !found.reference.isHole else { return nil }
        return resolve(found.reference, level: 0, block: block, missing: &missing)
    }

    /// The entry of `block`. Nil if nodes are missing.
    func entry(_ version: Version, _ block: UInt64, missing: inout [MissingNode]) -> Entry? {
        guard let found = descend(version, to: 0, block: block, missing: &missing) else { return nil }
        if case .hole(let generation) = found.reference { return .hole(generation) }
        return resolve(found.reference, level: 0, block: block, missing: &missing)?.entry(slot(block, 0), geometry.fanout)
    }

    /// Blocks of the nodes that changing the leaf above `block` would make dirty, with the nodes on the way in memory. An
    /// upper bound where several leaves share a path. Nil if nodes are missing.
    func newNodeBlocks(_ version: Version, _ block: UInt64, missing: inout [MissingNode]) -> Int? {
        // Beyond what the tree covers there is nothing to read: roots are put above it, and a path below the last.
        guard block < span(version.level) else { return 4 * (geometry.level(covering: block + 1) + 1) }
        var reference = version.root
        var level = version.level
        var count = 0
        while true {
            if reference.isHole { return count + Self.pathBlocks(level: level) }
            guard let node = resolve(reference, level: level, block: block, missing: &missing) else { return nil }
            if !isWritable(node, version) { count += NodePointer.copies(level: level) }
            if level == 0 { return count }
            reference = child(of: node, slot(block, level))
            level -= 1
        }
    }

    /// Blocks that new nodes from a leaf up to `level` take.
    static func pathBlocks(level: Int) -> Int { 1 + 2 * level }

    private func isWritable(_ node: Node, _ version: Version) -> Bool {
        node.isDirty && node.generation == version.generation
    }

    /// The node of `level` above `block`, made changeable for `version`, and all above it. The path is in memory.
    mutating func writable(_ version: Version, level target: Int, block: UInt64) -> Node {
        var parent: Node?
        var reference = version.root
        var level = version.level
        while true {
            let node = writable(reference, version, level: level, block: block)
            if let parent {
                adopt(node, in: parent, slot(block, level + 1), version)
            } else {
                version.root = .memory(node)
            }
            if level == target { return node }
            reference = child(of: node, slot(block, level))
            parent = node
            level -= 1
        }
    }

    private mutating func writable(_ reference: NodeReference, _ version: Version, level: Int, block: UInt64) -> Node {
        var missing: [MissingNode] = []
        if case .hole(let generation) = reference {
            dirtyBlocks += NodePointer.copies(level: level)
            noteNode(version, level: level, first: block & ~(span(level) - 1))
            return Node(
                level: level, first: block & ~(span(level) - 1), version: version.identity, holeGeneration: generation,
                geometry: geometry)
        }
        guard let node = resolve(reference, level: level, block: block, missing: &missing) else {
            preconditionFailure("a path is changed before it is in memory")
        }
        if isWritable(node, version) { return node }
        dirtyBlocks += NodePointer.copies(level: level)
        let copy = Node(copying: node, version: version.identity, geometry: geometry)
        if owns(version, generation: node.generation, end: node.first + span(level)) {
            releaseNode(node.pointer)
        } else {
            noteNode(version, level: level, first: node.first)
        }
        return copy
    }

    /// Makes `node` the child at `slot` of a writable parent.
    private func adopt(_ node: Node, in parent: Node, _ slot: Int, _ version: Version) {
        if parent.children[slot] === node { return }
        if parent.entry(slot, geometry.fanout).isHole { parent.count += 1 }
        parent.children[slot] = node
        // A placeholder: the address is filled in when the parent's block is written.
        let entry = Entry(address: .none, generation: node.generation, checksum: 0, descriptor: .node(mapped: 0))
        parent.store(entry, at: slot, geometry.fanout)
    }

    /// Raises the root until it covers `blocks`.
    mutating func raiseLevel(_ version: Version, toCover blocks: UInt64) {
        let target = geometry.level(covering: blocks)
        while version.level < target {
            let old = version.root
            version.record.level += 1
            if old.isHole { continue }
            let root = Node(
                level: version.level, first: 0, version: version.identity, holeGeneration: version.generation,
                geometry: geometry)
            dirtyBlocks += NodePointer.copies(level: version.level)
            switch old {
            case .memory(let node): adopt(node, in: root, 0, version)
            case .disk(let pointer, let mapped):
                root.store(.node(pointer, mapped: mapped, isLeaf: root.level == 1), at: 0, geometry.fanout)
                root.count = 1
            case .hole: break
            }
            version.root = .memory(root)
        }
    }

    /// Puts one data or hole entry in place of what is there and frees what that was, if it is the version's own.
    mutating func replace(_ entry: Entry, in leaf: Node, _ version: Version, block: UInt64) {
        let slot = slot(block, 0)
        let old = leaf.entry(slot, geometry.fanout)
        leaf.store(entry, at: slot, geometry.fanout)
        if !version.reserved.isEmpty {
            noteBacked(version, block, was: isBacked(old, version, block: block), is: entry.address != .none)
        }
        if !old.isHole {
            leaf.count -= 1
            uncount(1, from: version)
            if isOwnData(old, version, block: block) { release(old.address) }
        }
        if !entry.isHole {
            leaf.count += 1
            version.record.referenced += 1
        }
    }

    /// Applies a write whose data is in `runs`. The leaves are in memory, or holes.
    mutating func applyWrite(_ version: Version, first: UInt64, runs: ArraySlice<BlockRun>, checksums: ArraySlice<UInt32>) {
        var block = first
        var leaf: Node?
        for run in runs {
            for index in 0..<run.count {
                if leaf == nil || slot(block, 0) == 0 { leaf = writable(version, level: 0, block: block) }
                let entry = Entry(
                    address: run.start.advanced(by: index), generation: version.generation,
                    checksum: checksums[checksums.startIndex + Int(block - first)], descriptor: .data)
                replace(entry, in: leaf!, version, block: block)  // set in the line above
                block += 1
            }
        }
        markDirty(version)
    }

    /// Applies a share. The references are counted before any is released: a block that the range held already stays.
    mutating func applyShare(_ version: Version, first: UInt64, runs: [BlockRun], checksums: [UInt32]) {
        for run in runs { for index in 0..<run.count { shares.add(run.start.advanced(by: index)) } }
        applyWrite(version, first: first, runs: runs[...], checksums: checksums[...])
    }

    /// True if the entry is data that `version` itself owns, so that overwriting it gives a block back.
    func isOwnData(_ entry: Entry, _ version: Version, block: UInt64) -> Bool {
        entry.address != .none && owns(version, generation: entry.generation, end: block + 1)
    }

    /// The first mapped leaf at or after `block`, below `end`: its first logical block, or `end` if there is none.
    /// Nil if nodes are missing.
    func nextLeaf(_ version: Version, from block: UInt64, end: UInt64, missing: inout [MissingNode]) -> UInt64? {
        var block = block
        while block < end {
            guard block < span(version.level) else { return end }
            guard let found = descend(version, to: 0, block: block, missing: &missing) else { return nil }
            if !found.reference.isHole { return block & ~(span(0) - 1) }
            block = (block & ~(span(found.level) - 1)) + span(found.level)
        }
        return end
    }
}
