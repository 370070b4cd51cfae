public import BlockStorage

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
        // Whoever has enough needs no count of what is there already.
        var own = OwnBlocks()
        for _ in 0..<3 {
            if try !hasRoom(volume, range), let counted = try countOwn(volume, range) { own = counted }
            do throws(PoolError) {
                return try setReserved(volume, own: own) { $0.adding(range, limit: $1) }
            } catch {
                guard case .outOfSpace = error, own.isOutdated(try stamp(volume)) else { throw error }
            }
        }
        try setReserved(volume, own: own) { $0.adding(range, limit: $1) }
    }

    /// Takes the promise for a range back. Durable on return.
    public func unreserve(_ volume: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        let (end, overflow) = offset.addingReportingOverflow(count)
        let first = geometry.blocks(covering: offset), last = (overflow ? .max : end) / UInt64(geometry.blockSize)
        if first < last { try setReserved(volume, own: OwnBlocks()) { $0.removing(first..<last, limit: $1) } }
    }

    /// Bytes of the volume that are reserved.
    public func reserved(_ volume: UInt64) throws(PoolError) -> UInt64 {
        try state.withLock { state throws(PoolError) in try state.version(of: volume).reserved.count } * UInt64(geometry.blockSize)
    }

    /// Blocks that a volume was found to have for itself, and when.
    private struct OwnBlocks: Sendable {
        var count: UInt64 = 0
        var generation: UInt32 = 0
        var lsn: UInt64 = 0

        /// `now` is a later one.
        func isOutdated(_ now: OwnBlocks) -> Bool { count > 0 && (generation, lsn) != (now.generation, now.lsn) }
    }

    private func stamp(_ volume: UInt64) throws(PoolError) -> OwnBlocks {
        try state.withLock { state throws(PoolError) in
            let version = try state.version(of: volume)
            return OwnBlocks(generation: version.generation, lsn: version.lastLSN)
        }
    }

    /// True if there is space for all of a range's blocks, whatever the volume has of them.
    private func hasRoom(_ volume: UInt64, _ range: Range<UInt64>) throws(PoolError) -> Bool {
        try state.withLock { state throws(PoolError) in
            let version = try state.version(of: volume)
            return state.promise(for: version.reserved.adding(range, limit: state.maximumRanges), of: version) < state.available(.growing) / 2
        }
    }

    /// Enters other ranges. Of the blocks they add, `own` are the volume's own unless that is outdated.
    private func setReserved(_ volume: UInt64, own: OwnBlocks, _ ranges: (BlockRanges, Int) -> BlockRanges) throws(PoolError) {
        let (old, new) = try state.withLock { state throws(PoolError) in
            let old = try state.writableVersion(of: volume).reserved
            return (old, ranges(old, state.maximumRanges))
        }
        if old == new { return try flush() }
        // To give a promise back a full pool has room.
        let tier: PoolState.Tier = new.count < old.count ? .freeing : .growing
        let now = { (version: Version) in OwnBlocks(generation: version.generation, lsn: version.lastLSN) }
        _ = try change(tier, versions: 1, extra: { state throws(PoolError) in
            let version = try state.writableVersion(of: volume)
            let promise = state.promise(for: ranges(version.reserved, state.maximumRanges), of: version)
            let counted = own.isOutdated(now(version)) ? 0 : Int(clamping: own.count)
            let float = state.promiseHolders.isEmpty ? 4 * state.geometry.fanout + 64 : 0
            return max(0, promise - counted) + float + state.propertyBlocks(volume) + PropertyChain.blocks(bytes: 4096, geometry: state.geometry)
        }) { state, environment throws(PoolError) in
            let version = try state.writableVersion(of: volume)
            let new = ranges(version.reserved, state.maximumRanges)
            state.countedBacked = own.isOutdated(now(version)) ? 0 : Int(clamping: own.count)
            let record = JournalRecord.property(
                version: version.id, name: PoolState.reservedProperty, value: new.isEmpty ? nil : new.encoded, time: environment.now())
            return (volume, [record])
        }
        // What was counted is free for others when that is stored.
        if own.count > 0 { try checkpoint() }
    }

    /// Blocks of a range outside what is reserved already that are the volume's own; nil if it changed while they were counted.
    private func countOwn(_ volume: UInt64, _ range: Range<UInt64>) throws(PoolError) -> OwnBlocks? {
        var own = try stamp(volume)
        let reserved = try state.withLock { state throws(PoolError) in try state.version(of: volume).reserved }
        let new = BlockRanges().adding(range, limit: 1)
        let rest = reserved.ranges.reduce(new) { $0.removing($1, limit: .max) }
        for part in rest.ranges {
            var at = part.lowerBound
            while at < part.upperBound {
                let from = at
                let step = try withNodes { state, missing throws(PoolError) -> (backed: UInt64, next: UInt64)? in
                    state.backedBlocks(try state.version(of: volume), from..<part.upperBound, missing: &missing)
                }
                own.count += step.backed
                at = step.next
            }
        }
        let end = try stamp(volume)
        return (own.generation, own.lsn) == (end.generation, end.lsn) ? own : nil
    }

    /// A step of counting promises that may be too large. False if there is none. A promise below a node that cannot be read stays as
    /// large as it is.
    func recountPromises() throws(PoolError) -> Bool {
        do throws(PoolError) {
            return try withNodes { state, missing throws(PoolError) -> Bool? in state.recountPromise(leaves: 64, missing: &missing) }
        } catch {
            guard case .corrupt = error else { throw error }
            return state.withLock { $0.giveUpRecount() }
        }
    }
}

extension PoolState {
    /// What a volume would be promised more for other ranges, if nothing of what they add were its own.
    func promise(for ranges: BlockRanges, of version: Version) -> Int {
        let data = Int(clamping: ranges.count) - Int(clamping: version.reserved.count)
        let nodes = nodeBlocks(ranges, level: version.level) - nodeBlocks(version.reserved, level: version.level)
        return max(0, data) + max(0, nodes)
    }

    /// True if there was one to give up.
    mutating func giveUpRecount() -> Bool {
        let candidates = promiseHolders.compactMap { versions[$0] }.filter(\.needsRecount)
        guard let version = candidates.min(by: { $0.id < $1.id }) else { return false }
        (version.needsRecount, version.recount) = (false, nil)
        return true
    }
}
