public import BlockStorage

extension Pool {
    /// Writes `bytes` at `offset`. On return they survive the end of the process; loss of power after the next `flush`.
    /// Space is promised before anything changes: after `.outOfSpace` nothing of the request has been applied, however
    /// long it is. Blocks of zeros take no space. With `growing` the volume's size follows a write beyond its end, else
    /// that is `.outOfRange`. Overlapping concurrent writes: each block ends as one of them wrote it.
    ///
    /// With `settles` false they survive the end of the process only after `settleWrites`: one for several writes costs less.
    public func write(
        _ object: UInt64, at offset: UInt64, _ bytes: UnsafeRawBufferPointer, growing: Bool = false, settles: Bool = true
    ) throws(PoolError) {
        guard bytes.count > 0 else { return }
        var request = try WriteRequest(object: object, offset: offset, bytes: bytes, isGrowing: growing, geometry: geometry)
        request.settles = settles
        if breaks(.spaceFirst), request.groupCount > 1 { return try writeGroupByGroup(request) }
        do throws(PoolError) {
            try admitAndPerform(&request)
        } catch {
            guard error.isHostFull else { throw error }
            try makeHostRoom()
            try admitAndPerform(&request)
        }
    }

    private func admitAndPerform(_ request: inout WriteRequest) throws(PoolError) {
        var promise = 0
        (promise, request.ticket) = try admit(request)
        let ticket = request.ticket
        defer {
            state.withLock { state in
                state.reservedBlocks -= promise
                if ticket != 0 { state.endPrepayment(ticket) }
            }
        }
        try perform(request, promise: &promise)
    }

    /// As a broken rule R12 would: a full pool may refuse the second half of what it has begun.
    private func writeGroupByGroup(_ request: WriteRequest) throws(PoolError) {
        var block = request.firstBlock
        while let group = request.group(from: block) {
            block = group.upperBound
            let from = max(request.offset, group.lowerBound * UInt64(geometry.blockSize))
            let to = min(request.end, group.upperBound * UInt64(geometry.blockSize))
            let part = request.bytes.part(Int(from - request.offset)..<Int(to - request.offset))
            try write(request.object, at: from, part, growing: request.isGrowing)
        }
    }

    /// Makes a write whose blocks have been promised, and takes them out of `promise`.
    func perform(_ request: WriteRequest, promise: inout Int) throws(PoolError) {
        var content = spareContents.withLock { $0.popLast() } ?? GroupContent()
        defer { spareContents.withLock { $0.append(content) } }
        var lsn: UInt64 = 0, block = request.firstBlock
        while let group = request.group(from: block) {
            lsn = max(lsn, try write(group, of: request, with: &content, promise: &promise))
            block = group.upperBound
        }
        if lsn > 0 && request.settles { try writeJournal(upTo: lsn) }
    }

    /// Writes one atomic group of at most four leaves. Returns the LSN of its last record, 0 if there was none to make.
    private func write(
        _ group: Range<UInt64>, of request: WriteRequest, with content: inout GroupContent, promise: inout Int
    ) throws(PoolError) -> UInt64 {
        while true {
            try content.take(group, of: request, pool: self)
            let needed = content.dataCount
            let frames = try reserveJournal(bytes: content.recordBytesBound)
            state.withLock { state in
                // Taken out of what was promised, so that it is not counted twice.
                let taken = min(needed, promise)
                promise -= taken
                state.reservedBlocks -= taken
                if needed > 0 { state.space.allocate(needed, for: state.purpose(ofBlocks: needed), into: &content.runs) }
            }
            do throws(PoolError) {
                if !breaks(.dataBeforeRecord) { try content.writeData(of: request, pool: self) }
                let lsn = try commit(&content, of: request, frames: frames)
                if breaks(.dataBeforeRecord), lsn != nil { try content.writeData(of: request, pool: self) }
                if let lsn { return lsn }
            } catch {
                giveUp(content.runs, frames: frames, promise: &promise)
                if error.isHostFull { state.withLock { $0.isHostFull = true } }
                throw error
            }
            // A partly written block changed since its other part was read: once more, with the new contents.
            giveUp(content.runs, frames: frames, promise: &promise)
        }
    }

    func giveUp(_ runs: [BlockRun], frames: Int, promise: inout Int) {
        let count = runs.reduce(0) { $0 + $1.count }
        promise += count
        state.withLock { state in
            state.space.putBack(runs)
            state.reservedBlocks += count
            state.journal.endReservation(frames)
        }
    }

