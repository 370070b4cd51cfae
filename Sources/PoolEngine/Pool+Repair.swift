public import BlockStorage

extension Pool {
    /// Brings a damaged pool into a state that opens and checks clean, and stores that as a new checkpoint; with `isDryRun`
    /// only finds out what that would take. No node is changed where it is; of the fixed structures a zone's header is
    /// written in its place, with what the geometry says it was, and the damaged one of two copies of a superblock.
    ///
    /// Taken in this order: the copy of a node, the superblock before the newest, what a search of the whole pool finds below
    /// a lost node, or in the place of all superblocks. What is lost for good is marked so: reading it fails, and no old or zero
    /// bytes stand in for it. Where whole volumes are lost, as `RepairReport.losesVolumes` says, nothing is written unless `givesUpVolumes`.
    /// Throws if nothing tells of a pool, if the pool has no space for what has to be written, or `.cancelled`, with nothing written, soon
    /// after the device does.
    public static func repair(
        _ device: any BlockDevice, configuration: Configuration = Configuration(), environment: Environment, isDryRun: Bool,
        givesUpVolumes: Bool
    ) throws(PoolError) -> RepairReport {
        var report = RepairReport()
        let opened = try OpenedPool(repairing: device, configuration: configuration, environment: environment, isDryRun: isDryRun, report: &report)
        let pool = Pool(opened, device: device, configuration: configuration, environment: environment, state: try opened.salvage(&report, environment))
        try pool.mend(&report)
        try pool.recoverWhatIsThere(from: opened.superblock, &report)
        try pool.recount(&report)
        if report.isClean || isDryRun || (report.losesVolumes && !givesUpVolumes) { return report }
        try pool.state.withLock { state throws(PoolError) in
            let needed = state.dirtyBlocks + state.shares.rewriteBlocks
            guard needed <= state.space.freeCount else {
                let unit = state.geometry.blockSize
                throw .outOfSpace(needed: UInt64(needed * unit), free: UInt64(state.space.freeCount * unit))
            }
        }
        try opened.writeZoneHeaders()
        // The checkpoint after this writes one of them; of the others each may lie where nothing can be written.
        _ = try? SuperblockCopies(on: device, of: opened.superblock).mend(on: device)
        try pool.checkpoint(.recovery)
        try pool.close()
        report.isRepaired = true
        return report
    }

    // MARK: Lost nodes

    /// Puts something in the place of every lost node: what a search finds below it, or entries that say it is lost.
    private func mend(_ report: inout RepairReport) throws(PoolError) {
        let reader = NodeReader(device: device, map: map, pool: poolID)
        let survey = Survey(reader: reader, geometry: geometry)
        let starts = state.withLock { state in
            state.versions.values.sorted { $0.id < $1.id }.map {
                SurveyStart(
                    version: $0.id, root: $0.record.root, level: $0.level, family: $0.record.family,
                    cursor: $0.isHidden ? $0.record.reapCursor : 0)
            }
        }
        for start in starts {
            try survey.walk(start.root, level: start.level, first: 0, family: start.family, above: start.cursor)
        }
        var replacements: [BlockAddress: Node] = [:]
        if !survey.lost.isEmpty { replacements = try replace(survey, reader, &report) }
        report.checkedNodes = survey.nodeCount
        for position in survey.damagedCopies.values.sorted() { report.findings.append(.nodeCopy(position: position)) }
        try takeOver(survey, replacements, &report)
    }

    private struct SurveyStart: Sendable {
        var version: UInt64
        var root: NodePointer
        var level: Int
        var family: UInt64
        var cursor: UInt64
    }

    /// Makes a node for each lost one. What the survey then walks may show more that is lost.
    private func replace(
        _ survey: Survey, _ reader: NodeReader, _ report: inout RepairReport
    ) throws(PoolError) -> [BlockAddress: Node] {
        let scan = try NodeScan(reader: reader, geometry: geometry)
        let end = state.withLock { state in
            state.versions.values.map { state.geometry.blocks(covering: $0.record.size) }.max() ?? 0
        }
        var replacements: [BlockAddress: Node] = [:]
        var found = 0, next = 0
        while next < survey.lost.count {
            let lost = survey.lost[next]
            next += 1
            report.findings.append(.lostNode(lost.problem))
            replacements[lost.pointer.address] = try substitute(lost, end: end, survey, scan, &found)
        }
        if found > 0 { report.findings.append(.foundNodes(count: found)) }
        return replacements
    }

