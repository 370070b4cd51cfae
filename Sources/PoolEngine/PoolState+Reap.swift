internal import BlockStorage

/// Freeing deleted versions.
///
/// A hidden version x with one child c, or none, is walked beside c in logical order. What x owns and c does not share
/// is freed; what c shares passes to c when x is spliced out of the version tree. Nothing of this is journaled: cursor
/// and freed blocks become durable in the same checkpoint, and after a crash the older cursor finds the same again.
extension PoolState {
    enum ReapResult {
        /// Nothing to free: no hidden version, or each still has two or more descendants.
        case idle
        case progressed
        case missing([MissingNode])

        var hasProgressed: Bool { if case .progressed = self { true } else { false } }
    }

    /// Frees at most about `budget` blocks' worth of the tree. With `skipsMissing` what lies below a node that is not in
    /// memory is passed over, as it cannot be read, and stays allocated until a repair.
    mutating func reap(budget: Int, skipsMissing: Bool = false) -> ReapResult {
        guard let victim = victim ?? chooseVictim() else { return .idle }
        self.victim = victim
        markDirty(victim)
        var left = budget
        while left > 0 {
            if victim.record.reapCursor >= span(victim.level) || victim.root.isHole {
                finish(victim)
                return .progressed
            }
            var missing: [MissingNode] = []
            guard let cost = reapStep(victim, skipsMissing: skipsMissing, missing: &missing) else { return .missing(missing) }
            left -= cost
        }
        return .progressed
    }

    /// The one whose walk has begun, else any that has at most one child.
    private func chooseVictim() -> Version? {
        var chosen: Version?
        for id in hidden {
            guard let version = versions[id], version.children.count <= 1 else { continue }
            if version.record.reapCursor > 0 { return version }
            if beginsNoReaping { continue }
            if chosen == nil || version.id < chosen!.id { chosen = version }  // not nil in the second half
        }
        return chosen
    }

    /// Walks from the roots to the cursor and frees or skips the subtree there. Returns a cost, or nil if nodes are
    /// missing.
    private mutating func reapStep(_ victim: Version, skipsMissing: Bool, missing: inout [MissingNode]) -> Int? {
        let block = victim.record.reapCursor
        let child = victim.children.first.flatMap { versions[$0] }
        var level = victim.level
        var mine = victim.root
        // The child's tree may have grown above ours; it never has fewer levels.
        guard var theirs = reference(child, level: level, block: block, missing: &missing) else {
            guard skipsMissing else { return nil }
            advance(victim, to: span(level), leaving: [])
            return 1
        }
        var path: [(pointer: NodePointer, end: UInt64)] = []
        var cost = 1
        while true {
            let first = block & ~(span(level) - 1)
            let end = first + span(level)
            let isOwn = !mine.isHole && mine.generation > victim.parentGeneration
            if !isOwn || mine.isSameNode(as: theirs) {
                advance(victim, to: end, leaving: path)
                return cost
            }
            let node = resolve(mine, level: level, block: block, missing: &missing)
            let other = theirs.isHole ? nil : resolve(theirs, level: level, block: block, missing: &missing)
            guard let node, theirs.isHole || other != nil else {
                guard skipsMissing else { return nil }
                advance(victim, to: end, leaving: path)
                return cost
            }
            path.append((mine.pointer, end))
            if level == 0 {
                cost += reapLeaf(node, other, victim)
                advance(victim, to: end, leaving: path)
                return cost
            }
            let slot = slot(block, level)
            mine = self.child(of: node, slot)
            theirs = other.map { self.child(of: $0, slot) } ?? .hole(0)
            level -= 1
        }
    }

    /// What `version` has at `level` above `block`; a hole without a version. Nil if nodes are missing.
    private func reference(
        _ version: Version?, level: Int, block: UInt64, missing: inout [MissingNode]
    ) -> NodeReference? {
        guard let version else { return .hole(0) }
        guard let found = descend(version, to: level, block: block, missing: &missing) else { return nil }
        return found.level == level ? found.reference : .hole(0)
    }

    private mutating func reapLeaf(_ leaf: Node, _ other: Node?, _ victim: Version) -> Int {
        var freed = 0
        for index in 0..<geometry.fanout {
            let entry = leaf.entry(index, geometry.fanout)
            if entry.address == .none || entry.generation <= victim.parentGeneration { continue }
            if let other, other.entry(index, geometry.fanout).isSameBlock(as: entry) { continue }
            release(entry.address)
            freed += 1
        }
        return freed
    }

    /// Moves the cursor, and frees the nodes of the path that lie below it now: nothing will descend them again.
    private mutating func advance(_ victim: Version, to end: UInt64, leaving path: [(pointer: NodePointer, end: UInt64)]) {
        victim.record.reapCursor = end
        for node in path where node.end <= end { releaseNode(node.pointer) }
    }

    /// Splices a freed version out of the version tree: its child now owns what the two shared.
    private mutating func finish(_ version: Version) {
        if let child = version.children.first.flatMap({ versions[$0] }) {
            setParent(of: child, to: version.record.parent)
            // What it has been given is its own from now on, and needs no promise.
            if !child.reserved.isEmpty { (child.recount, child.needsRecount) = (nil, true) }
            markDirty(child)
        }
        versions[version.record.parent]?.children.remove(version.id)
        versions[version.id] = nil
        hidden.remove(version.id)
        markDirty(version)
        version.root = .hole(version.generation)
        victim = nil
        hasReaped = true
    }
}
