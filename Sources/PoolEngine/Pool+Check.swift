public import BlockStorage
internal import Synchronization

/// What checking a pool found.
public struct CheckReport: Equatable, Sendable {
    public var problems: [CheckProblem] = []
    /// Blocks that count as in use but that nothing reaches. Space lost, no data.
    public var leakedBlocks = 0
    public var checkedNodes = 0
    /// Bytes.
    public var blockSize = 4096
    /// Data blocks reached, each counted once.
    public var checkedBlocks = 0
    /// Blocks that a repair marked as lost: reading them fails. In each version that has them, but once in shared nodes.
    public var lostBlocks = 0
    /// What the versions in `problems` are called: `VOLUME` or `VOLUME@SNAPSHOT`. Deleted ones have no name.
    public var names: [UInt64: String] = [:]

    public var isClean: Bool { problems.isEmpty && leakedBlocks == 0 }
}

public enum CheckProblem: Equatable, Sendable, CustomStringConvertible {
    /// A node that cannot be read, with the version whose map it is in and the first block it would map.
    case node(version: UInt64, first: UInt64, PoolError)
    /// A node or an entry is younger than what refers to it.
    case generation(version: UInt64, first: UInt64)
    /// A block that is in use counts as free: the next write may destroy it.
    case free(address: UInt64)
    /// One block holds two different things.
    case shared(address: UInt64, version: UInt64, block: UInt64)
    /// A block has another number of references than the table of shared blocks counts.
    case references(address: UInt64, stored: Int, found: Int)
    case counter(version: UInt64, stored: UInt64, found: UInt64)
    case data(version: UInt64, block: UInt64)
    /// One of a node's two copies is damaged. Nothing is lost; a scrub makes it whole again.
    case copy(version: UInt64, first: UInt64, position: UInt64)
    /// One of a superblock's two copies is damaged. Nothing is lost; a scrub makes it whole again.
    case superblockCopy(position: UInt64)
    /// Of a pool that is open: it knows its zones. A scrub writes it again; nobody could open the pool without it.
    case zoneHeader(position: UInt64)

    /// The version it was met in.
    var version: UInt64? {
        switch self {
        case .node(let version, _, _), .generation(let version, _), .shared(_, let version, _), .counter(let version, _, _),
            .data(let version, _), .copy(let version, _, _):
            version
        case .free, .references, .superblockCopy, .zoneHeader: nil
        }
    }

    public var description: String {
        switch self {
        case .node(let version, let first, let error): "version \(version): node above block \(first): \(error)"
        case .generation(let version, let first): "version \(version): entry at block \(first) is younger than its node"
        case .free(let address): "block \(address) is in use but counted as free"
        case .shared(let address, let version, let block): "block \(address) is used twice, last by version \(version) block \(block)"
        case .references(let address, let stored, let found): "block \(address): \(stored) references counted, \(found) found"
        case .counter(let version, let stored, let found): "version \(version): \(stored) mapped blocks counted, \(found) found"
        case .data(let version, let block): "version \(version): contents of block \(block) do not match their checksum"
        case .copy(let version, let first, let position):
            "version \(version): the node above block \(first) has one damaged copy, at byte \(position); nothing is lost"
        case .superblockCopy(let position): "one copy of a superblock is damaged, at byte \(position); nothing is lost"
        case .zoneHeader(let position): "the zone header at byte \(position) is damaged"
        }
    }
}

extension Pool {
    /// Verifies every tree, every address and every counter against each other, both copies of each superblock, and with
    /// `readingData` every block's checksum. Changes nothing. Only for a pool that nobody uses meanwhile. Takes 4 bytes of memory
    /// for each block in use and a read for each node. Throws `.cancelled`.
    public func check(readingData: Bool = false, control: JobControl = JobControl()) throws(PoolError) -> CheckReport {
        var report = try checkTrees(readingData: readingData, control: control)
        report.problems += try placeProblems()
        return report
    }

    private func placeProblems(_ known: SuperblockCopies? = nil) throws(PoolError) -> [CheckProblem] {
        let (superblocks, zones) = try damagedPlaces(known)
        return superblocks.damaged.map { .superblockCopy(position: $0.position) } + zones.map { .zoneHeader(position: $0.offset) }
    }

