internal import BlockStorage

/// Which blocks of one region are in use, as of one checkpoint: a header and a bit a block.
///
///     offset  size  field
///          0     8  magic "VFBM", checksum
///          8     8  pool      low half of the pool's uuid
///         16     8  region    counted over all zones
///         24     8  epoch     the checkpoint that wrote it
///         32     8  count     bits set
///         40    24  reserved, zero
///         64        bits, block i in bit i % 8 of byte i / 8
enum BitmapPage {
    static let headerSize = 64
    static let magic = SealedBlock.magic("VFBM")

    /// Seals a page whose bits are in place.
    static func seal(_ block: UnsafeMutableRawBufferPointer, pool: UInt64, region: UInt64, epoch: UInt64, count: Int) {
        block.store(pool, at: 8)
        block.store(region, at: 16)
        block.store(epoch, at: 24)
        block.store(UInt64(count), at: 32)
        SealedBlock.seal(block, magic: magic)
    }

    /// Throws unless `block` is that region's page of exactly that epoch. The superblock names the epoch, so a stale
    /// or lost page is damage, never a guess.
    static func check(
        _ block: UnsafeRawBufferPointer, pool: UInt64, region: UInt64, epoch: UInt64, position: UInt64
    ) throws(PoolError) {
        if let problem = SealedBlock.problem(block, magic: magic) { throw .corrupt(.bitmap, position: position, problem) }
        guard block.integer(at: 8) == pool, block.integer(at: 16) == region, block.integer(at: 24) == epoch else {
            throw .corrupt(.bitmap, position: position, .identity)
        }
    }
}
