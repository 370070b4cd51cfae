public import BlockStorage

extension Pool {
    /// Makes `count` bytes of `destination` from `target` on the same as those of `source` from `offset` on, by referring to the
    /// same blocks: no data is read or written, and no space is taken but for the map. Holes stay holes. The destination grows as
    /// it does by a write. Returns how many bytes were done; less than `count` where the rest cannot be shared and has to be
    /// copied: partly covered blocks, ranges that lie differently within blocks, blocks with too many references, and the reserved
    /// ranges of a volume; or where the space for the map ended, or `control` was cancelled. A leaf's worth of blocks changes at one moment. Ends of process and power as for `write`.
    ///
    /// Throws `.outOfRange` beyond the source's end, `.invalid(.value)` for ranges of one object that overlap,
    /// `.corrupt(.data)` for a block whose contents are lost, `.outOfSpace` where not even the first of it has room.
    public func share(
        from source: UInt64, at offset: UInt64, to destination: UInt64, at target: UInt64, count: UInt64,
        control: JobControl = JobControl()
    ) throws(PoolError) -> UInt64 {
        let unit = UInt64(geometry.blockSize)
        let sizes = (try size(source).bytes, try size(destination).bytes)
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, end <= sizes.0 else { throw .outOfRange(offset: offset, count: count, size: sizes.0) }
        let (targetEnd, tooFar) = target.addingReportingOverflow(count)
        guard !tooFar, targetEnd <= geometry.maximumVolumeSize else { throw .tooLarge(size: targetEnd, limit: geometry.maximumVolumeSize) }
        guard offset % unit == 0, target % unit == 0 else { return 0 }
        // The last block of both ends is zero behind them, and can be shared whole.
        let isWhole = count % unit == 0 || (end == sizes.0 && targetEnd >= sizes.1)
        let blocks = isWhole ? geometry.blocks(covering: count) : count / unit
        let from = offset / unit, to = target / unit
        if source == destination, from < to + blocks, to < from + blocks { throw .invalid(.value) }
        var done: UInt64 = 0, lsn: UInt64 = 0
        while done < blocks {
            if control.isCancelled { break }
            let part = BlockCopy(
                source: source, destination: destination, from: from + done, to: to + done, count: blocks - done,
                partialEnds: isWhole && count % unit != 0 ? (end, targetEnd) : nil)
            do throws(PoolError) {
                let step = try share(part, size: min(targetEnd, (to + blocks) * unit))
                lsn = max(lsn, step.lsn)
                if step.count == 0 { break }
                done += step.count
            } catch {
                if case .outOfSpace = error, done > 0 { break }
                throw error
            }
        }
        if lsn > 0 { try writeJournal(upTo: lsn) }
        return min(done * unit, count)
    }

    /// Blocks to be shared, by number.
    struct BlockCopy: Sendable {
        var source: UInt64, destination: UInt64
        var from: UInt64, to: UInt64, count: UInt64
        /// Ends of both ranges in bytes, if they end within a block: it can be shared only while nothing lies behind them in it.
        var partialEnds: (source: UInt64, destination: UInt64)?
    }

    private struct ShareStep: Sendable {
        /// Blocks done; 0 if these cannot be shared.
        var count: UInt64
        var lsn: UInt64
    }

    /// Shares what lies in one leaf of the destination, or passes over a hole of both, or makes one where only the source has it.
    private func share(_ copy: BlockCopy, size: UInt64) throws(PoolError) -> ShareStep {
        let unit = UInt64(geometry.blockSize)
        while true {
            let plan = try withNodes { state, missing throws(PoolError) -> SharePlan? in try state.planShare(copy, missing: &missing) }
            switch plan.kind {
            case .refused: return ShareStep(count: 0, lsn: 0)
            case .hole:
                try discardMapped(copy.destination, copy.to..<copy.to + plan.count)
                // The last hole makes the volume as large as data would.
                let end = min(size, (copy.to + plan.count) * unit)
                try grow(copy.destination, to: end)
                return ShareStep(count: plan.count, lsn: 0)
            case .blocks: break
            }
            let promise = try admit(copy.destination, isForData: true) { state, _ throws(PoolError) -> Int? in
                let needed = try state.blocksNeeded(copy, plan)
                return needed <= state.available(.growing) ? needed : -needed
            }
            defer { state.withLock { $0.reservedBlocks -= promise } }
            let frames = try reserveJournal(bytes: plan.entries.count * (JournalRecord.writeHeaderSize + 16) + JournalRecord.writeHeaderSize)
            defer { state.withLock { $0.journal.endReservation(frames) } }
            let now = environment.now()
            let lsn = try withNodes { state, missing throws(PoolError) -> UInt64?? in
                // What was planned may be something else by now.
                guard let again = try state.planShare(copy, missing: &missing) else { return nil }
                guard again == plan, try state.blocksNeeded(copy, plan) <= promise else { return .some(nil) }
                let version = try state.writableVersion(of: copy.destination)
                let end = min(size, (copy.to + plan.count) * unit)
                if let limit = state.shrinking[copy.destination], end > limit { throw .inUse }
                guard state.newNodeBlocks(version, copy.to, missing: &missing) != nil else { return nil }
                return .some(state.commitShare(version, copy, plan, size: end, time: now))
            }
            if let lsn { return ShareStep(count: plan.count, lsn: lsn) }
        }
    }

    /// By a write of one zero, which is atomic: a change of size would cut off what somebody writes behind `end` meanwhile.
    private func grow(_ volume: UInt64, to end: UInt64) throws(PoolError) {
        guard try size(volume).bytes < end else { return }
        let zero = AlignedBuffer(count: 1)
        try write(volume, at: end - 1, UnsafeRawBufferPointer(zero.bytes), growing: true)
    }

