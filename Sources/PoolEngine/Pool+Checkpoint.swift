public import BlockStorage
internal import Synchronization

/// Memory that checkpoints reuse. Owned by whoever makes the checkpoint.
struct CheckpointBuffers: ~Copyable {
    let block: AlignedBuffer
    let batch: AlignedBuffer
    static let batchBlocks = 256

    init(geometry: Geometry) {
        block = AlignedBuffer(count: geometry.blockSize)
        batch = AlignedBuffer(count: geometry.blockSize * Self.batchBlocks)
    }
}

/// Why a checkpoint is made.
enum CheckpointReason: Sendable { case routine, forSpace, forJournal, settling, closing, recovery, growing }

/// What a checkpoint stores, as it was at one moment.
struct Frozen: Sendable {
    var superblock: Superblock
    /// Dirty nodes with their new addresses, children before parents.
    var nodes: [Node] = []
    var catalog: [PageTree.Planned] = []
    /// Records of the catalog's planned leaves, with the roots as they were.
    var records: [UInt64: [(record: VersionRecord, root: NodeReference)]] = [:]
    /// Nodes of the table of shared blocks, and the contents of its leaves among them.
    var shares: [PageTree.Planned] = []
    var sharePages: [UInt64: ShareTable.Page] = [:]
    /// Properties to be written, by version.
    var chains: [UInt64: PropertyChain] = [:]
    var roots: [(version: Version, node: Node)] = []
    /// For the space log, or else whole pages.
    var delta: [UInt64] = []
    var pages: [UInt64]?
    var lastLSN: UInt64 = 0
    /// Blocks that its nodes and their copies take.
    var placedBlocks = 0
    /// Of the superblock, once it is written.
    var checksum: UInt32 = 0
    /// This checkpoint's pool is smaller than the one before.
    var cut: PoolCut?
}

extension Pool {
    /// Stores the pool's state as of now, so that the journal before it is not needed any more. Durable on return.
    public func checkpoint() throws(PoolError) { try checkpoint(.routine) }

    /// With `.forJournal` none is made if there is room for so many `frames` by now.
    func checkpoint(_ reason: CheckpointReason, frames: Int = 0) throws(PoolError) {
        try checkpointLock.withLock { buffers throws(PoolError) in
            let frozen = try state.withLock { state throws(PoolError) -> Frozen? in
                if state.isReadOnly { throw .readOnly }
                if state.isSuspended { throw .suspended }
                if reason == .forSpace, state.freeWithoutCheckpoint() { return nil }
                // Whoever waited for the lock may find that the checkpoint before made the room.
                let used = state.journal.usedFrames, total = state.journal.frames
                if reason == .forJournal, state.dirtyBlocks <= dirtyLimit, state.space.deltaCount <= 2 * Self.deltaLimit, 2 * used < total,
                    used + frames + Self.spareFrames <= total
                {
                    return nil
                }
                let isForced = reason == .settling || reason == .closing || reason == .recovery || reason == .growing
                guard isForced || state.hasChanges else { return nil }
                if verifiesAccounting { try verifyAccounting(state) }
                state.makeRoomForCheckpoint()
                do throws(PoolError) {
                    return try state.freeze(reason, now: environment.now(), nonce: environment.random())
                } catch {
                    state.suspend(error)
                    throw error
                }
            }
            guard var frozen else { return }
            try orSuspend { () throws(PoolError) in try store(&frozen, buffers) }
            publish(frozen, reason)
        }
    }

    /// A damaged node is for others to find: below it nothing can be counted.
    private func verifyAccounting(_ state: borrowing PoolState) throws(PoolError) {
        do throws(PoolError) {
            try state.verifyAccounting(NodeReader(device: device, map: map, pool: poolID))
        } catch .corrupt(.node, _, _) {}
    }

