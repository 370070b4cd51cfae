public import BlockStorage
internal import Synchronization

extension Pool {
    /// Reads everything that any volume or snapshot has, each block once, and verifies it, while the pool is used. A damaged
    /// copy of a node is written again from the other one. `pause` is called after every mebibyte or so, for a scrub that
    /// leaves others room. Throws `.cancelled`; takes a bit of memory for each block of the pool.
    public func scrub(_ control: JobControl, pause: () -> Void = {}) throws(PoolError) -> ScrubReport {
        let scrub = Scrub(pool: self, control: control)
        return try scrub.run(pause: pause)
    }
}

/// One run of `Pool.scrub`.
private final class Scrub {
    private let pool: Pool
    private let control: JobControl
    private let reader: NodeReader
    private let block: AlignedBuffer
    private var report = ScrubReport()
    private var seen: [UInt64]
    /// Blocks that cannot be read, for those who are found to have them too.
    private var damaged: [DamagedBlock: PoolError] = [:]

    private struct DamagedBlock: Hashable {
        var address: BlockAddress
        var checksum: UInt32
    }

    init(pool: Pool, control: JobControl) {
        self.pool = pool
        self.control = control
        reader = NodeReader(device: pool.device, map: pool.map, pool: pool.poolID)
        block = AlignedBuffer(count: pool.geometry.blockSize)
        seen = [UInt64](repeating: 0, count: (pool.map.blockCount + 63) / 64)
    }

    func run(pause: () -> Void) throws(PoolError) -> ScrubReport {
        control.setTotal(pool.usage().allocated)
        // Opening the pool for writing has mended some already.
        report.healedCopies = pool.state.withLock { state in
            defer { state.mendedSuperblocks = 0 }
            return state.mendedSuperblocks
        }
        var problem: PoolError?
        do throws(PoolError) {
            report.healedCopies += try pool.mendPlaces()
        } catch {
            // What is stored elsewhere is looked at all the same.
            problem = error
        }
        try scrubCatalog()
        for volume in pool.volumes() {
            for object in [volume] + pool.snapshots(of: volume.id) { try scrub(object, pause: pause) }
        }
        if report.healedCopies > 0 { try pool.barrier() }
        if let problem { throw problem }
        return report
    }

    // MARK: The catalog

    private func scrubCatalog() throws(PoolError) {
        let nodes = pool.state.withLock { state in
            var nodes: [NodePointer] = []
            state.catalog.tree.forEach { nodes.append($0) }
            state.shares.tree.forEach { nodes.append($0) }
            for version in state.versions.values { nodes += version.propertyNodes }
            return nodes
        }
        for node in nodes where isNew(node.address) {
            report.checkedNodes += 1
            // A checkpoint may have replaced it while we looked: then it is no longer there to heal.
            guard reader.damagedCopy(node, buffer: block.bytes) != nil else { continue }
            try heal(node, .catalog)
        }
    }

    // MARK: Objects

    /// What one leaf says, and the nodes above it.
    private struct LeafView: Sendable {
        var first: UInt64
        var version: UInt64
        var nodes: [MissingNode]
        var entries: [Entry]
    }

    private func scrub(_ object: ObjectInfo, pause: () -> Void) throws(PoolError) {
        let span = pool.geometry.span(level: 0)
        let end = pool.geometry.blocks(covering: object.size)
        var at: UInt64 = 0
        while at < end {
            if control.isCancelled { throw .cancelled }
            do throws(PoolError) {
                guard let leaf = try view(object.id, from: at, end: end) else { return }
                try check(leaf, of: object)
                at = leaf.first + span
                pause()
            } catch .notFound {
                // Deleted meanwhile.
                return
            } catch {
                guard case .corrupt = error else { throw error }
                at = try skipUnreadable(object, from: at, end: end, error)
            }
        }
    }

    /// The next mapped leaf at or after a block; nil if there is none.
    private func view(_ object: UInt64, from block: UInt64, end: UInt64) throws(PoolError) -> LeafView? {
        let view = try pool.withNodes { state, missing throws(PoolError) -> LeafView? in
            let version = try state.version(of: object)
            guard let first = state.nextLeaf(version, from: block, end: end, missing: &missing) else { return nil }
            guard first < end else { return LeafView(first: end, version: 0, nodes: [], entries: []) }
            var view = LeafView(first: first, version: version.id, nodes: [], entries: [])
            for level in stride(from: version.level, through: 0, by: -1) {
                guard let found = state.descend(version, to: level, block: first, missing: &missing) else { return nil }
                let start = first & ~(state.span(level) - 1)
                // A node that is only in memory, or that a checkpoint is writing just now, is not on the device yet.
                if case .disk(let pointer, _) = found.reference {
                    view.nodes.append(MissingNode(pointer: pointer, level: level, first: start))
                }
            }
            guard let leaf = state.leaf(version, first, missing: &missing) else { return nil }
            view.entries = (0..<state.geometry.fanout).map { leaf.entry($0, state.geometry.fanout) }
            return view
        }
        return view.entries.isEmpty ? nil : view
    }

