internal import BlockStorage

/// One block of the journal: a header and whole records.
///
/// A frame is exactly one block, which is one page of the host's cache: the unsealed frame at the end of the log is
/// rewritten in place as records arrive, and only a write within one page is whole or absent after the process is
/// killed in the middle of it. A sealed frame is never written again.
///
///     offset  size  field
///          0     8  magic "VFJF", checksum
///          8     8  pool           low half of the pool's uuid
///         16     8  incarnation    random, new at each recovery: frames of an abandoned future do not match
///         24     8  sequence       the frame lies at sequence % frames of the ring; never restarts
///         32     8  first LSN      of its first record; the others follow
///         40     8  durable LSN    every record up to it was durable when this frame was built
///         48     8  durable epoch  the newest checkpoint known durable then
///         56     4  count          records
///         60     4  length         bytes of records
///         64        records
struct JournalFrame: Equatable, Sendable {
    static let headerSize = 64
    static let magic = SealedBlock.magic("VFJF")

    var incarnation: UInt64
    var sequence: UInt64
    var firstLSN: UInt64
    var durableLSN: UInt64
    var durableEpoch: UInt64
    var count: Int
    var length: Int

    /// Writes the header over a block whose records and zero padding are in place.
    func seal(_ block: UnsafeMutableRawBufferPointer, pool: UInt64) {
        block.store(pool, at: 8)
        block.store(incarnation, at: 16)
        block.store(sequence, at: 24)
        block.store(firstLSN, at: 32)
        block.store(durableLSN, at: 40)
        block.store(durableEpoch, at: 48)
        block.store(UInt32(count), at: 56)
        block.store(UInt32(length), at: 60)
        SealedBlock.seal(block, magic: Self.magic)
    }

    /// Nil if `block` is not a whole frame of this pool. Whether it continues the log is for the caller to see.
    init?(decoding block: UnsafeRawBufferPointer, pool: UInt64) {
        guard SealedBlock.problem(block, magic: Self.magic) == nil, block.integer(at: 8) == pool else { return nil }
        incarnation = block.integer(at: 16)
        sequence = block.integer(at: 24)
        firstLSN = block.integer(at: 32)
        durableLSN = block.integer(at: 40)
        durableEpoch = block.integer(at: 48)
        count = Int(block.integer(at: 56, as: UInt32.self))
        length = Int(block.integer(at: 60, as: UInt32.self))
        guard length <= block.count - Self.headerSize else { return nil }
    }

    init(
        incarnation: UInt64, sequence: UInt64, firstLSN: UInt64, durableLSN: UInt64, durableEpoch: UInt64, count: Int,
        length: Int
    ) {
        self.incarnation = incarnation
        self.sequence = sequence
        self.firstLSN = firstLSN
        self.durableLSN = durableLSN
        self.durableEpoch = durableEpoch
        self.count = count
        self.length = length
    }
}
