public import BlockStorage

extension Pool {
    /// Makes the range read as zero and gives its blocks back. Blocks that only this volume has are free at once; parts
    /// of blocks at the edges are overwritten with zeros. Beyond the volume's end nothing happens. Ends of process and
    /// power as for `write`. Costs by what is mapped there, not by the range's length.
    public func discard(_ volume: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        let size = try state.withLock { state throws(PoolError) in
            let version = try state.writableVersion(of: volume)
            state.counters.discards += 1
            version.requests.discards += 1
            return version.record.size
        }
        let (end, overflow) = offset.addingReportingOverflow(count)
        try discardRange(volume, from: offset, to: overflow ? size : min(end, size), size: size)
    }

    /// `size` is the volume's: a last block that it cuts counts as whole. Space for the edges and the first step is
    /// promised before anything changes; the steps after it free more than they take, and may use the last space.
    func discardRange(_ volume: UInt64, from start: UInt64, to end: UInt64, size: UInt64) throws(PoolError) {
        guard start < end else { return }
        let unit = UInt64(geometry.blockSize)
        let first = roundUp(start, to: unit)
        let last = end == size ? geometry.blocks(covering: end) : end / unit
        var edges: [Range<UInt64>] = []
        if start % unit != 0 { edges.append(start..<min(first, end)) }
        if end % unit != 0 && end != size && end > first { edges.append(max(start, end / unit * unit)..<end) }
        let blocks = first / unit..<max(first / unit, last)
        let admitted = try admitStep(volume, blocks, edges: edges.count, .administrative)
        var promise = admitted.promise
        defer { state.withLock { $0.reservedBlocks -= promise } }
        for edge in edges { try zero(volume, edge, promise: &promise) }
        let isCut = end == size && end % unit != 0
        if try discardBlocks(volume, blocks, size: isCut ? size : .max, leaves: admitted.leaves, promise: &promise) { return }
        // The volume grew meanwhile, and what lies behind the old end in its last block is no longer ours.
        promise = try admitStep(volume, last..<last, edges: 1, .administrative).promise
        try zero(volume, max(start, end / unit * unit)..<end, promise: &promise)
    }

    /// Promises the nodes of a discard's next step, and a block and its nodes for each edge. A step of fewer leaves where
    /// there is no space for the usual number.
    private func admitStep(
        _ volume: UInt64, _ blocks: Range<UInt64>, edges: Int, _ tier: PoolState.Tier
    ) throws(PoolError) -> (promise: Int, leaves: Int) {
        var leaves = 0
        let promise = try admit(volume) { state, missing throws(PoolError) -> Int? in
            let version = try state.writableVersion(of: volume)
            leaves = state.leavesPerDiscard
            while true {
                guard let step = state.planDiscard(
                    version, from: blocks.lowerBound, end: blocks.upperBound, limit: leaves, missing: &missing)
                else { return nil }
                let path = PoolState.pathBlocks(level: version.level) + 2 * state.catalogPathBlocks
                let needed = step.newNodeBlocks + path + edges * (path + 1)
                if needed <= state.available(tier) { return needed }
                if leaves == 1 { return -needed }
                leaves /= 2
            }
        }
        return (promise, leaves)
    }

    /// Overwrites part of one block with zeros, unless it is a hole.
    private func zero(_ volume: UInt64, _ range: Range<UInt64>, promise: inout Int) throws(PoolError) {
        if try currentEntry(volume, range.lowerBound / UInt64(geometry.blockSize)).isHole { return }
        let zeros = AlignedBuffer(count: range.count)
        var request = try WriteRequest(
            object: volume, offset: range.lowerBound, bytes: UnsafeRawBufferPointer(zeros.bytes), isGrowing: false,
            geometry: geometry)
        request.isDiscard = true
        try perform(request, promise: &promise)
    }

    /// Makes holes, step by step. `promise` covers the first step, of at most `leaves` leaves, and is given back after it.
    /// False if the volume had grown beyond `size` before its last block's turn came: that block is left as it is.
    private func discardBlocks(
        _ volume: UInt64, _ blocks: Range<UInt64>, size: UInt64, leaves: Int, promise: inout Int
    ) throws(PoolError) -> Bool {
        var block = blocks.lowerBound, end = blocks.upperBound
        var lsn: UInt64 = 0
        var limit = leaves
        while block < end {
            if block > blocks.lowerBound { (promise, limit) = try admitStep(volume, block..<end, edges: 0, .freeing) }
            defer {
                state.withLock { $0.reservedBlocks -= promise }
                promise = 0
            }
            let frames = try reserveJournal(bytes: JournalRecord.writeHeaderSize)
            defer { state.withLock { $0.journal.endReservation(frames) } }
            let now = environment.now()
            (block, end, lsn) = try withNodes { state, missing throws(PoolError) -> (UInt64, UInt64, UInt64)? in
                let version = try state.writableVersion(of: volume)
                let end = version.record.size > size ? blocks.upperBound - 1 : blocks.upperBound
                if block >= end { return (block, end, lsn) }
                guard let step = state.planDiscard(version, from: block, end: end, limit: limit, missing: &missing) else {
                    return nil
                }
                if step.leaves.isEmpty { return (step.end, end, lsn) }
                let before = version.record.referenced
                let record = JournalRecord.hole(
                    version: version.id, generation: version.generation, first: block, count: step.end - block)
                let appended = state.append([record], version: version)
                version.noteData(at: now)
                let bytes = (before - version.record.referenced) * UInt64(state.geometry.blockSize)
                state.counters.discardedBytes += bytes
                version.requests.discardedBytes += bytes
                return (step.end, end, appended)
            }
        }
        if lsn > 0 { try writeJournal(upTo: lsn) }
        return end == blocks.upperBound
    }
}
