internal import BlockStorage

/// Which blocks are free, in memory. Part of the pool's locked state; it makes no I/O.
///
/// A block is in one of four conditions, of which only the first lets it be handed out:
///
///     free          its bit in `busy` is clear
///     in flight     handed out, its data perhaps being written; no journal record names it yet
///     live          named by a record or by a node: part of the state that a checkpoint stores
///     quarantined   released, but the durable checkpoint or a journal record may still need it
///
/// Live blocks are what the disk calls allocated. They change only through `commit` and `release`, which also note the
/// change in `delta` for the next checkpoint's space log.
struct Allocator: ~Copyable {
    let map: ZoneMap
    var blockCount: Int
    let geometry: Geometry
    /// A bit for each block, set unless free. Index 0 is the first block of segment 1.
    private var busy: SparseBitmap
    /// A bit for each block, set if it is busy but not live: quarantined, in flight, or a node's that is not committed.
    private var pending: SparseBitmap
    var segmentFree: UnsafeMutableBufferPointer<UInt16>
    var segmentUse: UnsafeMutableBufferPointer<Use>
    var freeCount: Int
    private(set) var liveCount = 0
    private(set) var quarantinedCount = 0
    /// Free blocks of segments that are being punched, and so not in `freeCount`.
    var heldCount = 0
    /// Blocks at or above it were never in use since the pool was made.
    var touchedLimit = 0
    /// The first block of the end that is being emptied, while the pool shrinks. What is free there, or becomes free, is not in
    /// `freeCount` and is not handed out. It ends with the process: after a crash the pool is as large as before.
    var tail: Int?
    /// Blocks in it that had been handed out before. If they are put back, others have to be found for them.
    var tailInFlight = 0
    /// Changes of `live` in the open epoch, packed as the space log stores them.
    private var delta: [UInt64] = []
    private var quarantine: [(epoch: UInt64, runs: [BlockRun])] = []
    var inFlight: [BlockRun] = []
    /// Segments written since they were last punched, and whether one of them may be free.
    var segmentIsWritten: [Bool]
    var hasUnpunched = true
    /// The look for such segments: the next one, how many have been left alone, and whether more became free since it began.
    var punchCursor = 0
    var punchKept = 0
    var hasNewUnpunched = false
    /// Whether a look left some alone that are kept for writers.
    var hasKeptUnpunched = false
    /// Segments up to which there may be any beyond those touched; and up to which the look under way has left some.
    var suspectedLimit = 0
    var punchLast = 0
    /// How many of them are wholly free; and which became so last.
    var emptyCount = 0
    var freed = FreedSegments()
    /// By purpose: whether there may be a segment at least half free for it.
    var mayHaveRoom = Purpose.allCases.map { _ in true }
    /// Segments that the host has storage for, which nodes fill next; and how many nodes are sure of a place in those, as of the
    /// last look. The segment being filled is not counted.
    var ready: [Int] = []
    var backedCount = 0
    var streams = [Stream](repeating: Stream(), count: Purpose.allCases.count)

    /// What a block is wanted for. Different purposes fill different segments while there is room: bulk data, of long writes and of
    /// what is moved, those where much lies together.
    enum Purpose: Int, CaseIterable { case data = 0, bulkData = 1, node = 2, copy = 3 }

    enum Use: UInt8 { case unknown, data, node, held, ready }

    struct Stream {
        var segment = -1
        var cursor = 0
        var rotor = 0
    }

    init(map: ZoneMap) {
        self.map = map
        geometry = map.geometry
        blockCount = map.blockCount
        freeCount = map.blockCount
        busy = SparseBitmap(count: map.blockCount)
        pending = SparseBitmap(count: map.blockCount)
        segmentFree = .allocate(capacity: map.blockCount / geometry.segmentBlocks)
        segmentFree.initialize(repeating: UInt16(geometry.segmentBlocks))
        segmentUse = .allocate(capacity: segmentFree.count)
        segmentUse.initialize(repeating: .unknown)
        segmentIsWritten = [Bool](repeating: false, count: segmentFree.count)
    }