    private func checkTrees(readingData: Bool, control: JobControl) throws(PoolError) -> CheckReport {
        control.setTotal(usage().allocated)
        let checker = Checker(pool: self, readingData: readingData, control: control)
        try checker.walk()
        checker.compareReferences()
        checker.compare(with: state.withLock { $0.space.liveWords() })
        checker.report.blockSize = geometry.blockSize
        checker.report.names = state.withLock { $0.names(of: checker.report.problems.compactMap(\.version)) }
        return checker.report
    }
}

extension Pool {
    /// As `check`, of the pool as it is now, while it is used: of a checkpoint made for this, whose blocks are kept until the
    /// end. Throws `.outOfSpace` if writers need those before.
    public func checkWhileUsed(readingData: Bool = false, control: JobControl = JobControl()) throws(PoolError) -> CheckReport {
        try checkpoint()
        let (pinned, problems) = try checkpointLock.withLock { _ throws(PoolError) -> (Pool, [CheckProblem]) in
            let opened = try OpenedPool(device: device, configuration: configuration, isReadOnly: true, zones: map.zones.map(\.header))
            let problems = try placeProblems(opened.copies)
            let pool = Pool(
                opened, device: device, configuration: configuration, environment: environment, state: try opened.makeState())
            try state.withLock { state throws(PoolError) in
                if state.pinnedEpoch != nil || state.space.tail != nil { throw .inUse }
                state.pinnedEpoch = opened.superblock.epoch
            }
            return (pool, problems)
        }
        defer { state.withLock { $0.pinnedEpoch = nil } }
        var report = try pinned.checkTrees(readingData: readingData, control: control)
        report.problems += problems
        // Without the pin some of what was read may have been something else already.
        guard state.withLock({ $0.pinnedEpoch != nil }) else { throw .outOfSpace(needed: 0, free: 0) }
        return report
    }
}

/// One run of `Pool.check`.
private final class Checker {
    var report = CheckReport()
    private let pool: Pool
    private let readsData: Bool
    private let control: JobControl
    private let fanout: Int
    /// For each block reached, a hash of what it is: of one introduction, or of a node. By segment; 0 is "not reached".
    private var kinds: [Int: [UInt32]] = [:]
    /// References beyond the first that the table of shared blocks counts, and every one found of those blocks: two of them
    /// may have the same hash.
    private let stored: [BlockAddress: Int]
    private var found: [BlockAddress: Set<IntroductionCounter.Use>] = [:]
    /// Other introductions of blocks that the table does not have.
    private var otherUses: [BlockAddress: Set<IntroductionCounter.Use>] = [:]
    /// Mapped blocks below each node seen.
    private var mappedBelow: [Place: UInt64] = [:]
    private var walked: Set<Place> = []
    /// Blocks whose contents are not what they were, so that all that have them are named.
    private var damaged: Set<BlockAddress> = []
    private var damagedUses = 0
    private var mappedBelowDirty: [ObjectIdentifier: UInt64] = [:]

    init(pool: Pool, readingData: Bool, control: JobControl) {
        self.control = control
        self.pool = pool
        readsData = readingData
        fanout = pool.geometry.fanout
        stored = pool.state.withLock { state in
            var stored: [BlockAddress: Int] = [:]
            state.shares.forEach { stored[$0] = $1 }
            return stored
        }
    }

    /// Walks every version and the catalog.
    func walk() throws(PoolError) {
        let ids = pool.state.withLock { $0.versions.keys.sorted() }
        for id in ids { try check(version: id) }
        if control.isCancelled { throw .cancelled }
        let catalog = pool.state.withLock { state in
            var nodes: [NodePointer] = []
            state.catalog.tree.forEach { nodes.append($0) }
            state.shares.tree.forEach { nodes.append($0) }
            for version in state.versions.values { nodes += version.propertyNodes }
            return nodes
        }
        report.checkedNodes += catalog.count
        for node in catalog { reachNode(node, key: 0, version: 0, first: 0) }
    }

    /// A node by what its parent says of it, and where.
    private struct Place: Hashable {
        var address: BlockAddress
        var checksum: UInt32
        var first: UInt64

        init(_ reference: NodeReference, _ first: UInt64) {
            (address, checksum, self.first) = (reference.address, reference.pointer.checksum, first)
        }
    }

