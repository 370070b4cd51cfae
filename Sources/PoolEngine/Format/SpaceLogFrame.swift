internal import BlockStorage

/// One block of the space log: what a checkpoint allocated and freed, in order.
///
///     offset  size  field
///          0     8  magic "VFSL", checksum
///          8     8  pool      low half of the pool's uuid
///         16     8  sequence  the frame lies at sequence % frames of the ring
///         24     8  epoch     the checkpoint it belongs to
///         32     4  count     runs
///         36    28  reserved, zero
///         64        runs, 8 bytes each: address 40 bits, blocks 23 bits, 1 if freed
enum SpaceLogFrame {
    static let headerSize = 64
    static let magic = SealedBlock.magic("VFSL")

    static func capacity(blockSize: Int) -> Int { (blockSize - headerSize) / 8 }

    static func encode(
        _ runs: ArraySlice<UInt64>, into block: UnsafeMutableRawBufferPointer, pool: UInt64, sequence: UInt64, epoch: UInt64
    ) {
        block.clear()
        block.store(pool, at: 8)
        block.store(sequence, at: 16)
        block.store(epoch, at: 24)
        block.store(UInt32(runs.count), at: 32)
        for (index, run) in runs.enumerated() { block.store(run, at: headerSize + 8 * index) }
        SealedBlock.seal(block, magic: magic)
    }

    /// The runs of the frame expected at `sequence`, with its epoch.
    static func decode(
        _ block: UnsafeRawBufferPointer, pool: UInt64, sequence: UInt64, position: UInt64
    ) throws(PoolError) -> (epoch: UInt64, runs: [UInt64]) {
        if let problem = SealedBlock.problem(block, magic: magic) { throw .corrupt(.spaceLog, position: position, problem) }
        let count = Int(block.integer(at: 32, as: UInt32.self))
        guard block.integer(at: 8) == pool, block.integer(at: 16) == sequence, count <= capacity(blockSize: block.count)
        else { throw .corrupt(.spaceLog, position: position, .identity) }
        return (block.integer(at: 24), (0..<count).map { block.integer(at: headerSize + 8 * $0) })
    }
}
