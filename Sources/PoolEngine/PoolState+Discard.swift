/// Making holes.
extension PoolState {
    /// One step of a discard: what it will do, worked out before anything changes.
    struct DiscardStep {
        /// The step covers `first ..< end`, at most `leavesPerDiscard` mapped leaves.
        var end: UInt64
        /// First blocks of the mapped leaves in it.
        var leaves: [UInt64]
        /// Blocks of the nodes that it makes dirty, at the most.
        var newNodeBlocks: Int
    }

    /// All leaves of a step are in memory at once.
    var leavesPerDiscard: Int { min(256, cache.capacity / 4) }

    /// Plans the step that begins at `block`, of at most `limit` leaves. Nil if nodes are missing: those it lists in
    /// `missing`.
    func planDiscard(
        _ version: Version, from block: UInt64, end: UInt64, limit: Int = .max, missing: inout [MissingNode]
    ) -> DiscardStep? {
        let limit = min(limit, leavesPerDiscard)
        var previous: UInt64?
        var step = DiscardStep(end: end, leaves: [], newNodeBlocks: 0)
        var at = block
        while at < end {
            guard let first = nextLeaf(version, from: at, end: end, missing: &missing) else { return nil }
            if first >= end { break }
            if step.leaves.count == limit {
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
                step.newNodeBlocks += parentBlocks(version, above: first, notAbove: previous)
                previous = first
            }
            at = first + span(0)
        }
        return missing.isEmpty ? step : nil
    }

    /// Blocks of the interior nodes above a leaf that are not also above the leaf before.
    private func parentBlocks(_ version: Version, above first: UInt64, notAbove previous: UInt64?) -> Int {
        var count = 0
        for level in Swift.stride(from: 1, through: version.level, by: 1) {
            if let previous, previous / span(level) == first / span(level) { break }
            count += 2
        }
        return count
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
                if !version.reserved.isEmpty {
                    let block = first + UInt64(index)
                    noteBacked(version, block, was: isBacked(entry, version, block: block), is: false)
                }
                if isOwnData(entry, version, block: first + UInt64(index)) { release(entry.address) }
            }
            releaseNode(leaf.pointer)
            noteNode(version, level: 0, first: first, sign: -1)
        }
        uncount(UInt64(found.reference.mapped), from: version)
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
            noteNode(version, level: level, first: node.first, sign: -1)
            setHole(version, level: level, block: block)
        }
    }
}