    /// Writes everything a frozen state needs, a barrier, the superblock, a barrier (rule R6).
    private func store(_ frozen: inout Frozen, _ buffers: borrowing CheckpointBuffers) throws(PoolError) {
        try writeNodes(frozen, buffers.batch.bytes)
        try writeProperties(&frozen, buffers.block.bytes)
        try writeCatalog(&frozen, buffers.block.bytes)
        try writeShares(&frozen, buffers.block.bytes)
        if let pages = frozen.pages {
            try writePages(pages, frozen.superblock, buffers.block.bytes)
        } else {
            try writeSpaceLog(frozen, buffers.block.bytes)
        }
        try writeJournal(upTo: frozen.lastLSN)
        if !breaks(.barrierBeforeSuperblock) { try barrier() }
        frozen.checksum = try Pool.write(frozen.superblock, to: device, buffer: buffers.block.bytes)
        try barrier()
    }

    /// The checkpoint is durable: what only older ones needed may go (rule R7).
    private func publish(_ frozen: Frozen, _ reason: CheckpointReason) {
        let batch = 1024
        for start in stride(from: 0, to: frozen.nodes.count, by: batch) {
            state.withLock { state in
                for node in frozen.nodes[start..<min(start + batch, frozen.nodes.count)] {
                    node.settle(fanout: state.geometry.fanout)
                    state.cache.insert(node)
                }
            }
        }
        state.withLock { state in
            for (version, node) in frozen.roots {
                if case .memory(let root) = version.root, root === node {
                    version.root = .disk(node.pointer, mapped: node.level == 0 ? node.count : 0)
                }
            }
            for chain in frozen.chains.values {
                guard let version = state.versions[chain.version], version.propertyNodes.map(\.address) == chain.places.map(\.address) else {
                    continue
                }
                version.propertyNodes = chain.places
                version.record.properties = chain.places.first ?? .none
            }
            if let cut = frozen.cut {
                map.cut(toZones: cut.zoneCount, last: cut.last)
                state.space.cut()
                state.backedLimit = -1
                state.cut = nil
            }
            state.superblock = frozen.superblock
            state.superblockChecksum = frozen.checksum
            state.journal.moveTail(to: frozen.superblock.journalTail)
            state.journal.didFlush(upTo: frozen.lastLSN)
            state.journal.durableEpoch = frozen.superblock.epoch
            state.undurableBlocks = 0
            state.shares.didStore()
            state.settlePromises()
            // Two epochs, so that the checkpoint before this one stays readable; one when space is short.
            let isShort = reason == .forSpace || state.available(.growing) == 0
            state.endQuarantine(upTo: frozen.superblock.epoch - (isShort ? 0 : 1))
            state.counters.checkpoints += 1
            state.isStoring = false
        }
    }
}

extension PoolState {
    /// True if a checkpoint would store anything new.
    var hasChanges: Bool {
        !dirtyVersions.isEmpty || shares.hasChanges || space.deltaCount > 0 || journal.lastLSN + 1 > superblock.journalLSN
    }

    /// Whether a checkpoint that stores nothing new would end the quarantine of blocks, as none is needed by whoever reads an old one.
    var maySettle: Bool { !hasChanges && space.quarantinedCount > 0 && pinnedEpoch == nil }

    /// A checkpoint comes before whoever reads an old one.
    mutating func makeRoomForCheckpoint() {
        guard pinnedEpoch != nil, space.freeCount < dirtyBlocks + shares.rewriteBlocks else { return }
        pinnedEpoch = nil
        endQuarantine(upTo: superblock.epoch)
    }

    /// Ends the quarantine of blocks whose release is durable already. True if there were any.
    mutating func freeWithoutCheckpoint() -> Bool {
        let before = space.freeCount
        endQuarantine(upTo: superblock.epoch)
        return space.freeCount > before
    }

