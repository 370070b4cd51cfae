public import BlockStorage
internal import Synchronization

extension Pool {
    /// Makes the range read as zero and gives its blocks back. Blocks that only this volume has are free at once; parts
    /// of blocks at the edges are overwritten with zeros. Beyond the volume's end nothing happens. Ends of process and
    /// power as for `write`. Costs by what is mapped there, not by the range's length.
    public func discard(_ volume: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        let size = try state.withLock { state throws(PoolError) in
            state.counters.discards += 1
            return try state.writableVersion(of: volume).record.size
        }
        let (end, overflow) = offset.addingReportingOverflow(count)
        try discardRange(volume, from: offset, to: overflow ? size : min(end, size), size: size)
    }

    /// `size` is the volume's: a last block that it cuts counts as whole.
    func discardRange(_ volume: UInt64, from start: UInt64, to end: UInt64, size: UInt64) throws(PoolError) {
        guard start < end else { return }
        let unit = UInt64(geometry.blockSize)
        let first = roundUp(start, to: unit)
        let last = end == size ? geometry.blocks(covering: end) : end / unit
        if start % unit != 0 { try zero(volume, from: start, to: min(first, end)) }
        if end % unit != 0 && end != size && end > first { try zero(volume, from: max(start, end / unit * unit), to: end) }
        guard first / unit < last else { return }
        try discardBlocks(volume, from: first / unit, to: last)
    }

    /// Overwrites part of one block with zeros, unless it is a hole.
    private func zero(_ volume: UInt64, from start: UInt64, to end: UInt64) throws(PoolError) {
        if try extent(volume, at: start)?.isData != true { return }
        let zeros = AlignedBuffer(count: Int(end - start))
        try write(volume, at: start, UnsafeRawBufferPointer(zeros.bytes))
    }

    private func discardBlocks(_ volume: UInt64, from first: UInt64, to end: UInt64) throws(PoolError) {
        var block = first
        var lsn: UInt64 = 0
        while block < end {
            let needed = try admit(volume) { state, missing throws(PoolError) -> Int? in
                let version = try state.writableVersion(of: volume)
                guard let step = state.planDiscard(version, from: block, end: end, missing: &missing) else { return nil }
                let needed = step.newNodes + version.level + 2 * state.catalog.pathLength + 1
                return needed <= state.available(.administrative) ? needed : -needed
            }
            defer { state.withLock { $0.reservedBlocks -= needed } }
            let frames = try reserveJournal(bytes: JournalRecord.writeHeaderSize)
            defer { state.withLock { $0.journal.endReservation(frames) } }
            let now = environment.now()
            (block, lsn) = try withNodes { state, missing throws(PoolError) -> (UInt64, UInt64)? in
                let version = try state.writableVersion(of: volume)
                guard let step = state.planDiscard(version, from: block, end: end, missing: &missing) else { return nil }
                if step.leaves.isEmpty { return (step.end, lsn) }
                let before = version.record.referenced
                let record = JournalRecord.hole(
                    version: version.id, generation: version.generation, first: block, count: step.end - block)
                let appended = state.append([record], version: version)
                version.record.modified = now
                state.counters.discardedBytes += (before - version.record.referenced) * UInt64(state.geometry.blockSize)
                return (step.end, appended)
            }
        }
        if lsn > 0 { try writeJournal(upTo: lsn) }
    }
}