    /// A discard of whole blocks, where anything is mapped.
    private func discardMapped(_ volume: UInt64, _ blocks: Range<UInt64>) throws(PoolError) {
        let unit = UInt64(geometry.blockSize), size = try size(volume).bytes
        let start = blocks.lowerBound * unit, end = min(size, blocks.upperBound * unit)
        if start < end { try discardRange(volume, from: start, to: end, size: size) }
    }
}

/// What one step of a share will do.
struct SharePlan: Equatable, Sendable {
    enum Kind: Sendable { case blocks, hole, refused }
    var kind: Kind
    var count: UInt64
    /// Of the source, as many as `count`.
    var entries: [Entry] = []

    var addresses: [BlockAddress] { entries.filter { !$0.isHole }.map(\.address) }
}

extension PoolState {
    /// Looks at what the source has. Nil if nodes are missing.
    func planShare(_ copy: Pool.BlockCopy, missing: inout [MissingNode]) throws(PoolError) -> SharePlan? {
        let source = try version(of: copy.source)
        let version = try writableVersion(of: copy.destination)
        let end = copy.from + copy.count
        if let ends = copy.partialEnds, source.record.size != ends.source || version.record.size > ends.destination {
            return SharePlan(kind: .refused, count: 0)
        }
        guard copy.from < geometry.blocks(covering: source.record.size) else { return SharePlan(kind: .refused, count: 0) }
        guard let mapped = nextLeaf(source, from: copy.from, end: end, missing: &missing) else { return nil }
        if mapped > copy.from { return SharePlan(kind: .hole, count: mapped - copy.from) }
        // To the end of the leaf, in the source and in the destination.
        let leafEnd = min(end, (copy.from & ~(span(0) - 1)) + span(0))
        let count = min(leafEnd - copy.from, span(0) - copy.to % span(0))
        guard let leaf = leaf(source, copy.from, missing: &missing) else { return nil }
        let first = slot(copy.from, 0)
        let entries = (first..<first + Int(count)).map { leaf.entry($0, geometry.fanout) }
        if entries.contains(where: \.isPoisoned) { throw .corrupt(.data, position: 0, .missing) }
        if entries.allSatisfy(\.isHole) { return SharePlan(kind: .hole, count: count) }
        guard newNodeBlocks(version, copy.to, missing: &missing) != nil else { return nil }
        // A replay does not know the blocks that were moved since the last durable checkpoint: a record may not name them.
        if space.tail != nil || lastMove > superblock.epoch { return SharePlan(kind: .refused, count: 0) }
        // An overwritten block that somebody else refers to gives nothing back: no promise could be kept.
        if version.reserved.overlaps(copy.to..<copy.to + count) || source.reserved.overlaps(copy.from..<copy.from + count) {
            return SharePlan(kind: .refused, count: 0)
        }
        let plan = SharePlan(kind: .blocks, count: count, entries: entries)
        return shares.growth(for: plan.addresses) == nil ? SharePlan(kind: .refused, count: 0) : plan
    }

    /// Blocks that the step can take, at the most: nodes, and pages of the table.
    func blocksNeeded(_ copy: Pool.BlockCopy, _ plan: SharePlan) throws(PoolError) -> Int {
        let version = try writableVersion(of: copy.destination)
        let level = max(version.level, geometry.level(covering: copy.to + plan.count))
        // A plan whose blocks could not be counted was refused.
        let growth = shares.growth(for: plan.addresses) ?? 0
        return Self.pathBlocks(level: level) + 2 * (level - version.level) + 2 * catalogPathBlocks + growth
    }

    /// Makes the records of a step and applies them. The destination's path is in memory. Returns the last LSN.
    mutating func commitShare(_ version: Version, _ copy: Pool.BlockCopy, _ plan: SharePlan, size: UInt64, time: UInt64) -> UInt64 {
        var records: [JournalRecord] = []
        var missing: [MissingNode] = []
        var index = 0
        while index < plan.entries.count {
            let block = copy.to + UInt64(index)
            let kind = kind(of: plan.entries[index], over: entry(version, block, missing: &missing))
            var end = index + 1
            while end < plan.entries.count,
                self.kind(of: plan.entries[end], over: entry(version, copy.to + UInt64(end), missing: &missing)) == kind
            { end += 1 }
            let part = plan.entries[index..<end]
            switch kind {
            case .same: break
            case .hole:
                records.append(.hole(version: version.id, generation: version.generation, first: block, count: UInt64(part.count)))
            case .block:
                records.append(
                    .share(
                        version: version.id, generation: version.generation, first: block, runs: runs(of: part),
                        checksums: part.map(\.checksum)))
            }
            index = end
        }
        if size > version.record.size { records.append(.resize(version: version.id, size: size, time: time)) }
        if records.isEmpty { return 0 }
        version.noteData(at: time)
        counters.sharedBytes += UInt64(plan.entries.count { !$0.isHole } * geometry.blockSize)
        let lsn = append(records, version: version)
        // Whoever counted the source's own blocks before counts again.
        objects[copy.source]?.lastLSN = lsn
        return lsn
    }

    private enum ShareKind { case same, hole, block }

    private func kind(of entry: Entry, over old: Entry?) -> ShareKind {
        if entry.isHole { return old?.isHole == true ? .same : .hole }
        return old?.address == entry.address ? .same : .block
    }

    private func runs(of entries: ArraySlice<Entry>) -> [BlockRun] {
        entries.reduce(into: []) { runs, entry in
            let run = BlockRun(start: entry.address, count: 1)
            if let last = runs.last, let joined = space.map.joined(last, run) {
                runs[runs.count - 1] = joined
            } else {
                runs.append(run)
            }
        }
    }
}