    deinit {
        segmentFree.deallocate()
        segmentUse.deallocate()
    }

    /// Takes in the blocks that the map has gained.
    mutating func grow() {
        let added = map.blockCount - blockCount
        blockCount = map.blockCount
        freeCount += added
        let segments = blockCount / geometry.segmentBlocks
        busy.grow(to: blockCount)
        pending.grow(to: blockCount)
        Self.extend(&segmentFree, to: segments, with: UInt16(geometry.segmentBlocks))
        Self.extend(&segmentUse, to: segments, with: .unknown)
        segmentIsWritten += [Bool](repeating: false, count: segments - segmentIsWritten.count)
        notePlenty()
    }

    /// There may be segments at least half free again.
    mutating func notePlenty() { for index in mayHaveRoom.indices { mayHaveRoom[index] = true } }

    /// Also makes it shorter.
    static func extend<Element>(_ buffer: inout UnsafeMutableBufferPointer<Element>, to count: Int, with element: Element) {
        let larger = UnsafeMutableBufferPointer<Element>.allocate(capacity: count)
        for index in 0..<count { larger.initializeElement(at: index, to: index < buffer.count ? buffer[index] : element) }
        buffer.deallocate()
        buffer = larger
    }

    // MARK: Handing out

    /// Appends `count` free blocks to `runs`, as few runs as the space allows. The caller has checked `freeCount`.
    mutating func allocate(_ count: Int, for purpose: Purpose, into runs: inout [BlockRun]) {
        precondition(count <= freeCount, "allocation beyond what admission promised")
        let firstNew = runs.count
        var left = count
        while left > 0 {
            var stream = streams[purpose.rawValue]
            let run = stream.segment < 0 ? nil : nextRun(in: stream.segment, from: stream.cursor, limit: left)
            if let run {
                take(run)
                left -= run.count
                stream.cursor = map.index(of: run.end) - stream.segment * geometry.segmentBlocks
                if runs.count > firstNew, let joined = map.joined(runs[runs.count - 1], run) {
                    runs[runs.count - 1] = joined
                } else {
                    runs.append(run)
                }
            } else {
                openSegment(&stream, for: purpose)
            }
            streams[purpose.rawValue] = stream
        }
        if purpose != .node { inFlight += runs[firstNew...] }
    }

    /// The blocks are no longer free, and nobody's yet.
    mutating func take(_ run: BlockRun) {
        mark(run)
        pending.set(map.index(of: run.start), run.count)
    }

    /// Puts back blocks that no record names: their write failed, or was given up before its record.
    mutating func putBack(_ runs: [BlockRun]) {
        for run in runs {
            removeInFlight(run)
            pending.clear(map.index(of: run.start), run.count)
            clear(run)
        }
    }

    /// The blocks are live from now on: a record or a node of the open epoch names them.
    mutating func commit(_ run: BlockRun) {
        pending.clear(map.index(of: run.start), run.count)
        liveCount += run.count
        note(run, freed: false)
    }

    /// As `commit`, for data handed out by `allocate`.
    mutating func commitInFlight(_ runs: [BlockRun]) {
        for run in runs {
            removeInFlight(run)
            commit(run)
        }
    }

    /// Marks blocks named by a replayed record as live. Throws if one of them is not free.
    mutating func claim(_ run: BlockRun) throws(PoolError) {
        guard map.contains(run), isFree(run) else {
            throw .corrupt(.journal, position: run.start.value, .accounting)
        }
        mark(run)
        liveCount += run.count
        note(run, freed: false)
    }

