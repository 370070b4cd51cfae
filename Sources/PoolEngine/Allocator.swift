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
    var busy: SparseBitmap
    /// A bit for each block, set if it is busy but not live: quarantined, in flight, or a node's that is not committed.
    var pending: SparseBitmap
    var segmentFree: UnsafeMutableBufferPointer<UInt16>
    var segmentUse: UnsafeMutableBufferPointer<Use>
    var freeCount: Int
    var liveCount = 0
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
    var delta: [UInt64] = []
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

    /// What a block is wanted for. Different purposes fill different segments while there is room: bulk data, that of long writes,
    /// those where much lies together.
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

    // MARK: Bits

    /// The blocks are not free any more.
    mutating func mark(_ run: BlockRun) {
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

    /// They are free again.
    mutating func clear(_ run: BlockRun) {
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

    /// The next checkpoint stores that they live, or do not any more.
    mutating func note(_ run: BlockRun, freed: Bool) {
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
}