    private struct Start: Sendable {
        var root: NodeReference
        var level: Int
        var generation: UInt32
        var cursor: UInt64
        var referenced: UInt64
    }

    func check(version id: UInt64) throws(PoolError) {
        let start = pool.state.withLock { state -> Start? in
            guard let version = state.versions[id] else { return nil }
            return Start(
                root: version.root, level: version.level, generation: version.generation, cursor: version.record.reapCursor,
                referenced: version.record.referenced)
        }
        guard let start else { return }
        let before = report.problems.count
        let found = visit(start.root, level: start.level, first: 0, limit: start.generation, version: id, cursor: start.cursor)
        if start.cursor == 0, report.problems.count == before, found != start.referenced {
            report.problems.append(.counter(version: id, stored: start.referenced, found: found))
        }
    }

    /// Walks below a reference and returns the number of mapped blocks there. What lies below the reap cursor of a
    /// deleted version is gone already.
    private func visit(
        _ reference: NodeReference, level: Int, first: UInt64, limit: UInt32, version: UInt64, cursor: UInt64
    ) -> UInt64 {
        if control.isCancelled { return 0 }
        if reference.generation > limit { report.problems.append(.generation(version: version, first: first)) }
        let span = pool.geometry.span(level: level)
        if reference.isHole || first + span <= cursor { return 0 }
        // The same node again, at the same place by the same pointer: what is below it is known.
        if let known = known(reference, first), cursor == 0 { return known }
        if reference.address != .none && !walked.contains(Place(reference, first)) {
            walked.insert(Place(reference, first))
            let key = key(first, reference.generation, node: true)
            reachNode(reference.pointer, key: key, version: version, first: first)
        }
        guard let node = node(reference, level: level, first: first, version: version) else { return 0 }
        report.checkedNodes += 1
        var mapped: UInt64 = 0
        let usesBefore = damagedUses
        for slot in 0..<fanout {
            let child = first + UInt64(slot) * (span / UInt64(fanout))
            if level > 0 {
                let reference = pool.state.withLock { $0.child(of: node, slot) }
                mapped += visit(
                    reference, level: level - 1, first: child, limit: node.generation, version: version, cursor: cursor)
            } else if check(node.entry(slot, fanout), block: child, limit: node.generation, version: version) {
                mapped += 1
            }
        }
        // The next version that shares it is to be named too.
        if cursor == 0 && damagedUses == usesBefore { remember(reference, first, mapped) }
        return mapped
    }

    private func known(_ reference: NodeReference, _ first: UInt64) -> UInt64? {
        if case .memory(let node) = reference, node.isDirty { return mappedBelowDirty[ObjectIdentifier(node)] }
        return mappedBelow[Place(reference, first)]
    }

    private func remember(_ reference: NodeReference, _ first: UInt64, _ mapped: UInt64) {
        if case .memory(let node) = reference, node.isDirty {
            mappedBelowDirty[ObjectIdentifier(node)] = mapped
        } else {
            mappedBelow[Place(reference, first)] = mapped
        }
    }

    private func node(_ reference: NodeReference, level: Int, first: UInt64, version: UInt64) -> Node? {
        do throws(PoolError) {
            return try pool.withNodes { state, missing throws(PoolError) -> Node? in
                state.resolve(reference, level: level, block: first, missing: &missing)
            }
        } catch {
            report.problems.append(.node(version: version, first: first, error))
            return nil
        }
    }

    /// True if the entry maps a block.
    private func check(_ entry: Entry, block: UInt64, limit: UInt32, version: UInt64) -> Bool {
        if entry.generation > limit { report.problems.append(.generation(version: version, first: block)) }
        if entry.isHole { return false }
        if entry.isPoisoned {
            report.lostBlocks += 1
            return true
        }
        let use = IntroductionCounter.Use(block: block, generation: entry.generation)
        let isNew = reach(
            entry.address, key: key(block, entry.generation, node: false), version: version, block: block, use: use)
        if isNew {
            control.advance(UInt64(pool.geometry.blockSize))
            report.checkedBlocks += 1
            if readsData && !dataMatches(entry) { damaged.insert(entry.address) }
        }
        if damaged.contains(entry.address) {
            damagedUses += 1
            report.problems.append(.data(version: version, block: block))
        }
        return true
    }

