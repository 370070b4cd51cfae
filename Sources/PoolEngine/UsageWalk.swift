/// A walk through one version's map beside those of others, in logical order, that counts what it owns and they do not share.
///
/// It stands at a node, named by level and logical block, and descends to it anew for each of the others: so it needs few nodes in
/// memory at once, however many others there are, and it can stop and go on anywhere while the trees change.
struct UsageWalk: Sendable {
    let version: UInt64
    let others: [UInt64]
    /// If set, only what this version shares counts.
    let keeper: UInt64?

    private(set) var isDone = false
    private(set) var block: UInt64 = 0
    private(set) var level: Int
    /// The next of the others to be looked at, at this node; whether those before it have nothing here.
    private var next = 0
    private var isAlone = true
    /// Of a leaf: the entries that another one shares.
    private var shared: [Bool]

    // Counted so far, in blocks.
    private(set) var nodes: UInt64 = 0
    private(set) var references: UInt64 = 0
    /// Of the references, those with which a block would be free.
    private(set) var freed: UInt64 = 0
    /// Complete only if there are no others.
    private(set) var written: UInt64 = 0

    init(_ version: Version, others: [UInt64], keeper: UInt64? = nil, geometry: Geometry) {
        self.version = version.id
        self.others = others
        self.keeper = keeper
        level = version.level
        shared = [Bool](repeating: false, count: geometry.fanout)
    }

    /// Goes on to the node at or above `target` that has not been looked at: on the highest level on which it is another one.
    private mutating func move(to target: UInt64, in state: borrowing PoolState, root: Int) {
        var up = 0
        while up < root, block / state.span(up + 1) != target / state.span(up + 1) { up += 1 }
        (block, level) = (target, up)
        begin()
    }

    private mutating func descend() {
        level -= 1
        begin()
    }

    private mutating func begin() {
        (next, isAlone) = (0, true)
        if level == 0 { for index in shared.indices { shared[index] = false } }
    }
}

extension UsageWalk {
    /// Looks at up to `steps` nodes. False if nodes are missing, with what was counted before that. The versions exist.
    mutating func advance(_ state: borrowing PoolState, _ tally: inout ReferenceTally, steps: Int, missing: inout [MissingNode]) -> Bool {
        guard let mine = state.versions[version] else { preconditionFailure("a plan is checked before it is followed") }
        let others = others.compactMap { state.versions[$0] }, keeper = keeper.flatMap { state.versions[$0] }
        for _ in 0..<steps {
            // What lies below the cursor of one that is being freed is gone already.
            if mine.isHidden && block < mine.record.reapCursor { move(to: mine.record.reapCursor, in: state, root: mine.level) }
            if block >= state.span(mine.level) {
                isDone = true
                return true
            }
            if !step(mine, others, keeper, state, &tally, &missing) { return false }
        }
        return true
    }

    private mutating func step(
        _ mine: Version, _ others: [Version], _ keeper: Version?, _ state: borrowing PoolState, _ tally: inout ReferenceTally,
        _ missing: inout [MissingNode]
    ) -> Bool {
        guard let found = state.descend(mine, to: level, block: block, missing: &missing) else { return false }
        let span = state.span(found.level), end = (block & ~(span - 1)) + span
        let reference = found.reference
        // What is below a node is not younger than it.
        if reference.isHole || !state.owns(mine, generation: reference.generation, end: end) {
            move(to: end, in: state, root: mine.level)
            return true
        }
        var kept: NodeReference?
        if let keeper {
            guard let theirs = state.counterpart(keeper, level: level, block: block, missing: &missing) else { return false }
            if theirs.isHole {
                move(to: end, in: state, root: mine.level)
                return true
            }
            kept = theirs
        }
        while next < others.count {
            guard let theirs = state.counterpart(others[next], level: level, block: block, missing: &missing) else { return false }
            if theirs.isSameNode(as: reference) {
                move(to: end, in: state, root: mine.level)
                return true
            }
            if !theirs.isHole {
                isAlone = false
                if level == 0 && !note(theirs, beside: reference, state, &missing) { return false }
            }
            next += 1
        }
        return count(reference, mine, kept, end: end, state, &tally, &missing)
    }

