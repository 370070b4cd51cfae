internal import BlockStorage

/// Replaying the journal.
extension Pool {
    /// Brings the state of the last checkpoint forward to the end of the journal. Unless `isReadOnly`, a checkpoint with
    /// a new incarnation follows before the first new frame (rule R9), so that frames beyond the end found here can never
    /// be taken for a continuation. Until that checkpoint is durable nothing is written that a second recovery needs.
    func recover(from superblock: Superblock, isReadOnly: Bool) throws(PoolError) {
        let log = try scanJournal(superblock)
        if let epoch = log.newerEpoch { throw .corrupt(.superblock, position: epoch, .missing) }
        if let problem = log.problem { throw problem }
        startJournal(superblock, at: log.nextSequence, after: try replay(log, superblock))
        if isReadOnly { return }
        // On a full host there is storage in the places that it was asked for before, which are to be found.
        try back(margin: 0, attempts: .max)
        try checkpoint(.recovery)
        // What was freed last before an end of process, or a close, had not been given back.
        let unused = unusedStorage
        if unused > UInt64(16 * geometry.segmentSize) { state.withLock { $0.space.suspectStorage() } }
    }

    /// For repair: replays what of the journal is whole, and starts a new one behind it. Reports why it is not more.
    func recoverWhatIsThere(from superblock: Superblock, _ report: inout RepairReport) throws(PoolError) {
        let log = try scanJournal(superblock)
        if let lost = log.newerEpoch { report.findings.append(.olderSuperblock(epoch: superblock.epoch, lost: lost)) }
        var lastLSN = superblock.journalLSN - 1
        var problem = log.problem
        do throws(PoolError) {
            lastLSN = try replay(log, superblock)
        } catch {
            guard case .corrupt = error else { throw error }
            problem = error
            // Beyond what any record had.
            lastLSN = log.groups.reduce(lastLSN) { $0 + UInt64($1.count) }
        }
        if let problem { report.findings.append(.journal(problem)) }
        startJournal(superblock, at: log.nextSequence, after: lastLSN)
    }

    /// Returns the LSN of the last record replayed.
    private func replay(_ log: JournalScan, _ superblock: Superblock) throws(PoolError) -> UInt64 {
        var lastLSN = superblock.journalLSN - 1
        let known = log.groups.joined().reduce(superblock.written) { max($0, $1.time ?? 0) }
        for (index, group) in log.groups.enumerated() {
            environment.recovering(index, log.groups.count)
            let groupEnd = lastLSN + UInt64(group.count)
            // Up to the durable LSN a block that does not match is damage: it stays, and reading it will say so. Beyond
            // it the log ends there.
            if groupEnd > log.durableLSN, try !dataIsWhole(group) { break }
            for record in group { try replay(record, knowing: known) }
            lastLSN = groupEnd
        }
        return lastLSN
    }

    private func startJournal(_ superblock: Superblock, at frame: UInt64, after lastLSN: UInt64) {
        let incarnation = breaks(.incarnation) ? superblock.incarnation : environment.random()
        state.withLock { state in
            state.journal = Journal(
                geometry: state.geometry, pool: state.poolID, incarnation: incarnation, tail: frame, nextLSN: lastLSN + 1,
                durableEpoch: superblock.epoch)
            for version in state.versions.values { version.lastLSN = 0 }
        }
    }

    private struct JournalScan {
        var groups: [[JournalRecord]] = []
        var durableLSN: UInt64
        var nextSequence: UInt64
        /// Why this cannot be all of the log.
        var problem: PoolError?
        /// A checkpoint that a frame knows of, younger than the superblock found.
        var newerEpoch: UInt64?
    }

    /// Reads whole frames from the tail on, until one does not continue the log. A group without its last record is left
    /// out. It is a problem if a frame knows of a newer checkpoint than was found: then both copies of its superblock are
    /// lost, and an older state must not silently pass for the newest.
    private func scanJournal(_ superblock: Superblock) throws(PoolError) -> JournalScan {
        var scan = JournalScan(durableLSN: superblock.journalLSN - 1, nextSequence: superblock.journalTail)
        var nextLSN = superblock.journalLSN
        var open: [JournalRecord] = []
        let buffer = AlignedBuffer(count: geometry.blockSize)
        let block = UnsafeRawBufferPointer(buffer.bytes)
        for _ in 0..<geometry.journalFrames {
            let slot = scan.nextSequence % UInt64(geometry.journalFrames)
            try device.read(into: buffer.bytes, at: geometry.journalOffset + slot * UInt64(geometry.blockSize))
            guard let frame = JournalFrame(decoding: block, pool: poolID) else { break }
            // Also of a frame that does not continue the log: after a recovery the next one begins where the log ended.
            if frame.durableEpoch > superblock.epoch { scan.newerEpoch = max(scan.newerEpoch ?? 0, frame.durableEpoch) }
            guard frame.incarnation == superblock.incarnation, frame.sequence == scan.nextSequence,
                frame.firstLSN == nextLSN
            else { break }
            var offset = JournalFrame.headerSize
            for _ in 0..<frame.count {
                let position = geometry.journalOffset + slot * UInt64(geometry.blockSize) + UInt64(offset)
                let rest = block.part(offset..<JournalFrame.headerSize + frame.length)
                guard let (record, flags, length) = JournalRecord.decode(rest) else {
                    scan.problem = .corrupt(.journal, position: position, .identity)
                    return scan
                }
                open.append(record)
                if flags & JournalRecord.continues == 0 {
                    scan.groups.append(open)
                    open = []
                }
                offset += length
            }
            nextLSN += UInt64(frame.count)
            scan.durableLSN = max(scan.durableLSN, frame.durableLSN)
            scan.nextSequence += 1
        }
        if scan.problem == nil { scan.problem = try damage(scan, firstMissing: nextLSN - UInt64(open.count), superblock) }
        return scan
    }