    /// Enters a written group into map and journal, in one critical section (rules R1, R2, R10). Nil if a block that
    /// was completed from its old contents has changed meanwhile.
    func commit(
        _ content: inout GroupContent, of request: WriteRequest, frames: Int
    ) throws(PoolError) -> UInt64? {
        let now = environment.now()
        let result = try withNodes { state, missing throws(PoolError) -> CommitResult? in
            let version = try state.writableVersion(of: request.object)
            guard request.isGrowing || request.end <= version.record.size else {
                throw .outOfRange(offset: request.offset, count: UInt64(request.bytes.count), size: version.record.size)
            }
            if !request.isDiscard, let limit = state.shrinking[request.object], request.end > limit { throw .inUse }
            for old in content.oldEntries {
                guard let entry = state.entry(version, old.block, missing: &missing) else { return nil }
                if entry != old.entry { return .changed }
            }
            for leaf in Swift.stride(from: content.first & ~(state.span(0) - 1), to: content.end, by: Int(state.span(0))) {
                guard state.newNodeBlocks(version, leaf, missing: &missing) != nil else { return nil }
            }
            let end = min(request.end, content.end * UInt64(state.geometry.blockSize))
            let lsn = state.paying(request.ticket) {
                $0.commitWrite(version, &content, size: request.isGrowing ? end : 0, time: now)
            }
            state.journal.endReservation(frames)
            let bytes = UInt64(content.count * state.geometry.blockSize)
            state.counters.writes += 1
            state.counters.writtenBytes += bytes
            version.requests.writes += 1
            version.requests.writtenBytes += bytes
            return .done(lsn)
        }
        if case .done(let lsn) = result { return lsn }
        return nil
    }

    private enum CommitResult: Sendable { case done(UInt64), changed }

    // MARK: Admission

    /// Promises the request its data blocks and the nodes it may make dirty. Returns the number of blocks, and the ticket of what
    /// it is given out of its volume's own promise.
    private func admit(_ request: WriteRequest) throws(PoolError) -> (blocks: Int, ticket: UInt64) {
        let data = request.dataCount(blockSize: geometry.blockSize)
        let touchesHoles = data == 0, groups = request.groupCount
        var ticket: UInt64 = 0, isPromised = false
        do throws(PoolError) {
            let blocks = try admit(request.object, persists: { isPromised }, isForData: !touchesHoles) { state, missing throws(PoolError) -> Int? in
                let version = try state.writableVersion(of: request.object)
                let level = max(version.level, state.geometry.level(covering: request.endBlock))
                let leaves = Int((request.endBlock - 1) / state.span(0) - request.firstBlock / state.span(0)) + 1
                let needed = data + leaves * PoolState.pathBlocks(level: level) + 2 * (level - version.level)
                    + (groups + 1) * state.catalogPathBlocks
                if needed <= state.available(.growing) { return needed }
                if version.reserved.covers(request.firstBlock..<request.endBlock) {
                    isPromised = true
                    // Of an attempt that the host refused.
                    if ticket != 0 { state.endPrepayment(ticket) }
                    ticket = 0
                    guard let prepaid = state.prepay(version, needed: needed) else { return -needed }
                    ticket = prepaid
                    return needed
                }
                // Short of space. Overwriting what the volume owns gives as much back at the next checkpoint, so it may go
                // further down.
                for block in request.firstBlock..<request.endBlock where !touchesHoles {
                    guard let entry = state.entry(version, block, missing: &missing) else { return nil }
                    if !state.isBacked(entry, version, block: block) { return -needed }
                }
                return needed <= state.available(touchesHoles ? .administrative : .neutral) ? needed : -needed
            }
            return (blocks, ticket)
        } catch {
            if ticket != 0 { state.withLock { $0.endPrepayment(ticket) } }
            throw error
        }
    }