    private func dataMatches(_ entry: Entry) -> Bool {
        let buffer = AlignedBuffer(count: pool.geometry.blockSize)
        do throws(PoolError) {
            try pool.device.read(into: buffer.bytes, at: pool.map.offset(of: entry.address))
        } catch {
            return false
        }
        return crc32c(UnsafeRawBufferPointer(buffer.bytes)) == entry.checksum
    }

    /// Notes a node and its copy, and verifies both if there are two.
    func reachNode(_ node: NodePointer, key: UInt32, version: UInt64, first: UInt64) {
        reach(node.address, key: key, version: version, block: first)
        guard node.copy != .none else { return }
        reach(node.copy, key: key, version: version, block: first)
        // If both are damaged, the walk says so where it needs the node.
        let buffer = AlignedBuffer(count: pool.geometry.blockSize)
        let reader = NodeReader(device: pool.device, map: pool.map, pool: pool.poolID)
        if let position = reader.damagedCopy(node, buffer: buffer.bytes) {
            report.problems.append(.copy(version: version, first: first, position: position))
        }
    }

    /// Notes that a block is in use as `key`. False if that was known.
    @discardableResult
    private func reach(
        _ address: BlockAddress, key: UInt32, version: UInt64, block: UInt64, use: IntroductionCounter.Use? = nil
    ) -> Bool {
        guard pool.map.contains(address) else {
            report.problems.append(.shared(address: address.value, version: version, block: block))
            return false
        }
        let index = pool.map.index(of: address)
        let segment = index / pool.geometry.segmentBlocks
        let slot = index % pool.geometry.segmentBlocks
        // Of data the second bit is set: only data can be shared.
        let kind = key & ~3 | (use == nil ? 1 : 3)
        if let use, stored[address] != nil { found[address, default: []].insert(use) }
        let old = kinds[segment, default: [UInt32](repeating: 0, count: pool.geometry.segmentBlocks)][slot]
        if old == 0 {
            kinds[segment, default: [UInt32](repeating: 0, count: pool.geometry.segmentBlocks)][slot] = kind
        } else if let use, old & 3 == 3 {
            if old != kind, stored[address] == nil { otherUses[address, default: []].insert(use) }
        } else if old != kind || key == 0 {
            report.problems.append(.shared(address: address.value, version: version, block: block))
        }
        return old == 0
    }

    private func key(_ block: UInt64, _ generation: UInt32, node: Bool) -> UInt32 {
        var words = (block, UInt64(generation) << 1 | (node ? 1 : 0))
        return withUnsafeBytes(of: &words) { crc32c(UnsafeRawBufferPointer($0)) }
    }

    /// Each block must have as many references as the table counts.
    func compareReferences() {
        let hasDamage = !report.problems.isEmpty
        for address in Set(stored.keys).union(otherUses.keys).sorted() {
            let counted = (stored[address] ?? 0) + 1
            let found = stored[address] == nil ? (otherUses[address]?.count ?? 0) + 1 : max(1, found[address]?.count ?? 0)
            // Below a damaged node nothing is found, which is not wrong of the table.
            if found == counted || hasDamage && found < counted { continue }
            report.problems.append(.references(address: address.value, stored: counted, found: found))
        }
    }

    /// Reached blocks must be exactly the live ones.
    func compare(with live: [UInt64]) {
        let hasDamage = !report.problems.isEmpty, perSegment = pool.geometry.segmentBlocks
        // By words of blocks: most of a large pool is neither reached nor live.
        for word in live.indices {
            let segments = word * 64 / perSegment...(min(word * 64 + 63, pool.map.blockCount - 1)) / perSegment
            if live[word] == 0, segments.allSatisfy({ kinds[$0] == nil }) { continue }
            for index in word * 64..<min(word * 64 + 64, pool.map.blockCount) {
                let isReached = (kinds[index / perSegment]?[index % perSegment] ?? 0) != 0
                let isLive = live[word] >> UInt64(index % 64) & 1 == 1
                if isReached && !isLive { report.problems.append(.free(address: pool.map.address(of: index).value)) }
                // Below a damaged node nothing is reached, which is not a leak.
                if isLive && !isReached && !hasDamage { report.leakedBlocks += 1 }
            }
        }
    }
}
