/// Making holes.
extension PoolState {
    /// One step of a discard: what it will do, worked out before anything changes.
    struct DiscardStep {
        /// The step covers `first ..< end`, at most 256 mapped leaves.
        var end: UInt64
        /// First blocks of the mapped leaves in it.
        var leaves: [UInt64]
        /// Blocks of the nodes that it makes dirty, at the most.
        var newNodeBlocks: Int
    }

    static var leavesPerDiscard: Int { 256 }

    /// Plans the step that begins at `block`. Nil if nodes are missing: those it lists in `missing`.
    func planDiscard(
        _ version: Version, from block: UInt64, end: UInt64, missing: inout [MissingNode]
    ) -> DiscardStep? {
        var step = DiscardStep(end: end, leaves: [], newNodeBlocks: 0)
        var at = block
        while at < end {
            guard let first = nextLeaf(version, from: at, end: end, missing: &missing) else { return nil }
            if first >= end { break }
            if step.leaves.count == Self.leavesPerDiscard {
                step.end = first
                break
            }
            step.leaves.append(first)
            let isWhole = first >= block && first + span(0) <= end
            guard let found = descend(version, to: 0, block: first, missing: &missing) else { return nil }
            // A leaf that only an ancestor owns is dropped without a look at its entries.
            if !isWhole || owns(version, generation: found.reference.generation, end: first + span(0)) {
                _ = resolve(found.reference, level: 0, block: first, missing: &missing)
            }
            if missing.isEmpty, !isWhole, let count = newNodeBlocks(version, first, missing: &missing) {
                step.newNodeBlocks += count
            } else if isWhole {
                step.newNodeBlocks += Self.pathBlocks(level: version.level)
            }
            at = first + span(0)
        }
        return missing.isEmpty ? step : nil
    }

    /// Carries a planned step out.
    mutating func applyDiscard(_ version: Version, from block: UInt64, step: DiscardStep) {
        for first in step.leaves {
            let end = first + span(0)
            if first >= block && end <= step.end {
                dropLeaf(version, first)
            } else {
                let leaf = writable(version, level: 0, block: first)
                for at in max(first, block)..<min(end, step.end) where !leaf.entry(slot(at, 0), geometry.fanout).isHole {
                    replace(.hole(version.generation), in: leaf, version, block: at)
                }
            }
            collapse(version, first)
        }
        if !step.leaves.isEmpty { markDirty(version) }
    }

    /// Frees a whole leaf and what only this version has below it, and leaves a hole pointer.
    private mutating func dropLeaf(_ version: Version, _ first: UInt64) {
        var missing: [MissingNode] = []
        guard let found = descend(version, to: 0, block: first, missing: &missing) else {
            preconditionFailure("a path is changed before it is in memory")
        }
        let isOwn = owns(version, generation: found.reference.generation, end: first + span(0))
        if isOwn, let leaf = resolve(found.reference, level: 0, block: first, missing: &missing) {
            for index in 0..<geometry.fanout {
                let entry = leaf.entry(index, geometry.fanout)
                if isOwnData(entry, version, block: first + UInt64(index)) { release(entry.address) }
            }
            releaseNode(leaf.pointer)
        }
        version.record.referenced -= UInt64(found.reference.mapped)
        setHole(version, level: 0, block: first)
    }

    /// Puts a hole in place of the node of `level` above `block`, which has been freed.
    private mutating func setHole(_ version: Version, level: Int, block: UInt64) {
        if level == version.level {
            version.root = .hole(version.generation)
            return
        }
        let parent = writable(version, level: level + 1, block: block)
        let slot = slot(block, level + 1)
        if !parent.entry(slot, geometry.fanout).isHole { parent.count -= 1 }
        parent.children[slot] = nil
        parent.store(.hole(version.generation), at: slot, geometry.fanout)
    }

    /// Removes nodes above `block` that have become all hole. They are dirty, for something in them was just changed.
    private mutating func collapse(_ version: Version, _ block: UInt64) {
        for level in 0...version.level {
            var missing: [MissingNode] = []
            guard let found = descend(version, to: level, block: block, missing: &missing), found.level == level else {
                continue
            }
            guard case .memory(let node) = found.reference else { continue }
            guard node.count == 0, node.isDirty, node.generation == version.generation else { return }
            setHole(version, level: level, block: block)
        }
    }
}