    /// Asks `need` for a number of blocks until it is positive and promises those. A negative number means that so many
    /// are not free: a checkpoint is made, which frees what is quarantined, and `need` is asked again; then what deleted versions
    /// have is freed, unless it is for that that blocks are wanted; at last it is refused, much later if it `persists`, being
    /// sure of the space. Throws `.system(_, ENOSPC)` if the host has no storage for the nodes; the last of that is not for data.
    func admit(
        _ object: UInt64, persists: () -> Bool = { false }, isForReaping: Bool = false, isForData: Bool = false,
        _ need: (inout PoolState, inout [MissingNode]) throws(PoolError) -> Int?
    ) throws(PoolError) -> Int {
        var attempt = 0, pauses = 0, rounds = 0, hasMadeRoom = false
        while true {
            let (needed, blocks, margin) = try withNodes { state, missing throws(PoolError) -> (Int, Int, Int?)? in
                guard let needed = try need(&state, &missing), missing.isEmpty else { return nil }
                if needed > 0 { state.reservedBlocks += needed }
                let margin = isForData ? state.backingMargin : 0
                return (needed, state.space.blockCount, state.isBackingShort(margin: margin) ? margin : nil)
            }
            if needed > 0 {
                guard let margin else { return needed }
                do throws(PoolError) {
                    try back(margin: margin)
                    return needed
                } catch {
                    state.withLock { $0.reservedBlocks -= needed }
                    if !error.isHostFull || isForReaping || hasMadeRoom { throw error }
                }
                (attempt, hasMadeRoom) = (0, true)
                try makeHostRoom()
                continue
            }
            let (canGain, isPromised) = state.withLock { ($0.canGainSpace, $0.reservedBlocks > 0 || $0.space.heldCount > 0) }
            if persists(), attempt == 3, canGain, rounds < 64, state.withLock({ $0.pinnedEpoch == nil }) {
                // It is there, or comes back: whoever has it has promised so.
                (attempt, rounds) = (0, rounds + 1)
            }
            if attempt == 3 || !canGain, !isForReaping, try reap(budget: 4096) {
                attempt = 0
                continue
            }
            if (attempt == 3 || !canGain) && isPromised && pauses < (persists() ? 60_000 : 500) {
                // What other requests were promised, or what is being punched, comes back.
                pauses += 1
                environment.pause()
                continue
            }
            if attempt == 3 || !canGain, state.withLock({ $0.pinnedEpoch != nil }) {
                // Whoever reads an old checkpoint has to begin again.
                attempt = state.withLock { state in
                    state.pinnedEpoch = nil
                    state.endQuarantine(upTo: state.superblock.epoch)
                    return 0
                }
                continue
            }
            if attempt == 3 || !canGain {
                if growAutomatically(by: -needed, from: blocks) {
                    attempt = 0
                    continue
                }
                let free = state.withLock { UInt64($0.available(.growing) * $0.geometry.blockSize) }
                throw .outOfSpace(needed: UInt64(-needed * geometry.blockSize), free: free)
            }
            try checkpoint(.forSpace)
            attempt += 1
        }
    }

    /// Frames of the journal that writers leave free.
    static let spareFrames = 4

    /// Changed nodes beyond which writers wait for a checkpoint, in blocks.
    var dirtyLimit: Int { 2 * configuration.dirtySize / geometry.blockSize }

    /// Changes of free space after which a checkpoint is made; writers wait for it at twice as many.
    static let deltaLimit = 1 << 20

    /// Promises journal frames for records of `bytes`, after a checkpoint if the ring is full or if changed nodes take
    /// twice the memory they should: then writers wait for the checkpoint under way. Returns the frames' number. Records that are appended
    /// in several critical sections, as `groups`, may begin a frame each: others can flush between them.
    func reserveJournal(bytes: Int, groups: Int = 1) throws(PoolError) -> Int {
        let frames = Journal.framesNeeded(bytes: bytes, blockSize: geometry.blockSize) + groups - 1
        while true {
            let reserved = try state.withLock { state throws(PoolError) -> Int? in
                if state.isSuspended { throw .suspended }
                if state.dirtyBlocks > dirtyLimit || state.space.deltaCount > 2 * Self.deltaLimit { return nil }
                guard frames + Self.spareFrames < state.journal.frames else {
                    throw .tooLarge(size: UInt64(bytes), limit: UInt64(state.journal.frames * state.geometry.blockSize))
                }
                guard state.journal.hasRoom(for: frames, spare: Self.spareFrames) else { return nil }
                state.journal.reserve(frames)
                return frames
            }
            if let reserved { return reserved }
            try checkpoint(.forJournal, frames: frames)
            // Others may have promises on all of the ring, and need the processor to use them.
            if state.withLock({ $0.journal.reserved > 0 }) { environment.pause() }
        }
    }
}

extension PoolState {
    /// With the pool's usual geometry, 64 KiB at once are bulk data.
    func purpose(ofBlocks count: Int) -> Allocator.Purpose {
        count >= max(2, geometry.fanout / 16) ? .bulkData : .data
    }