    private func check(_ leaf: LeafView, of object: ObjectInfo) throws(PoolError) {
        for node in leaf.nodes where isNew(node.pointer.address) {
            report.checkedNodes += 1
            control.advance(UInt64(pool.geometry.blockSize * NodePointer.copies(level: node.level)))
            if reader.damagedCopy(node.pointer, buffer: block.bytes) != nil {
                try heal(node.pointer, .tree(node, version: leaf.version))
            } else if node.level == 0, !isReadable(node.pointer), pool.state.withLock({ $0.has(node, in: leaf.version) }) {
                // Still in use, and in memory perhaps, but the next reader will not find it.
                let problem = PoolError.corrupt(.node, position: pool.map.offset(of: node.pointer.address), .checksum)
                damaged[DamagedBlock(address: node.pointer.address, checksum: node.pointer.checksum)] = problem
            }
        }
        for node in leaf.nodes where node.level == 0 {
            guard let problem = damaged[DamagedBlock(address: node.pointer.address, checksum: node.pointer.checksum)] else { continue }
            lose(object, node.first, pool.geometry.span(level: 0), problem)
        }
        let unit = UInt64(pool.geometry.blockSize)
        for (slot, entry) in leaf.entries.enumerated() {
            if entry.isPoisoned { lose(object, leaf.first + UInt64(slot), 1, .corrupt(.data, position: 0, .missing)) }
            guard entry.address != .none else { continue }
            if let problem = damaged[DamagedBlock(address: entry.address, checksum: entry.checksum)] {
                lose(object, leaf.first + UInt64(slot), 1, problem)
                continue
            }
            guard isNew(entry.address) else { continue }
            report.checkedBlocks += 1
            control.advance(unit)
            do throws(PoolError) {
                // Verifies against the entry that counts by then.
                try pool.readBlocks(object.id, first: leaf.first + UInt64(slot), into: block.bytes)
            } catch {
                if case .notFound = error { throw error }
                damaged[DamagedBlock(address: entry.address, checksum: entry.checksum)] = error
                lose(object, leaf.first + UInt64(slot), 1, error)
            }
        }
    }

    private func isReadable(_ node: NodePointer) -> Bool { (try? reader.read(node, into: block.bytes)) != nil }

    /// Notes what lies below an unreadable node as lost, and returns where to go on.
    private func skipUnreadable(_ object: ObjectInfo, from at: UInt64, end: UInt64, _ error: PoolError) throws(PoolError) -> UInt64 {
        let span = pool.geometry.span(level: 0)
        let next = min(end, at / span * span + span)
        lose(object, at, next - at, error)
        return next
    }

    private func lose(_ object: ObjectInfo, _ block: UInt64, _ count: UInt64, _ error: PoolError) {
        let unit = UInt64(pool.geometry.blockSize)
        let offset = block * unit, bytes = count * unit
        if let last = report.problems.last, last.object == object.fullName, last.offset + last.count == offset {
            report.problems[report.problems.count - 1].count += bytes
        } else {
            report.problems.append(.init(object: object.fullName, offset: offset, count: bytes, error: error))
        }
    }

    /// Where a node is in use.
    private enum Place: Sendable { case catalog, tree(MissingNode, version: UInt64) }

    /// Writes a node's damaged copy again from the other. No checkpoint runs meanwhile, so its blocks are nobody else's even
    /// if the node is given up now.
    private func heal(_ node: NodePointer, _ place: Place) throws(PoolError) {
        try pool.checkpointLock.withLock { _ throws(PoolError) in
            let mayWrite = pool.state.withLock { state in
                guard !state.isReadOnly && !state.isSuspended else { return false }
                switch place {
                case .catalog:
                    return state.catalog.tree.contains(node) || state.shares.tree.contains(node) || state.versions.values.contains { $0.propertyNodes.contains(node) }
                case .tree(let node, let version): return state.has(node, in: version)
                }
            }
            guard mayWrite, let position = reader.damagedCopy(node, buffer: block.bytes) else { return }
            _ = try reader.read(node, into: block.bytes)
            try pool.device.write(UnsafeRawBufferPointer(block.bytes), at: position)
            report.healedCopies += 1
        }
    }

    /// True the first time.
    private func isNew(_ address: BlockAddress) -> Bool {
        let index = pool.map.index(of: address)
        // The pool may have grown.
        while index / 64 >= seen.count { seen.append(0) }
        if seen[index / 64] >> UInt64(index % 64) & 1 == 1 { return false }
        seen[index / 64] |= 1 << UInt64(index % 64)
        return true
    }
}

extension PoolState {
    /// True if a version's tree has this node at its place, as far as that can be seen in memory.
    func has(_ node: MissingNode, in version: UInt64) -> Bool {
        guard let version = versions[version] else { return false }
        var missing: [MissingNode] = []
        guard let found = descend(version, to: node.level, block: node.first, missing: &missing) else { return false }
        return found.level == node.level && found.reference.pointer == node.pointer
    }
}