    /// A node in the lost one's place: with the children that were found, and lost blocks for the others.
    private func substitute(
        _ lost: Survey.Lost, end: UInt64, _ survey: Survey, _ scan: NodeScan, _ found: inout Int
    ) throws(PoolError) -> Node {
        let identity = VersionIdentity(id: 0, family: lost.family, generation: lost.pointer.generation)
        let node = Node(
            level: lost.level, first: lost.first, version: identity, holeGeneration: lost.pointer.generation, geometry: geometry)
        for slot in 0..<geometry.fanout {
            let childSpan = lost.level == 0 ? 1 : geometry.span(level: lost.level - 1)
            let first = lost.first + UInt64(slot) * childSpan
            guard first < end else { continue }
            node.count += 1
            if lost.level == 0 {
                node.store(.poisoned(lost.pointer.generation), at: slot, geometry.fanout)
                continue
            }
            let key = NodeScan.Key(family: lost.family, level: lost.level - 1, first: first)
            if let pointer = scan.youngest(key, notAbove: lost.pointer.generation, except: survey.reached) {
                found += 1
                try survey.walk(pointer, level: lost.level - 1, first: first, family: lost.family)
                let mapped = lost.level == 1 ? (try? survey.read(pointer, level: 0, first: first))?.count ?? 0 : 0
                node.store(.node(pointer, mapped: mapped, isLeaf: lost.level == 1), at: slot, geometry.fanout)
            } else {
                let below = Survey.Lost(
                    pointer: lost.pointer, level: lost.level - 1, first: first, family: lost.family, problem: lost.problem)
                node.children[slot] = try substitute(below, end: end, survey, scan, &found)
                let placeholder = NodePointer(address: .none, generation: lost.pointer.generation, checksum: 0)
                node.store(.node(placeholder, mapped: 0, isLeaf: false), at: slot, geometry.fanout)
            }
        }
        return node
    }

    /// Counts the blocks in use from what was reached, and hangs the substitutes into every tree.
    private func takeOver(
        _ survey: Survey, _ replacements: [BlockAddress: Node], _ report: inout RepairReport
    ) throws(PoolError) {
        var mender = TreeMender(survey: survey, replacements: replacements, geometry: geometry)
        let versions = state.withLock { state in state.versions.values.sorted { $0.id < $1.id } }
        var roots: [(Version, NodeReference)] = []
        for version in versions where !replacements.isEmpty || !survey.damagedCopies.isEmpty {
            // The pool is open to nobody else yet.
            if let root = try mender.mended(version.root, level: version.level, first: 0) { roots.append((version, root)) }
        }
        let changed = mender
        try state.withLock { state throws(PoolError) in
            for version in state.versions.values { for node in version.propertyNodes { survey.mark(node) } }
            try state.countSpace(survey.reached, &report)
            let wrong = state.countShares(survey.uses)
            if wrong > 0 { report.findings.append(.references(blocks: wrong)) }
            for (version, root) in roots {
                version.root = root
                state.markDirty(version)
            }
            for node in changed.replaced { state.releaseNode(node) }
            state.dirtyBlocks += changed.newBlocks
        }
    }

    // MARK: Counters

    /// Counts every version's mapped blocks again, and lists those that are lost.
    private func recount(_ report: inout RepairReport) throws(PoolError) {
        for version in state.withLock({ state in state.versions.values.sorted { $0.id < $1.id } }) where version.record.reapCursor == 0 {
            var mapped: UInt64 = 0
            var losses = LossList(blockSize: UInt64(geometry.blockSize))
            var block: UInt64 = 0
            let end = geometry.blocks(covering: version.record.size)
            while block < end {
                let leaf = try withNodes { state, missing throws(PoolError) -> LeafCount? in
                    guard let first = state.nextLeaf(version, from: block, end: end, missing: &missing) else { return nil }
                    guard first < end else { return LeafCount(first: end, mapped: 0, lost: []) }
                    guard let leaf = state.leaf(version, first, missing: &missing) else { return nil }
                    var count = LeafCount(first: first, mapped: leaf.count, lost: [])
                    for slot in 0..<state.geometry.fanout where leaf.entry(slot, state.geometry.fanout).isPoisoned {
                        count.lost.append(first + UInt64(slot))
                    }
                    return count
                }
                mapped += UInt64(leaf.mapped)
                for block in leaf.lost { losses.add(block) }
                block = leaf.first + geometry.span(level: 0)
            }
            if mapped != version.record.referenced {
                report.findings.append(.counter(version: version.id, stored: version.record.referenced, found: mapped))
                state.withLock { state in
                    version.record.referenced = mapped
                    state.markDirty(version)
                }
            }
            let name = state.withLock { state in version.isHidden ? nil : state.info(version).fullName }
            if let name { report.losses += losses.ranges.map { RepairReport.Loss(object: name, offset: $0.offset, count: $0.count) } }
        }
    }

