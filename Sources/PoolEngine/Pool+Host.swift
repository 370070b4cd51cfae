internal import BlockStorage
internal import Synchronization

/// Storage of the layer below, the host's, for what must not fail.
///
/// A pool's file is sparse, and the host may become full at any time. Data that finds no room is refused, and nothing has changed.
/// The rings were written when the pool was made. That leaves what a checkpoint writes elsewhere, nodes and bitmap pages: for
/// those storage is asked for when a change is admitted, so that it is the change that is refused, and never the checkpoint that
/// fails. On a host that copies on write even a write to a range with storage can fail; there this is no help.
extension Pool {
    /// Sees to it that what the next checkpoint may write has storage. Throws `.system(_, ENOSPC)` if it has not: then also
    /// none of those segments had any that were in use before, at most as many as `attempts`.
    func back(margin: Int, attempts: Int = 64) throws(PoolError) {
        var refused: [PoolState.Backing] = [], problem: PoolError?
        defer { if !refused.isEmpty { state.withLock { state in for step in refused { state.endBacking(step, isBacked: false) } } } }
        while refused.count < attempts, let step = state.withLock({ $0.nextBacking(margin: margin, onlyTouched: problem != nil) }) {
            do throws(PoolError) {
                switch step {
                case .pages(let regions): try backPages(upTo: regions)
                case .segment(let segment):
                    let start = map.address(of: segment * geometry.segmentBlocks)
                    try device.allocate(at: map.offset(of: start), count: UInt64(geometry.segmentSize))
                }
                state.withLock { $0.endBacking(step, isBacked: true) }
            } catch {
                refused.append(step)
                // Those of one region less will do.
                if case .pages = step, problem != nil { throw error }
                problem = error
            }
        }
        if let problem, state.withLock({ $0.isBackingShort(margin: margin) }) { throw problem }
    }

    /// Bytes that the host has storage for and that hold nothing.
    var unusedStorage: UInt64 {
        guard let allocated = device.storage?.allocated else { return 0 }
        let used = geometry.firstZoneOffset + state.withLock { UInt64($0.space.liveCount * geometry.blockSize) }
        return allocated > used ? allocated - used : 0
    }

    /// On a full host: what is deleted is freed, and what is free given back, now and not when its turn comes. What of it the
    /// next writer can take has storage.
    func makeHostRoom() throws(PoolError) {
        state.withLock { $0.isHostFull = true }
        while try reap(budget: 65_536) {}
        for _ in 0..<2 { try checkpoint(.forSpace) }
        while try punchFreeSegments(warm: 0) {}
    }

    private func backPages(upTo regions: Int) throws(PoolError) {
        let block = UInt64(geometry.blockSize)
        for zone in map.zones where zone.firstRegion < regions {
            let count = min(zone.regionCount, regions - zone.firstRegion)
            try device.allocate(at: zone.header.bitmapOffset, count: UInt64(2 * count) * block)
        }
    }
}

extension PoolState {
    enum Backing: Sendable {
        /// Bitmap pages of regions below that number.
        case pages(Int)
        case segment(Int)
    }

    /// Blocks with storage that only changes other than writes may use: those that make room, above all.
    var backingMargin: Int { min(512, reserveBlocks / 4) }

    func isBackingShort(margin: Int) -> Bool {
        space.touchedLimit > backedLimit || blocksToBack + margin > space.backedCount
    }

    /// What is to be given storage next. Nil if nothing is missing.
    mutating func nextBacking(margin: Int, onlyTouched: Bool) -> Backing? {
        // One region ahead of data, where that can be.
        if space.touchedLimit > backedLimit { return .pages(min(space.touchedRegions + (onlyTouched ? 0 : 1), space.map.regionCount)) }
        let needed = blocksToBack + margin, isShort = needed > space.backedCount
        // And what copies need to be far away, for which nothing is refused and no remnants are gathered.
        let spare = space.separatesCopies && !onlyTouched && !isHostFull ? Allocator.spareSegments * geometry.segmentBlocks : 0
        guard isShort || needed + spare > space.backedCount else { return nil }
        if let segment = space.beginBacking(onlyTouched: onlyTouched, takesRemnants: isShort) { return .segment(segment) }
        if isShort && !onlyTouched { space.endBacking() }
        return nil
    }

    mutating func endBacking(_ step: Backing, isBacked: Bool) {
        isHostFull = !isBacked
        switch step {
        case .segment(let segment): space.endBacking(segment, isBacked: isBacked)
        case .pages(let regions):
            guard isBacked else { return }
            // Asked for again when the last of them is touched; with none ahead, when one behind them is.
            let last = regions > space.touchedRegions ? regions - 1 : regions
            backedLimit = regions < space.map.regionCount ? space.map.firstBlock(ofRegion: last) : space.blockCount
        }
    }
}
