internal import BlockStorage

/// Emptying the tail: the end of a pool that is to be cut off.
///
/// What lies there is not found by its address but by what refers to it. All versions of a family have a leaf's place in common;
/// at one place at a time, all of them are changed at one moment: each data block in the tail gets a new address wherever it has
/// the old one under the same generation, and each node that changes, or lies in the tail, is replaced by one of the same writer
/// and generation, the same one for all that share it. So nobody's ownership changes, and nothing is freed or counted twice.
///
/// Nothing of it is in the journal. Its records are about logical blocks and about new addresses that a replay finds free, so
/// that they can be applied to the checkpoint before a move as well; but for those of `Pool.share`, which has to wait.
extension PoolState {
    /// One appearance of a block: what all who share it have in common.
    struct Introduction: Hashable, Sendable {
        var block: UInt64
        var generation: UInt32
        var address: BlockAddress
        var checksum: UInt32
    }

    /// What there is to do at one leaf's place.
    struct TailStep: Sendable {
        /// The leaf's first logical block; `.max` behind the last leaf of all.
        var first: UInt64
        /// Data in the tail.
        var blocks: [Introduction] = []
        /// Blocks of nodes and of the catalog that changing all this takes, at the most. 0 if there is nothing to do.
        var cost = 0
    }

    enum TailMove: Sendable {
        case missing([MissingNode])
        /// Something else is there by now.
        case changed
        case done(Set<Introduction>)
    }

    /// Withholds what is behind a cut. Returns how many blocks are in use there. Throws `.outOfSpace`, having changed nothing, if
    /// what is in use, spoken for and held back has no place before it.
    mutating func beginTail(_ cut: PoolCut) throws(PoolError) -> Int {
        try checkTail(cut)
        space.beginTail(at: cut.blockCount)
        return space.tailLiveCount
    }

    /// Throws what `beginTail` would, and changes nothing.
    func checkTail(_ cut: PoolCut) throws(PoolError) {
        if isReadOnly { throw .readOnly }
        if let suspension { throw suspension }
        if pinnedEpoch != nil { throw .inUse }
        let (free, inFlight) = space.counts(cutAt: cut.blockCount)
        let spoken = committedBlocks + inFlight + heldPromises + reservationFloat
        let needed = space.liveCount + spoken + reserve(of: cut.blockCount)
        guard needed <= cut.blockCount, spoken <= free else {
            let unit = UInt64(geometry.blockSize)
            throw .outOfSpace(needed: UInt64(needed) * unit, free: UInt64(cut.blockCount) * unit)
        }
    }

    /// As if nothing had been cut, or the cut is done.
    mutating func endSizeChange() {
        space.endTail()
        pinnedNodes = [:]
        (isChangingSize, beginsNoReaping, cut) = (false, false, nil)
    }

    /// True if nothing in the tail is in use in any way, and no half freed version may refer to it.
    var isReadyToCut: Bool {
        space.tailIsEmpty && victim == nil && !versions.values.contains { $0.record.reapCursor > 0 }
    }

    // MARK: Trees

    /// Looks at the first place of a leaf, at or behind block `from`, that any version of the family has. Nil if nodes are missing.
    func planTail(_ family: UInt64, from: UInt64, missing: inout [MissingNode]) -> TailStep? {
        let members = versions.values.filter { $0.record.family == family }
        var step = TailStep(first: .max)
        for version in members {
            // Below its cursor a version that is being freed refers to what is not its own any more.
            let start = max(from, version.record.reapCursor), end = span(version.level)
            guard start < end, let next = nextLeaf(version, from: start, end: end, missing: &missing), next < end else { continue }
            step.first = min(step.first, next)
        }
        if !missing.isEmpty { return nil }
        if step.first == .max { return step }
        var blocks: Set<Introduction> = [], counted: Set<ObjectIdentifier> = []
        for version in members where has(version, step.first) {
            let path = path(version, to: step.first, missing: &missing)
            let found = path.last.map { $0.level == 0 ? introductions(in: $0) : [] } ?? []
            guard !found.isEmpty || path.contains(where: { space.isInTail($0.pointer) }) else { continue }
            blocks.formUnion(found)
            if !dirtyVersions.contains(version.id) { step.cost += catalogPathBlocks }
            // Never nothing, where there is something to do.
            step.cost += 1
            for node in path where !node.isDirty && counted.insert(ObjectIdentifier(node)).inserted {
                step.cost += NodePointer.copies(level: node.level)
            }
        }
        step.blocks = blocks.sorted { ($0.address, $0.block, $0.generation) < ($1.address, $1.block, $1.generation) }
        return missing.isEmpty ? step : nil
    }

    private func has(_ version: Version, _ first: UInt64) -> Bool {
        first < span(version.level) && first >= version.record.reapCursor
    }

    /// The nodes above a block, from the root down to the leaf or to a hole.
    private func path(_ version: Version, to block: UInt64, missing: inout [MissingNode]) -> [Node] {
        var nodes: [Node] = []
        var reference = version.root, level = version.level
        while !reference.isHole, let node = resolve(reference, level: level, block: block, missing: &missing) {
            nodes.append(node)
            if level == 0 { break }
            reference = child(of: node, slot(block, level))
            level -= 1
        }
        return nodes
    }

    private func introductions(in leaf: Node) -> [Introduction] {
        (0..<geometry.fanout).compactMap { introduction(in: leaf, $0) }
    }