    private struct LeafCount: Sendable {
        var first: UInt64
        var mapped: Int
        var lost: [UInt64]
    }
}

/// Joins lost blocks to ranges of bytes.
private struct LossList {
    let blockSize: UInt64
    private(set) var ranges: [(offset: UInt64, count: UInt64)] = []

    init(blockSize: UInt64) { self.blockSize = blockSize }

    mutating func add(_ block: UInt64) {
        let offset = block * blockSize
        if let last = ranges.last, last.offset + last.count == offset {
            ranges[ranges.count - 1].count += blockSize
        } else {
            ranges.append((offset, blockSize))
        }
    }
}

/// Copies the paths above substitutes and nodes with a damaged copy, once for all versions that share them.
private struct TreeMender {
    /// Nodes whose place was taken, and the blocks of those that took it.
    private(set) var replaced: [NodePointer] = []
    private(set) var newBlocks = 0
    private let survey: Survey
    private let replacements: [BlockAddress: Node]
    private let geometry: Geometry
    private var done: [BlockAddress: Node?] = [:]

    init(survey: Survey, replacements: [BlockAddress: Node], geometry: Geometry) {
        self.survey = survey
        self.replacements = replacements
        self.geometry = geometry
        for node in replacements.values { newBlocks += Self.blocks(node) }
    }

    private static func blocks(_ node: Node) -> Int {
        NodePointer.copies(level: node.level) + node.children.reduce(0) { $0 + ($1.map { blocks($0) } ?? 0) }
    }

    /// What takes the reference's place, or nil if nothing below it has changed.
    mutating func mended(_ reference: NodeReference, level: Int, first: UInt64) throws(PoolError) -> NodeReference? {
        guard case .disk(let pointer, _) = reference else { return nil }
        if let known = done[pointer.address] { return known.map { .memory($0) } }
        let node = try change(pointer, level: level, first: first)
        done[pointer.address] = .some(node)
        return node.map { .memory($0) }
    }

    private mutating func change(_ pointer: NodePointer, level: Int, first: UInt64) throws(PoolError) -> Node? {
        var copy: Node?
        let node: Node
        if let substitute = replacements[pointer.address] {
            (node, copy) = (substitute, substitute)
        } else {
            if level == 0 { return nil }
            node = try survey.read(pointer, level: level, first: first)
            // With a damaged copy, it is written anew elsewhere.
            if survey.damagedCopies[pointer.address] != nil { copy = replacement(of: pointer, node) }
        }
        if level == 0 { return copy }
        for slot in 0..<geometry.fanout {
            let entry = node.entry(slot, geometry.fanout)
            guard entry.address != .none else { continue }
            let child = NodeReference.disk(entry.pointer(isLeaf: level == 1), mapped: 0)
            let childFirst = first + UInt64(slot) * geometry.span(level: level - 1)
            guard case .memory(let changed)? = try mended(child, level: level - 1, first: childFirst) else { continue }
            if copy == nil { copy = replacement(of: pointer, node) }
            copy?.children[slot] = changed
            let placeholder = NodePointer(address: .none, generation: changed.generation, checksum: 0)
            copy?.store(.node(placeholder, mapped: 0, isLeaf: false), at: slot, geometry.fanout)
        }
        return copy
    }

    private mutating func replacement(of pointer: NodePointer, _ node: Node) -> Node {
        replaced.append(pointer)
        newBlocks += NodePointer.copies(level: node.level)
        return Node(replacing: node, geometry: geometry)
    }
}

extension PoolState {
    /// Takes what was reached for what is in use, and notes how that differs from what is stored.
    mutating func countSpace(_ reached: Set<BlockAddress>, _ report: inout RepairReport) throws(PoolError) {
        var all = reached
        catalog.tree.forEach { node in
            all.insert(node.address)
            if node.copy != .none { all.insert(node.copy) }
        }
        shares.tree.forEach { node in
            all.insert(node.address)
            if node.copy != .none { all.insert(node.copy) }
        }
        let stored = storedWords
        var counted = Allocator(map: space.map)
        for address in all.sorted() {
            let run = BlockRun(start: address, count: 1)
            try counted.apply(run.packed(), position: 0)
        }
        if let stored {
            let words = counted.liveWords()
            var leaked = 0, missing = 0
            for index in words.indices {
                leaked += (stored[index] & ~words[index]).nonzeroBitCount
                missing += (words[index] & ~stored[index]).nonzeroBitCount
            }
            if leaked + missing > 0 { report.findings.append(.space(nil, leaked: leaked, missing: missing)) }
        }
        space = counted
        rewritesBitmap = true
    }
}
