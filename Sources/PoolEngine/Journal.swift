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
    /// The frame being filled: its block, whose records begin behind the header, and how long they are.
    private var current: AlignedBufferBox
    private var currentLength = 0
    private var currentSequence: UInt64
    private var currentFirstLSN: UInt64
    private var currentCount = 0
    /// Length of the record that was appended last, in bytes.
    private(set) var lastRecordSize = 0
    private var sealed: [SealedFrame] = []
    /// Blocks of frames that are written, to be filled again.
    private var spare: [AlignedBufferBox] = []
    private static let mostSpare = 16
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
        current = AlignedBufferBox(count: blockSize)
    }

    /// A frame that gets no more records. Its block is complete but for the header.
    struct SealedFrame: Sendable {
        var header: JournalFrame
        var lastLSN: UInt64
        var block: AlignedBufferBox
    }

    /// What has to be written for the records up to an LSN to be out: `sealed` first, oldest first, then the frame that is not
    /// sealed, if it has records that are not out.
    struct Unwritten: Sendable {
        var sealed: [SealedFrame]
        var current: JournalFrame?
        var upTo: UInt64
    }

    var payloadSize: Int { blockSize - JournalFrame.headerSize }
    /// Frames that hold records replay would need, the unsealed one included.
    var usedFrames: Int { Int(currentSequence - tail) + 1 }
    var lastLSN: UInt64 { nextLSN - 1 }

    /// Frames that any `bytes` of records can take: of two neighbours, one's first record did not fit into the other.
    static func framesNeeded(bytes: Int, blockSize: Int) -> Int { 2 * bytes / (blockSize - JournalFrame.headerSize) + 1 }

    /// True if `count` frames fit beside those promised, with `spare` left over.
    func hasRoom(for count: Int, spare: Int) -> Bool { usedFrames + reserved + count + spare <= frames }

    mutating func reserve(_ count: Int) { reserved += count }
    mutating func endReservation(_ count: Int) { reserved -= count }

    /// Appends one record, which `encode` writes, perhaps twice, and returns its LSN. The caller has reserved room.
    mutating func append(_ encode: (inout RecordWriter) -> Void) -> UInt64 {
        if !fill(encode) {
            seal()
            let fits = fill(encode)
            precondition(fits, "a record fits into one frame")
        }
        precondition(usedFrames <= frames, "the journal ring is full: its room was not reserved")
        currentCount += 1
        defer { nextLSN += 1 }
        return nextLSN
    }

    /// Puts a record behind those of the frame. False if there is no room for it.
    private mutating func fill(_ encode: (inout RecordWriter) -> Void) -> Bool {
        var writer = RecordWriter(current.buffer.bytes.part(JournalFrame.headerSize + currentLength..<blockSize))
        encode(&writer)
        guard let length = writer.finish() else { return false }
        currentLength += length
        lastRecordSize = length
        return true
    }

    /// As a broken rule R2 would: exchanges the last two records of the frame.
    mutating func swapLastRecords(_ last: Int, _ previous: Int) {
        guard currentCount >= 2, last + previous <= currentLength else { return }
        let end = JournalFrame.headerSize + currentLength
        let both = current.buffer.bytes.part(end - last - previous..<end)
        let bytes = Array(both)
        both.copyBytes(from: bytes[previous...] + bytes[..<previous])
    }

    /// Ends the frame being filled, so that what is in it is never rewritten. Returns the last LSN in it or before.
    @discardableResult
    mutating func seal() -> UInt64 {
        if currentCount > 0 {
            // Written with all its records already: then it must not be written again (rule R3).
            if writtenLSN < nextLSN - 1 {
                current.buffer.bytes.part(JournalFrame.headerSize + currentLength..<blockSize).clear()
                sealed.append(SealedFrame(header: header, lastLSN: nextLSN - 1, block: current))
                current = spare.popLast() ?? AlignedBufferBox(count: blockSize)
            }
            currentSequence += 1
            currentFirstLSN = nextLSN
            currentCount = 0
            currentLength = 0
        }
        return nextLSN - 1
    }

    /// What still has to be written for `lastLSN` to be out. The frame being filled is copied into `block`, as it goes on being
    /// filled. The sealed frames are the caller's until it says that they are written.
    mutating func takeUnwritten(copyingCurrentTo block: UnsafeMutableRawBufferPointer) -> Unwritten {
        var result = Unwritten(sealed: [], upTo: lastLSN)
        swap(&result.sealed, &sealed)
        if currentCount > 0 && writtenLSN < lastLSN {
            let end = JournalFrame.headerSize + currentLength
            block.copyMemory(from: UnsafeRawBufferPointer(current.buffer.bytes.part(0..<end)))
            block.part(end..<blockSize).clear()
            result.current = header
        }
        return result
    }

    /// Frames that were sealed while their last records were being written are not written a second time (rule R3).
    mutating func didWrite(_ written: Unwritten) {
        writtenLSN = max(writtenLSN, written.upTo)
        for frame in written.sealed { reuse(frame.block) }
        if sealed.isEmpty { return }
        for frame in sealed where frame.lastLSN <= written.upTo { reuse(frame.block) }
        sealed.removeAll { $0.lastLSN <= written.upTo }
    }

    private mutating func reuse(_ block: AlignedBufferBox) {
        if spare.count < Self.mostSpare { spare.append(block) }
    }

    mutating func didFlush(upTo lsn: UInt64) { durableLSN = max(durableLSN, lsn) }

    /// Position of the next frame, after a seal: where replay from a checkpoint made now begins.
    var head: (sequence: UInt64, lsn: UInt64) {
        precondition(currentCount == 0, "a checkpoint begins at a frame's start")
        return (currentSequence, nextLSN)
    }

    /// Called when a checkpoint that covers everything before `sequence` is durable.
    mutating func moveTail(to sequence: UInt64) { tail = sequence }

    private var header: JournalFrame {
        JournalFrame(
            incarnation: incarnation, sequence: currentSequence, firstLSN: currentFirstLSN, durableLSN: durableLSN,
            durableEpoch: durableEpoch, count: currentCount, length: currentLength)
    }
}
