internal import BlockStorage

/// The end of the journal, in memory: the frame being filled, and sealed frames not yet on the device. Part of the
/// pool's locked state; it makes no I/O.
struct Journal: ~Copyable {
    let frames: Int
    private let blockSize: Int
    private let pool: UInt64
    private(set) var incarnation: UInt64
    /// First frame that replay from the durable checkpoint needs.
    private(set) var tail: UInt64
    private(set) var nextLSN: UInt64
    /// Records up to it are in the device's or the kernel's hands: they survive the end of the process.
    private(set) var writtenLSN: UInt64
    /// Records up to it survive loss of power.
    private(set) var durableLSN: UInt64
    var durableEpoch: UInt64
    private var current: [UInt8]
    private var currentSequence: UInt64
    private var currentFirstLSN: UInt64
    private var currentCount = 0
    private var sealed: [(sequence: UInt64, lastLSN: UInt64, bytes: [UInt8])] = []
    /// Frames promised to requests that have not appended yet.
    private(set) var reserved = 0

    init(
        geometry: Geometry, pool: UInt64, incarnation: UInt64, tail: UInt64, nextLSN: UInt64, durableEpoch: UInt64
    ) {
        frames = geometry.journalFrames
        blockSize = geometry.blockSize
        self.pool = pool
        self.incarnation = incarnation
        self.tail = tail
        self.nextLSN = nextLSN
        writtenLSN = nextLSN - 1
        durableLSN = nextLSN - 1
        self.durableEpoch = durableEpoch
        currentSequence = tail
        currentFirstLSN = nextLSN
        current = [UInt8](repeating: 0, count: JournalFrame.headerSize)
        current.reserveCapacity(blockSize)
    }

    var payloadSize: Int { blockSize - JournalFrame.headerSize }
    /// Frames that hold records replay would need, the unsealed one included.
    var usedFrames: Int { Int(currentSequence - tail) + 1 }
    var lastLSN: UInt64 { nextLSN - 1 }

    /// Frames that any `bytes` of records can take: of two neighbours, one's first record did not fit into the other.
    func framesNeeded(bytes: Int) -> Int { 2 * bytes / payloadSize + 1 }

    /// True if `count` frames fit beside those promised, with `spare` left over.
    func hasRoom(for count: Int, spare: Int) -> Bool { usedFrames + reserved + count + spare <= frames }

    mutating func reserve(_ count: Int) { reserved += count }
    mutating func endReservation(_ count: Int) { reserved -= count }

    /// Appends one encoded record and returns its LSN. The caller has reserved room.
    mutating func append(_ record: [UInt8]) -> UInt64 {
        precondition(record.count <= payloadSize, "a record fits into one frame")
        if current.count + record.count > blockSize { seal() }
        precondition(usedFrames <= frames, "the journal ring is full: its room was not reserved")
        current += record
        currentCount += 1
        defer { nextLSN += 1 }
        return nextLSN
    }

    /// As a broken rule R2 would: exchanges the last two records of the frame.
    mutating func swapLastRecords(_ last: Int, _ previous: Int) {
        guard currentCount >= 2 else { return }
        let end = current.count, middle = end - last, start = middle - previous
        guard start >= JournalFrame.headerSize else { return }
        current = Array(current[..<start]) + current[middle..<end] + current[start..<middle]
    }

    /// Ends the frame being filled, so that what is in it is never rewritten. Returns the last LSN in it or before.
    @discardableResult
    mutating func seal() -> UInt64 {
        if currentCount > 0 {
            // Written with all its records already: then it must not be written again (rule R3).
            if writtenLSN < nextLSN - 1 { sealed.append((currentSequence, nextLSN - 1, finished())) }
            currentSequence += 1
            currentFirstLSN = nextLSN
            currentCount = 0
            current.removeAll(keepingCapacity: true)
            current.append(contentsOf: repeatElement(0, count: JournalFrame.headerSize))
        }
        return nextLSN - 1
    }

    /// The frames that still have to be written for `lastLSN` to be out, oldest first, and that LSN.
    mutating func unwritten() -> (frames: [(sequence: UInt64, bytes: [UInt8])], upTo: UInt64) {
        var result = sealed.map { (sequence: $0.sequence, bytes: $0.bytes) }
        sealed.removeAll(keepingCapacity: true)
        if currentCount > 0 && writtenLSN < lastLSN { result.append((currentSequence, finished())) }
        return (result, lastLSN)
    }

    /// Frames that were sealed while their last records were being written are not written a second time (rule R3).
    mutating func didWrite(upTo lsn: UInt64) {
        writtenLSN = max(writtenLSN, lsn)
        sealed.removeAll { $0.lastLSN <= lsn }
    }

    mutating func didFlush(upTo lsn: UInt64) { durableLSN = max(durableLSN, lsn) }

    /// Position of the next frame, after a seal: where replay from a checkpoint made now begins.
    var head: (sequence: UInt64, lsn: UInt64) {
        precondition(currentCount == 0, "a checkpoint begins at a frame's start")
        return (currentSequence, nextLSN)
    }

    /// Called when a checkpoint that covers everything before `sequence` is durable.
    mutating func moveTail(to sequence: UInt64) { tail = sequence }

    private func finished() -> [UInt8] {
        var block = current
        block.append(contentsOf: repeatElement(0, count: blockSize - block.count))
        let header = JournalFrame(
            incarnation: incarnation, sequence: currentSequence, firstLSN: currentFirstLSN, durableLSN: durableLSN,
            durableEpoch: durableEpoch, count: currentCount, length: current.count - JournalFrame.headerSize)
        block.withUnsafeMutableBytes { header.seal($0, pool: pool) }
        return block
    }
}