    /// Closes the epoch: from here on changes belong to the next one, and dirty nodes are copied before a change.
    mutating func freeze(_ reason: CheckpointReason, now: UInt64, nonce: UInt64) throws(PoolError) -> Frozen {
        var frozen = Frozen(superblock: superblock)
        journal.seal()
        let head = journal.head
        frozen.lastLSN = head.lsn - 1
        try collectNodes(into: &frozen)
        try captureRecords(into: &frozen)
        try captureShares(into: &frozen)
        frozen.delta = space.takeDelta()
        var next = superblock
        next.epoch = epoch
        next.previous = superblockChecksum
        next.isClean = reason == .closing
        next.catalogDepth = catalog.tree.depth
        next.reflinkDepth = shares.tree.depth
        next.nextID = nextID
        next.nextGeneration = nextGeneration
        next.incarnation = journal.incarnation
        next.journalTail = head.sequence
        next.journalLSN = head.lsn
        next.allocated = UInt64(space.liveCount)
        next.written = now
        next.nonce = nonce
        if let cut {
            (next.size, next.zoneCount, next.isCut) = (cut.size, cut.zoneCount, true)
            // No page and no run of the log may be about what is not there any more.
            rewritesBitmap = true
            frozen.cut = cut
        }
        try planSpaceLog(&next, &frozen)
        frozen.superblock = next
        epoch += 1
        dirtyVersions = []
        undurableBlocks = max(0, dirtyBlocks - frozen.placedBlocks)
        dirtyBlocks = 0
        hasReaped = false
        space.countBacked()
        closePromises()
        isStoring = true
        if brokenRule == .tailsAfterSuperblock { journal.moveTail(to: next.journalTail) }
        return frozen
    }

    /// Gives every dirty node of every changed version its address.
    private mutating func collectNodes(into frozen: inout Frozen) throws(PoolError) {
        for id in dirtyVersions.sorted() {
            guard let version = versions[id], case .memory(let root) = version.root else { continue }
            // Below its reap cursor nothing of a deleted version is needed any more.
            collect(root, above: version.isHidden ? version.record.reapCursor : 0, into: &frozen.nodes)
        }
        let leaves = frozen.nodes.filter { $0.level == 0 }, others = frozen.nodes.filter { $0.level > 0 }
        for (node, address) in zip(leaves, try place(leaves.count)) { node.address = address }
        for (node, pair) in zip(others, try placePairs(others.count)) { (node.address, node.distance) = pair }
        frozen.placedBlocks += leaves.count + 2 * others.count
        for id in dirtyVersions {
            guard let version = versions[id], case .memory(let root) = version.root else { continue }
            frozen.roots.append((version, root))
        }
    }

    /// Takes `count` blocks for nodes. Admission has seen to it that they are free; only the maps of a damaged pool can have
    /// had more nodes than its count of blocks left room for.
    private mutating func place(_ count: Int) throws(PoolError) -> [BlockAddress] {
        guard count > 0 else { return [] }
        guard count <= space.freeCount else {
            throw .outOfSpace(needed: UInt64(count * geometry.blockSize), free: UInt64(space.freeCount * geometry.blockSize))
        }
        var runs: [BlockRun] = []
        space.allocate(count, for: .node, into: &runs)
        return committed(runs)
    }

    private mutating func committed(_ runs: [BlockRun]) -> [BlockAddress] {
        for run in runs { space.commit(run) }
        return runs.flatMap { run in (0..<run.count).map { run.start.advanced(by: $0) } }
    }

    /// Takes places for `count` nodes and their copies, for groups of up to 256 nodes: the copies in another segment where there
    /// is one for them, else behind the nodes, so that one damaged spot has both only if the group is small. Where free blocks lie
    /// too far apart for that, and for a pair of neighbours too, a node goes without a copy.
    private mutating func placePairs(_ count: Int) throws(PoolError) -> [(address: BlockAddress, distance: Int)] {
        var result: [(address: BlockAddress, distance: Int)] = []
        while result.count < count {
            let group = min(count - result.count, 256)
            let nodes = try place(group)
            if let copies = space.allocateCopies(of: nodes, keeping: blocksToBack) {
                for (node, copy) in zip(nodes, committed(copies)) { result.append((node, NodePointer.distance(from: node, to: copy) ?? 0)) }
                continue
            }
            let blocks = nodes + (try place(group))
            let isNear = (0..<group).allSatisfy { NodePointer.distance(from: blocks[$0], to: blocks[$0 + group]) != nil }
            for index in 0..<group {
                let first = isNear ? blocks[index] : blocks[2 * index]
                let copy = isNear ? blocks[index + group] : blocks[2 * index + 1]
                let distance = NodePointer.distance(from: first, to: copy)
                if distance == nil { release(copy) }
                result.append((first, distance ?? 0))
            }
        }
        return result
    }