    /// Of the data at a slot, if it lies in the tail.
    private func introduction(in leaf: Node, _ slot: Int) -> Introduction? {
        let entry = leaf.entry(slot, geometry.fanout)
        guard space.isInTail(entry.address) else { return nil }
        return Introduction(
            block: leaf.first + UInt64(slot), generation: entry.generation, address: entry.address, checksum: entry.checksum)
    }

    /// Gives what was copied its new address, and what else of nodes is in the way a new place. `moved` has what was copied where;
    /// its blocks are in flight, and those that are used become live. No checkpoint is under way: every node is either clean or
    /// changeable. Takes at most `promise` blocks.
    mutating func moveTail(_ family: UInt64, _ first: UInt64, _ moved: [Introduction: BlockRun], promise: Int) -> TailMove {
        precondition(!isStoring, "a node that is being stored is neither clean nor changeable")
        var missing: [MissingNode] = []
        guard let now = planTail(family, from: first, missing: &missing) else { return .missing(missing) }
        guard now.first == first, now.cost <= promise else { return .changed }
        var mending = Mending(first: first, moved: moved)
        for version in versions.values.filter({ $0.record.family == family }) where has(version, first) {
            guard let root = mend(version.root, level: version.level, &mending) else { continue }
            version.root = .memory(root)
            markDirty(version)
        }
        for use in mending.used {
            // It was handed out for this.
            if let place = moved[use] { space.commitInFlight([place]) }
            release(use.address)
        }
        lastMove = epoch
        return .done(mending.used)
    }

    private struct Mending {
        let first: UInt64
        let moved: [Introduction: BlockRun]
        var used: Set<Introduction> = []
        /// What takes the place of a clean node, nil where it stays; dirty nodes are changed in place.
        var clean: [BlockAddress: Node?] = [:]
        var dirty: Set<ObjectIdentifier> = []
    }

    /// What the reference has to be replaced by, if anything.
    private mutating func mend(_ reference: NodeReference, level: Int, _ mending: inout Mending) -> Node? {
        if reference.isHole { return nil }
        // One that was replaced is not in the cache any more.
        if case .disk(let pointer, _) = reference, let known = mending.clean[pointer.address] { return known }
        var missing: [MissingNode] = []
        guard let node = resolve(reference, level: level, block: mending.first, missing: &missing) else {
            preconditionFailure("a path is changed before it is in memory")
        }
        if node.isDirty {
            guard mending.dirty.insert(ObjectIdentifier(node)).inserted else { return nil }
        } else if let known = mending.clean[node.address] {
            return known
        }
        var target = node.isDirty ? node : nil
        if level == 0 {
            for slot in 0..<geometry.fanout {
                guard let use = introduction(in: node, slot), let place = mending.moved[use] else { continue }
                mending.used.insert(use)
                var entry = node.entry(slot, geometry.fanout)
                entry.address = place.start
                changeable(node, &target).store(entry, at: slot, geometry.fanout)
            }
        } else {
            let slot = slot(mending.first, level)
            if let child = mend(child(of: node, slot), level: level - 1, &mending) {
                let parent = changeable(node, &target)
                parent.children[slot] = child
                let placeholder = Entry(address: .none, generation: child.generation, checksum: 0, descriptor: .node(mapped: 0))
                parent.store(placeholder, at: slot, geometry.fanout)
            }
        }
        if target == nil, space.isInTail(node.pointer) { _ = changeable(node, &target) }
        if node.isDirty { return nil }
        mending.clean[node.address] = .some(target)
        return target
    }

    private mutating func changeable(_ node: Node, _ target: inout Node?) -> Node {
        if let target { return target }
        let copy = Node(replacing: node, geometry: geometry)
        target = copy
        dirtyBlocks += NodePointer.copies(level: node.level)
        // All that refer to it are changed at this moment: nobody else gives it back.
        releaseNode(node.pointer)
        return copy
    }

    // MARK: Catalog, properties, shared blocks

    /// Versions whose records, or properties, a checkpoint has to write for some nodes to leave the tail, and the blocks it takes.
    func planOthers(limit: Int) -> (records: [Version], properties: [Version], cost: Int) {
        guard let tail = space.tail else { return ([], [], 0) }
        let end = space.map.address(of: tail), perLeaf = UInt64(catalog.recordsPerLeaf)
        var records: [Version] = [], cost = 0
        for leaf in catalog.tree.leaves(below: { $0.address >= end || $0.copy >= end }).sorted() where records.count < limit {
            let ids = leaf * perLeaf..<(leaf + 1) * perLeaf
            // One that is changed already, or gone, brings the whole leaf along.
            if ids.contains(where: { dirtyVersions.contains($0) }) { continue }
            if let version = ids.compactMap({ versions[$0] }).first {
                records.append(version)
                cost += catalogPathBlocks
            }
        }
        let properties = versions.values.filter { !$0.hasDirtyProperties && $0.propertyNodes.contains { space.isInTail($0) } }
        for version in properties.prefix(limit) {
            cost += catalogPathBlocks
                + PropertyChain.blocks(bytes: PropertyChain.encode(version.properties).count, geometry: geometry)
        }
        return (records, Array(properties.prefix(limit)), cost)
    }

    /// Has the next checkpoint write them, and what of the table of shared blocks lies in the tail. False if that takes more than
    /// `promise` blocks; then nothing has changed.
    mutating func moveOthers(limit: Int, promise: Int) -> Bool {
        let (records, properties, cost) = planOthers(limit: limit)
        guard cost <= promise, let tail = space.tail else { return false }
        let end = space.map.address(of: tail)
        shares.rewrite { $0.address >= end || $0.copy >= end }
        for version in records { markDirty(version) }
        for version in properties {
            touchProperties(version)
            markDirty(version)
        }
        return true
    }
}