    /// Ends a block's life. It can be handed out again once the checkpoint that stores this is durable. False, with nothing
    /// changed, if the block is not in use: then the maps and the count of blocks contradict each other.
    mutating func release(_ address: BlockAddress, epoch: UInt64) -> Bool {
        guard map.contains(address), isLive(map.index(of: address)) else { return false }
        pending.set(map.index(of: address), 1)
        liveCount -= 1
        quarantinedCount += 1
        let run = BlockRun(start: address, count: 1)
        note(run, freed: true)
        if quarantine.last?.epoch != epoch { quarantine.append((epoch, [])) }
        let at = quarantine.count - 1
        if let last = quarantine[at].runs.last, last.end == address, last.count < 1 << 20 {
            quarantine[at].runs[quarantine[at].runs.count - 1].count += 1
        } else {
            quarantine[at].runs.append(run)
        }
        return true
    }

    // MARK: Checkpoints

    /// The open epoch's changes, which the checkpoint that closes it stores.
    mutating func takeDelta() -> [UInt64] {
        defer { delta = [] }
        return delta
    }

    /// Called when checkpoint `epoch` is durable: what was released up to `limit` is free again.
    mutating func endQuarantine(upTo limit: UInt64) {
        while let first = quarantine.first, first.epoch <= limit {
            for run in first.runs {
                pending.clear(map.index(of: run.start), run.count)
                clear(run)
                quarantinedCount -= run.count
            }
            quarantine.removeFirst()
        }
    }