    private func collect(_ node: Node, above cursor: UInt64, into nodes: inout [Node]) {
        guard node.isDirty, !node.isCollected, node.first + span(node.level) > cursor else { return }
        for child in node.children { if let child { collect(child, above: cursor, into: &nodes) } }
        node.isCollected = true
        nodes.append(node)
    }

    /// Copies the records of every catalog leaf that has a changed one, and gives the catalog's nodes their addresses.
    private mutating func captureRecords(into frozen: inout Frozen) throws(PoolError) {
        for id in dirtyVersions.sorted() {
            guard let version = versions[id], version.hasDirtyProperties else { continue }
            for node in version.propertyNodes { releaseNode(node) }
            var chain = PropertyChain(version: id, properties: version.properties, blockSize: geometry.blockSize)
            chain.places = try placePairs(chain.chunks.count).map { NodePointer(address: $0.address, generation: 0, checksum: 0, distance: $0.distance) }
            frozen.placedBlocks += 2 * chain.chunks.count
            (version.propertyNodes, version.hasDirtyProperties) = (chain.places, false)
            frozen.chains[id] = chain
        }
        let dirtyLeaves = Set(dirtyVersions.map { catalog.leafIndex(of: $0) })
        let perLeaf = UInt64(catalog.recordsPerLeaf)
        for leaf in dirtyLeaves {
            let present = (leaf * perLeaf..<(leaf + 1) * perLeaf).compactMap { versions[$0] }
            for version in present {
                version.record.promisedData = UInt64(version.promisedData)
                version.record.promisedNodes = UInt64(version.promisedNodes)
            }
            if !present.isEmpty { frozen.records[leaf] = present.map { (record: $0.record, root: $0.root) } }
        }
        let (planned, released) = catalog.tree.plan(dirtyLeaves: dirtyLeaves) { frozen.records[$0] != nil }
        for node in released { releaseNode(node) }
        frozen.placedBlocks += 2 * planned.count
        frozen.catalog = try placed(planned)
        for node in frozen.catalog { catalog.tree.place(node) }
    }

    /// Copies the changed pages of the table of shared blocks, and gives its nodes their addresses. Their blocks are not among
    /// `placedBlocks`: those of the whole table are kept free beside what changes are promised.
    private mutating func captureShares(into frozen: inout Frozen) throws(PoolError) {
        let (dirty, pages) = shares.takeChanges()
        if dirty.isEmpty { return }
        frozen.sharePages = pages
        let (planned, released) = shares.tree.plan(dirtyLeaves: dirty) { pages[$0] != nil }
        for node in released { releaseNode(node) }
        frozen.shares = try placed(planned)
        for node in frozen.shares { shares.tree.place(node) }
    }

    private mutating func placed(_ nodes: [PageTree.Planned]) throws(PoolError) -> [PageTree.Planned] {
        zip(nodes, try placePairs(nodes.count)).map { node, place in
            PageTree.Planned(level: node.level, index: node.index, address: place.address, distance: place.distance)
        }
    }

    /// Decides how the space changes are stored: in the log if they fit, else as all pages, after which the log is empty.
    private mutating func planSpaceLog(_ next: inout Superblock, _ frozen: inout Frozen) throws(PoolError) {
        let capacity = SpaceLogFrame.capacity(blockSize: geometry.blockSize)
        let needed = (frozen.delta.count + capacity - 1) / capacity
        if !rewritesBitmap, Int(next.spaceHead - next.spaceTail) + needed <= geometry.spaceLogFrames {
            next.spaceHead += UInt64(needed)
            return
        }
        let regions = min(space.touchedRegions, frozen.cut?.regionCount ?? .max)
        frozen.pages = try space.committedWords(regions: regions)
        if brokenRule != .otherSlot { next.bitmapSlot = 1 - superblock.bitmapSlot }
        next.bitmapEpoch = epoch
        rewritesBitmap = false
        next.bitmapRegions = UInt64(regions)
        next.spaceTail = next.spaceHead
    }
}