    /// A volume that may be changed. Throws `.readOnly` for a snapshot or a pool opened for reading.
    func writableVersion(of object: UInt64) throws(PoolError) -> Version {
        let version = try version(of: object)
        if version.record.state != .volume || isReadOnly { throw .readOnly }
        if isSuspended { throw .suspended }
        return version
    }

    /// True if a checkpoint would make blocks free.
    var canGainSpace: Bool { space.quarantinedCount > 0 || dirtyBlocks > 0 || undurableBlocks > 0 }

    /// Appends the records of a group and applies them. The nodes are in memory. Returns the LSN up to which they have to be out for
    /// what was asked to last.
    mutating func commitWrite(_ version: Version, _ content: inout GroupContent, size: UInt64, time: UInt64) -> UInt64 {
        space.commitInFlight(content.runs)
        content.divideRuns()
        for (index, piece) in content.pieces.enumerated() where piece.isZero {
            // Zeros over a hole change nothing.
            var missing: [MissingNode] = []
            let found = nextLeaf(version, from: piece.blocks.lowerBound, end: piece.blocks.upperBound, missing: &missing)
            if found.map({ $0 >= piece.blocks.upperBound }) ?? true { content.drop(index) }
        }
        let grows = size > version.record.size
        guard let last = content.pieces.lastIndex(where: { $0.isNeeded }) ?? (grows ? -1 : nil) else {
            // Somebody else has made it so, and may not have written his record yet.
            return version.lastLSN
        }
        version.noteData(at: time)
        let generation = content.brokenGeneration ?? version.generation
        var lsn: UInt64 = 0
        for (index, piece) in content.pieces.enumerated() where piece.isNeeded {
            let first = piece.blocks.lowerBound, continues = index < last || grows
            if piece.isZero {
                let count = UInt64(piece.blocks.count)
                lsn = append(.hole(version: version.id, generation: generation, first: first, count: count), continues: continues)
                continue
            }
            let runs = content.runs[piece.runs], checksums = content.checksums(of: piece)
            lsn = append {
                JournalRecord.encodeWrite(
                    version: version.id, generation: generation, first: first, runs: runs, checksums: checksums, continues: continues,
                    into: &$0)
            }
            raiseLevel(version, toCover: piece.blocks.upperBound)
            applyWrite(version, first: first, runs: runs, checksums: checksums)
        }
        if grows { lsn = append(.resize(version: version.id, size: size, time: time), continues: false) }
        version.lastLSN = lsn
        return lsn
    }

    /// Appends records as one atomic group and applies each.
    mutating func append(_ records: [JournalRecord], version: Version?) -> UInt64 {
        var lsn: UInt64 = 0
        for (index, record) in records.enumerated() { lsn = append(record, continues: index + 1 < records.count) }
        version?.lastLSN = lsn
        return lsn
    }

    private mutating func append(_ record: JournalRecord, continues: Bool) -> UInt64 {
        let lsn = append { record.encode(continues: continues, into: &$0) }
        apply(record)
        return lsn
    }

    private mutating func append(_ encode: (inout RecordWriter) -> Void) -> UInt64 {
        let lsn = journal.append(encode)
        if brokenRule == .recordOrder {
            journal.swapLastRecords(journal.lastRecordSize, previousRecord)
            previousRecord = journal.lastRecordSize
        }
        return lsn
    }

    private mutating func apply(_ record: JournalRecord) {
        switch record {
        case .write(let id, _, let first, let runs, let checksums):
            guard let version = versions[id] else { preconditionFailure("a record of a version that is not there") }
            raiseLevel(version, toCover: first + UInt64(checksums.count))
            applyWrite(version, first: first, runs: runs[...], checksums: checksums[...])
        case .share(let id, _, let first, let runs, let checksums):
            guard let version = versions[id] else { preconditionFailure("a record of a version that is not there") }
            raiseLevel(version, toCover: first + UInt64(checksums.count))
            applyShare(version, first: first, runs: runs, checksums: checksums)
        case .hole(let id, _, let first, let count):
            guard let version = versions[id] else { preconditionFailure("a record of a version that is not there") }
            var missing: [MissingNode] = []
            guard let step = planDiscard(version, from: first, end: first + count, missing: &missing) else {
                preconditionFailure("a path is changed before it is in memory")
            }
            applyDiscard(version, from: first, step: step)
        default:
            do throws(PoolError) {
                try applyAdministrative(record)
            } catch {
                preconditionFailure("a record of a version that is not there")
            }
        }
    }
}