    /// Live blocks as bitmap words, page after page.
    func committedWords(regions: Int) throws(PoolError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: regions * geometry.regionBlocks / 64)
        try map.forEachRegion(regions) { region, first, count throws(PoolError) in
            for word in 0..<(count + 63) / 64 { words[region * geometry.regionBlocks / 64 + word] = liveWord(first / 64 + word) }
        }
        return words
    }

    /// Number of regions that have ever held a block.
    var touchedSegments: Int { (touchedLimit + geometry.segmentBlocks - 1) / geometry.segmentBlocks }
    /// Percent of the free blocks that lie in segments with something in them.
    var fragmentation: Int {
        let whole = min(freeCount, (emptyCount + segmentFree.count - touchedSegments) * geometry.segmentBlocks)
        return freeCount == 0 ? 0 : (freeCount - whole) * 100 / freeCount
    }
    var touchedRegions: Int { touchedLimit == 0 ? 0 : map.pagePosition(of: touchedLimit - 1).region + 1 }

    // MARK: Recovery

    /// Takes over one region's bits from its page.
    mutating func load(first start: Int, count: Int, bits: UnsafeRawBufferPointer) {
        for bit in 0..<count where bits[bit / 8] >> (bit % 8) & 1 == 1 {
            let run = BlockRun(start: map.address(of: start + bit), count: 1)
            mark(run)
            liveCount += 1
        }
    }

    /// Applies one run of the space log.
    mutating func apply(_ word: UInt64, position: UInt64) throws(PoolError) {
        let (run, isFreed) = BlockRun.unpack(word)
        guard map.contains(run), run.count < 1 << 20,
            isFreed ? isBusy(run) : isFree(run)
        else { throw .corrupt(.spaceLog, position: position, .accounting) }
        if isFreed {
            clear(run)
            liveCount -= run.count
        } else {
            mark(run)
            liveCount += run.count
        }
    }

    // MARK: Looking

    /// A bit a block, set if it is live.
    func liveWords() -> [UInt64] { (0..<(blockCount + 63) / 64).map { liveWord($0) } }

    var deltaCount: Int { delta.count }

    /// True if every block of a run, which may be any, is live.
    func isInUse(_ run: BlockRun) -> Bool {
        map.contains(run) && (map.index(of: run.start)..<map.index(of: run.end)).allSatisfy { isLive($0) }
    }

    private func liveWord(_ index: Int) -> UInt64 { busy.word(index) & ~pending.word(index) }
    func isLive(_ index: Int) -> Bool { liveWord(index / 64) >> UInt64(index % 64) & 1 == 1 }
    private func isBusy(_ run: BlockRun) -> Bool { busy.isSet(map.index(of: run.start), run.count) }
    private func isFree(_ run: BlockRun) -> Bool { busy.isClear(map.index(of: run.start), run.count) }

    // MARK: Bits

    private mutating func mark(_ run: BlockRun) {
        let first = map.index(of: run.start)
        busy.set(first, run.count)
        Self.forEachSegment(of: geometry.segmentBlocks, first, run.count) { segment, count in
            if segmentIsWritten[segment], Int(segmentFree[segment]) == geometry.segmentBlocks { emptyCount -= 1 }
            segmentFree[segment] -= UInt16(count)
            segmentIsWritten[segment] = true
        }
        freeCount -= run.count
        touchedLimit = max(touchedLimit, first + run.count)
    }

    private mutating func clear(_ run: BlockRun) {
        let first = map.index(of: run.start)
        busy.clear(first, run.count)
        Self.forEachSegment(of: geometry.segmentBlocks, first, run.count) { segment, count in
            let before = Int(segmentFree[segment]), after = before + count, half = geometry.segmentBlocks / 2
            segmentFree[segment] = UInt16(after)
            if before < half && after >= half { notePlenty() }
            if after == geometry.segmentBlocks { emptyCount += 1 }
            if after == geometry.segmentBlocks, segmentUse[segment] != .ready {
                segmentUse[segment] = .unknown
                noteUnpunched()
                freed.add(segment)
            }
        }
        freeCount += max(0, min(run.count, usableCount - first))
    }

    /// The segments that have some of the blocks, and how many.
    private static func forEachSegment(of size: Int, _ first: Int, _ count: Int, _ body: (_ segment: Int, _ count: Int) -> Void) {
        var index = first
        let end = first + count
        while index < end {
            let segment = index / size
            let next = min(end, (segment + 1) * size)
            body(segment, next - index)
            index = next
        }
    }

    private mutating func note(_ run: BlockRun, freed: Bool) {
        if let word = delta.last {
            let (last, flag) = BlockRun.unpack(word)
            if flag == freed, let joined = map.joined(last, run) {
                delta[delta.count - 1] = joined.packed(flag: freed)
                return
            }
        }
        delta.append(run.packed(flag: freed))
    }

    private mutating func removeInFlight(_ run: BlockRun) {
        guard let at = inFlight.firstIndex(of: run) else { preconditionFailure("a run that was never handed out") }
        inFlight.swapAt(at, inFlight.count - 1)
        inFlight.removeLast()
        tailInFlight -= countInTail(run)
    }

    func countInTail(_ run: BlockRun) -> Int {
        tail.map { count(of: run, behind: $0) } ?? 0
    }

    func count(of run: BlockRun, behind index: Int) -> Int { max(0, min(run.count, map.index(of: run.start) + run.count - index)) }

    /// The first free run in `segment` at or after block `cursor` of it, at most `limit` long.
    func nextRun(in segment: Int, from cursor: Int, limit: Int) -> BlockRun? {
        let end = (segment + 1) * geometry.segmentBlocks
        guard let index = busy.firstClear(from: segment * geometry.segmentBlocks + cursor, to: end) else { return nil }
        return BlockRun(start: map.address(of: index), count: busy.clearCount(from: index, limit: min(limit, end - index)))
    }

    /// Moves a stream to its next segment: the one that became free last; else one at least half free that was written before,
    /// since the host has storage for it already; else a new one; else any with a free block, at last also one of another purpose.
    /// Bulk data prefers, of those written before, one where what is free lies together.
    private mutating func openSegment(_ stream: inout Stream, for purpose: Purpose) {
        if purpose == .node, let segment = takeReady() {
            (stream.segment, stream.cursor) = (segment, 0)
            segmentUse[segment] = .node
            return
        }
        let use: Use = purpose == .node ? .node : .data
        stream.cursor = 0
        freed.noteOpened()
        if let found = takeFreed()
            ?? (purpose == .bulkData ? segmentOfLongRuns(&stream.rotor) : nil)
            ?? roomySegment(&stream.rotor, for: purpose == .bulkData ? .data : purpose, use: use)
            ?? scan(&stream.rotor, below: segmentFree.count, minimum: 1, use: use)
            ?? scan(&stream.rotor, below: segmentFree.count, minimum: 1, use: nil)
            ?? takeReadyForAnybody()
            ?? sharedSegment()
        {
            stream.segment = found
        } else {
            preconditionFailure("free blocks are counted that no segment has")
        }
        segmentUse[stream.segment] = use
    }

    /// A segment at least half free. Where there is none it is not looked for again until one becomes so: on a full pool that look
    /// takes long.
    private mutating func roomySegment(_ rotor: inout Int, for purpose: Purpose, use: Use) -> Int? {
        guard mayHaveRoom[purpose.rawValue] else { return nil }
        let half = geometry.segmentBlocks / 2, warm = touchedSegments
        let found = scan(&rotor, below: warm, minimum: half, use: use, isWritten: true)
            ?? scan(&rotor, below: warm, minimum: half, use: use)
            ?? (warm..<segmentFree.count).first { isAvailable($0, minimum: half, use: use) }
        mayHaveRoom[purpose.rawValue] = found != nil
        return found
    }

    /// A segment at least half free that was written before and whose free blocks lie together.
    private mutating func segmentOfLongRuns(_ rotor: inout Int) -> Int? {
        guard mayHaveRoom[Purpose.bulkData.rawValue] else { return nil }
        let found = scan(&rotor, below: touchedSegments, minimum: geometry.segmentBlocks / 2, use: .data, isWritten: true, inLongRuns: true)
        mayHaveRoom[Purpose.bulkData.rawValue] = found != nil
        return found
    }

    /// The segment that became free last and still is, with its storage.
    mutating func takeFreed() -> Int? {
        while let segment = freed.takeLatest() {
            if segmentIsWritten[segment] && isAvailable(segment, minimum: geometry.segmentBlocks, use: nil) { return segment }
        }
        return nil
    }

    func scan(
        _ rotor: inout Int, below limit: Int, minimum: Int, use: Use?, isWritten: Bool = false, inLongRuns: Bool = false
    ) -> Int? {
        for step in 0..<limit {
            let segment = (rotor + step) % limit
            if isWritten && !segmentIsWritten[segment] { continue }
            if isAvailable(segment, minimum: minimum, use: use), !inLongRuns || hasLongRuns(segment) {
                rotor = segment + 1
                return segment
            }
        }
        return nil
    }

    /// Whether the free blocks of a segment are on average in runs of at least an eighth of it.
    private func hasLongRuns(_ segment: Int) -> Bool {
        let size = geometry.segmentBlocks, end = (segment + 1) * size
        var index = segment * size, left = Int(segmentFree[segment]) * 8 / size
        while let start = busy.firstClear(from: index, to: end) {
            if left == 0 { return false }
            left -= 1
            index = start + busy.clearCount(from: start, limit: end - start)
        }
        return true
    }

    func isAvailable(_ segment: Int, minimum: Int, use: Use?) -> Bool {
        guard Int(segmentFree[segment]) >= minimum, segmentUse[segment] != .held, segmentUse[segment] != .ready, segment * geometry.segmentBlocks < usableCount else {
            return false
        }
        if streams.contains(where: { $0.segment == segment }) { return false }
        return use == nil || segmentUse[segment] == .unknown || segmentUse[segment] == use
    }

    /// Another stream's segment, when nothing else has a free block.
    private func sharedSegment() -> Int? {
        streams.first { $0.segment >= 0 && segmentFree[$0.segment] > 0 && segmentUse[$0.segment] != .held }?.segment
    }
}