    /// Marks the entries of the leaf that another version's leaf shares. False if one of the two is missing.
    private mutating func note(
        _ theirs: NodeReference, beside reference: NodeReference, _ state: borrowing PoolState, _ missing: inout [MissingNode]
    ) -> Bool {
        guard let leaf = state.resolve(reference, level: 0, block: block, missing: &missing),
            let other = state.resolve(theirs, level: 0, block: block, missing: &missing)
        else { return false }
        let fanout = shared.count
        for index in 0..<fanout where leaf.entry(index, fanout).isSameBlock(as: other.entry(index, fanout)) { shared[index] = true }
        return true
    }

    /// Counts a node that none of the others has, and goes on below it or behind it.
    private mutating func count(
        _ reference: NodeReference, _ mine: Version, _ kept: NodeReference?, end: UInt64, _ state: borrowing PoolState,
        _ tally: inout ReferenceTally, _ missing: inout [MissingNode]
    ) -> Bool {
        // Without an ancestor everything is its own, and without shared blocks every reference is a block: the leaves need not be read.
        let isWhole = level == 1 && block == end - state.span(1) && isAlone && kept == nil && mine.parentGeneration == 0 && state.shares.isEmpty
        var leaves: (mine: Node, kept: Node?)?
        if isWhole || level == 0 {
            guard let node = state.resolve(reference, level: level, block: block, missing: &missing) else { return false }
            leaves = (node, nil)
        }
        let isKept = kept.map { $0.isSameNode(as: reference) } ?? true
        if level == 0, let kept, !isKept {
            guard let other = state.resolve(kept, level: 0, block: block, missing: &missing) else { return false }
            leaves?.kept = other
        }
        if isKept { nodes += reference.storedBlocks(level: level) }
        guard let leaves else {
            descend()
            return true
        }
        if level == 0 { countEntries(leaves.mine, leaves.kept, mine, state, &tally) } else { countLeaves(below: leaves.mine, state) }
        move(to: end, in: state, root: mine.level)
        return true
    }

    private mutating func countEntries(
        _ leaf: Node, _ kept: Node?, _ mine: Version, _ state: borrowing PoolState, _ tally: inout ReferenceTally
    ) {
        let fanout = shared.count, first = block & ~(state.span(0) - 1)
        for index in 0..<fanout {
            let entry = leaf.entry(index, fanout)
            if shared[index] || !state.isOwnData(entry, mine, block: first + UInt64(index)) { continue }
            if let kept, !kept.entry(index, fanout).isSameBlock(as: entry) { continue }
            references += 1
            if entry.generation > mine.parentGeneration { written += 1 }
            if tally.release(entry.address, of: 1 + state.shares.count(entry.address)) { freed += 1 }
        }
    }

    private mutating func countLeaves(below node: Node, _ state: borrowing PoolState) {
        for slot in 0..<shared.count {
            let leaf = state.child(of: node, slot)
            if leaf.isHole { continue }
            nodes += leaf.storedBlocks(level: 0)
            references += UInt64(leaf.mapped)
            freed += UInt64(leaf.mapped)
            written += UInt64(leaf.mapped)
        }
    }
}

extension PoolState {
    /// What another version has at `level` above `block`: a hole also where one covers it from higher up. Nil if nodes are missing.
    fileprivate func counterpart(_ version: Version, level: Int, block: UInt64, missing: inout [MissingNode]) -> NodeReference? {
        // A version that began as another has as many levels or more.
        guard version.level >= level else { return .hole(0) }
        // Below the cursor of one that is being freed its nodes are gone, and their blocks may be something else already.
        if version.isHidden, (block & ~(span(level) - 1)) + span(level) <= version.record.reapCursor { return .hole(0) }
        return descend(version, to: level, block: block, missing: &missing).map { $0.level == level ? $0.reference : .hole(0) }
    }
}

extension NodeReference {
    /// Blocks that the node takes on disk, its copy with it, or will take.
    fileprivate func storedBlocks(level: Int) -> UInt64 {
        if address == .none { return UInt64(NodePointer.copies(level: level)) }
        return pointer.copy == .none ? 1 : 2
    }
}