    /// A problem if a frame proves that records were durable which the log found does not have: then a frame is damaged, and
    /// the log does not end where it seems to. Looks at the frames that would come next, 1 MiB of them.
    private func damage(
        _ scan: JournalScan, firstMissing: UInt64, _ superblock: Superblock
    ) throws(PoolError) -> PoolError? {
        let ring = UInt64(geometry.journalFrames), unit = UInt64(geometry.blockSize)
        let missing = geometry.journalOffset + scan.nextSequence % ring * unit
        guard scan.durableLSN < firstMissing else { return .corrupt(.journal, position: missing, .missing) }
        let buffer = AlignedBuffer(count: geometry.blockSize)
        for sequence in scan.nextSequence..<scan.nextSequence + min(256, ring) {
            try device.read(into: buffer.bytes, at: geometry.journalOffset + sequence % ring * unit)
            guard let frame = JournalFrame(decoding: UnsafeRawBufferPointer(buffer.bytes), pool: poolID),
                frame.incarnation == superblock.incarnation, frame.sequence == sequence
            else { continue }
            let isNewer = frame.durableEpoch > superblock.epoch && scan.newerEpoch == nil
            if frame.durableLSN >= firstMissing || isNewer { return .corrupt(.journal, position: missing, .missing) }
        }
        return nil
    }

    /// True if every block that the group's writes name holds what was written.
    private func dataIsWhole(_ group: [JournalRecord]) throws(PoolError) -> Bool {
        let buffer = AlignedBuffer(count: geometry.blockSize)
        for case .write(_, _, _, let runs, let checksums) in group {
            var index = 0
            for run in runs {
                guard map.contains(run) else { throw .corrupt(.journal, position: run.start.value, .mapping) }
                for offset in 0..<run.count {
                    try device.read(into: buffer.bytes, at: map.offset(of: run.start.advanced(by: offset)))
                    if crc32c(UnsafeRawBufferPointer(buffer.bytes)) != checksums[index] { return false }
                    index += 1
                }
            }
        }
        return true
    }

    /// Applies one record to the state, reading the nodes it needs. Records of data do not have the time of their write, so that
    /// is now: it must not seem to be before what somebody has seen of the bytes. Where the clock is behind, it is `known`, the latest
    /// time that the pool has for certain been in use.
    private func replay(_ record: JournalRecord, knowing known: UInt64) throws(PoolError) {
        let now = max(environment.now(), known)
        switch record {
        case .write(let id, let generation, let first, let runs, let checksums):
            _ = try withNodes { state, missing throws(PoolError) -> Bool? in
                let version = try state.replayed(id, generation)
                let (end, overflow) = first.addingReportingOverflow(UInt64(checksums.count))
                guard !overflow, end <= state.geometry.maximumVolumeSize / UInt64(state.geometry.blockSize) else {
                    throw .corrupt(.journal, position: first, .mapping)
                }
                for leaf in Swift.stride(from: first & ~(state.span(0) - 1), to: end, by: Int(state.span(0))) {
                    guard state.newNodeBlocks(version, leaf, missing: &missing) != nil else { return nil }
                }
                for run in runs { try state.space.claim(run) }
                state.raiseLevel(version, toCover: end)
                state.applyWrite(version, first: first, runs: runs[...], checksums: checksums[...])
                version.noteData(at: now)
                return true
            }
        case .share(let id, let generation, let first, let runs, let checksums):
            let (end, overflow) = first.addingReportingOverflow(UInt64(checksums.count))
            guard !overflow, end <= geometry.maximumVolumeSize / UInt64(geometry.blockSize) else {
                throw .corrupt(.journal, position: first, .mapping)
            }
            _ = try withNodes { state, missing throws(PoolError) -> Bool? in
                let version = try state.replayed(id, generation)
                for leaf in Swift.stride(from: first & ~(state.span(0) - 1), to: end, by: Int(state.span(0))) {
                    guard state.newNodeBlocks(version, leaf, missing: &missing) != nil else { return nil }
                }
                // What is shared was introduced by an earlier record, or is in the checkpoint.
                guard runs.allSatisfy({ state.space.isInUse($0) }) else {
                    throw .corrupt(.journal, position: first, .accounting)
                }
                state.raiseLevel(version, toCover: end)
                state.applyShare(version, first: first, runs: runs, checksums: checksums)
                version.noteData(at: now)
                return true
            }
        case .hole(let id, let generation, let first, let count):
            let (end, overflow) = first.addingReportingOverflow(count)
            guard !overflow else { throw .corrupt(.journal, position: first, .mapping) }
            var block = first
            while block < end {
                block = try withNodes { state, missing throws(PoolError) -> UInt64? in
                    let version = try state.replayed(id, generation)
                    guard let step = state.planDiscard(version, from: block, end: end, missing: &missing) else { return nil }
                    state.applyDiscard(version, from: block, step: step)
                    version.noteData(at: now)
                    return step.end
                }
            }
        default:
            try state.withLock { state throws(PoolError) in
                try state.validate(record)
                try state.applyAdministrative(record)
            }
        }
    }
}

extension PoolState {
    /// The version a replayed record of data is about. Throws unless it is there with the generation it had.
    func replayed(_ id: UInt64, _ generation: UInt32) throws(PoolError) -> Version {
        guard let version = versions[id], version.generation == generation, version.record.state == .volume else {
            throw .corrupt(.journal, position: id, .mapping)
        }
        return version
    }
}
