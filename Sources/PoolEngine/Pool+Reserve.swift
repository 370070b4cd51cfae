public import BlockStorage
internal import Synchronization

extension Pool {
    /// Promises that writes of up to four leaves (4 MiB) into a range of a volume are never refused for lack of space. Nothing is
    /// written; the promise is durable on return. It outlives discards, and goes with what a smaller size cuts off. Every snapshot of the
    /// volume needs as much again for what it then shares. Throws `.outOfSpace` if it cannot be promised, `.tooLarge` beyond the
    /// largest volume.
    public func reserve(_ volume: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, end <= geometry.maximumVolumeSize else { throw .tooLarge(size: end, limit: geometry.maximumVolumeSize) }
        let range = offset / UInt64(geometry.blockSize)..<geometry.blocks(covering: end)
        if range.isEmpty { return }
        do throws(PoolError) {
            try setReserved(volume, backed: 0) { $0.adding(range, limit: $1) }
        } catch {
            // Perhaps much of it is the volume's own already, and needs no promise.
            guard case .outOfSpace = error, let backed = try countBacked(volume, range), backed > 0 else { throw error }
            try setReserved(volume, backed: backed) { $0.adding(range, limit: $1) }
        }
    }

    /// Takes the promise for a range back. Durable on return.
    public func unreserve(_ volume: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        let (end, overflow) = offset.addingReportingOverflow(count)
        let first = geometry.blocks(covering: offset), last = (overflow ? .max : end) / UInt64(geometry.blockSize)
        if first < last { try setReserved(volume, backed: 0) { $0.removing(first..<last, limit: $1) } }
    }

    /// Bytes of the volume that are reserved.
    public func reserved(_ volume: UInt64) throws(PoolError) -> UInt64 {
        try state.withLock { state throws(PoolError) in try state.version(of: volume).reserved.count } * UInt64(geometry.blockSize)
    }

    /// Enters other ranges. `backed` of the blocks they add are the volume's own, counted just now.
    private func setReserved(
        _ volume: UInt64, backed: UInt64, _ ranges: (BlockRanges, Int) -> BlockRanges
    ) throws(PoolError) {
        let isChanged = try state.withLock { state throws(PoolError) in
            let old = try state.writableVersion(of: volume).reserved
            return ranges(old, state.maximumRanges) != old
        }
        if !isChanged { return try flush(volume) }
        _ = try change(.growing, versions: 1, extra: { state throws(PoolError) in
            let version = try state.writableVersion(of: volume)
            let new = ranges(version.reserved, state.maximumRanges)
            let data = Int(clamping: new.count) - Int(clamping: version.reserved.count) - Int(clamping: backed)
            let nodes = state.nodeBlocks(new, level: version.level) - state.nodeBlocks(version.reserved, level: version.level)
            let float = state.promiseHolders.isEmpty ? 4 * state.geometry.fanout + 64 : 0
            return max(0, data) + max(0, nodes) + float + state.propertyBlocks(volume) + PropertyChain.blocks(bytes: 4096, geometry: state.geometry)
        }) { state, environment throws(PoolError) in
            let version = try state.writableVersion(of: volume)
            let new = ranges(version.reserved, state.maximumRanges)
            let record = JournalRecord.property(
                version: version.id, name: PoolState.reservedProperty, value: new.isEmpty ? nil : new.encoded, time: environment.now())
            return (volume, [record])
        }
        guard backed > 0 else { return }
        // Now counted as promised, though the volume has them: the difference is free again when that is durable.
        state.withLock { state in state.objects[volume]?.needsRecount = true }
        while try recountPromises() {}
        try checkpoint()
    }

    /// Blocks of a range that are the volume's own; nil if it changed while they were counted.
    private func countBacked(_ volume: UInt64, _ range: Range<UInt64>) throws(PoolError) -> UInt64? {
        var at = range.lowerBound, backed: UInt64 = 0
        let start = try state.withLock { state throws(PoolError) in try state.version(of: volume).lastLSN }
        while at < range.upperBound {
            let from = at
            let step = try withNodes { state, missing throws(PoolError) -> (backed: UInt64, next: UInt64)? in
                state.backedBlocks(try state.version(of: volume), from..<range.upperBound, missing: &missing)
            }
            backed += step.backed
            at = step.next
        }
        let end = try state.withLock { state throws(PoolError) in try state.version(of: volume).lastLSN }
        return start == end ? backed : nil
    }

    /// A step of counting promises that may be too large. False if there is none.
    func recountPromises() throws(PoolError) -> Bool {
        try withNodes { state, missing throws(PoolError) -> Bool? in state.recountPromise(leaves: 64, missing: &missing) }
    }
}
