public import BlockStorage

/// What happens in the background, in steps that the caller's thread makes.
extension Pool {
    /// Does a bounded piece of what is due: a checkpoint, freeing deleted versions, giving free segments back to the
    /// host. Returns true if there is more to do now. Call it from one thread, a few times a second when idle.
    @discardableResult
    public func maintain() throws(PoolError) -> Bool {
        if state.withLock({ $0.isReadOnly || $0.isSuspended }) { return false }
        if isCheckpointDue() { try checkpoint(.routine) }
        if try reap(budget: 4096) { return true }
        if try recountPromises() { return true }
        // What was freed should count as free now, not only when the next checkpoint is due.
        if state.withLock({ $0.hasReaped }) { try checkpoint(.routine) }
        if isSettlingDue() { try checkpoint(.settling) }
        return try punchFreeSegments(warm: state.withLock { $0.isHostFull } ? 0 : warmSegments)
    }

    /// Frees deleted versions until nothing is left that can be freed, and makes that durable.
    public func finishReaping() throws(PoolError) {
        while try reap(budget: 65_536) {}
        try checkpoint(.routine)
    }

    /// Frees at most about `budget` blocks of deleted versions. False if there is none to free.
    @discardableResult
    public func reap(budget: Int) throws(PoolError) -> Bool {
        if state.withLock({ $0.hidden.isEmpty }) { return false }
        // The walk changes version records only, but a checkpoint must be able to store those.
        let needed = try admit(0, isForReaping: true) { state, _ throws(PoolError) -> Int? in
            let needed = 3 * (state.catalogPathBlocks + 1)
            return needed <= state.available(.freeing) ? needed : -needed
        }
        defer { state.withLock { $0.reservedBlocks -= needed } }
        var unreadable: [NodePointer] = []
        while true {
            let result = state.withLock { $0.reap(budget: budget) }
            guard case .missing(let nodes) = result else { return result.hasProgressed }
            do throws(PoolError) {
                try load(nodes)
            } catch {
                // Twice the same: it is damaged, and not a node that was freed while it was read. One bad block must not
                // keep all others from being freed.
                let pointers = nodes.map(\.pointer)
                if pointers != unreadable {
                    unreadable = pointers
                    continue
                }
                let skipped = state.withLock { state -> Bool? in
                    // Somebody else may have gone on from there.
                    guard case .missing(let now) = state.reap(budget: 1), now.map(\.pointer) == pointers else { return nil }
                    state.counters.skippedNodes += 1
                    return state.reap(budget: 1, skipsMissing: true).hasProgressed
                }
                if let skipped { return skipped }
                unreadable = []
            }
        }
    }

    private var warmSegments: Int {
        if configuration.warmSegments == 0 { return 0 }
        let share = map.blockCount / geometry.segmentBlocks / 64, limit = (512 << 20) / geometry.segmentSize
        return max(configuration.warmSegments, min(share, limit))
    }

    private func isCheckpointDue() -> Bool {
        let now = environment.now()
        return state.withLock { state in
            guard state.hasChanges else { return false }
            let isOld = now &- state.superblock.written >= configuration.checkpointInterval
            return isOld || state.journal.usedFrames > state.journal.frames / 2
                || state.dirtyBlocks * state.geometry.blockSize > configuration.dirtySize
                || state.space.quarantinedCount * state.geometry.blockSize > configuration.quarantineSize
                || state.space.deltaCount > Self.deltaLimit
        }
    }

    /// What was freed is free two checkpoints later. Where nothing changes any more the second one has no other cause.
    private func isSettlingDue() -> Bool {
        let now = environment.now()
        return state.withLock { $0.maySettle && now &- $0.superblock.written >= configuration.checkpointInterval }
    }

    /// Gives wholly free segments back to the host: those that left quarantine, as only they are needed by nobody
    /// (rule R5). While one is punched nobody allocates from it. `warm` of them are kept. True if there may be more.
    func punchFreeSegments(warm: Int) throws(PoolError) -> Bool {
        guard configuration.discardsFreeSegments else { return false }
        let now = environment.now()
        let segments = state.withLock { $0.holdForPunching(warm: warm, now: now) }
        guard !segments.isEmpty else { return false }
        var punched = 0
        defer { state.withLock { $0.space.endHold(segments, punched: punched) } }
        for segment in segments {
            try device.discard(
                at: map.offset(of: map.address(of: segment * geometry.segmentBlocks)), count: UInt64(geometry.segmentSize))
            punched += 1
            state.withLock { $0.counters.punchedBytes += UInt64(geometry.segmentSize) }
        }
        return true
    }
}

extension PoolState {
    /// Up to 16 segments to punch, and no more than half of what writers may still take.
    mutating func holdForPunching(warm: Int, now: UInt64) -> [Int] {
        let limit = punchLimit
        return limit > 0 ? space.holdFreeSegments(limit, warm: warm, now: now) : []
    }

    private var punchLimit: Int { min(16, available(.growing) / (2 * geometry.segmentBlocks)) }

    /// Whether there may be a segment to punch.
    var mayPunch: Bool { punchLimit > 0 && space.hasUnpunched }
}
