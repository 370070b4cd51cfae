/// The first eight bytes of every metadata structure on disk: which structure it is, and its checksum.
///
///     offset  size  field
///          0     4  magic     four ASCII letters
///          4     4  checksum  CRC-32C of the whole block, with this field taken as zero
public enum SealedBlock {
    private enum Offset { static let magic = 0, checksum = 4 }

    /// Writes magic and checksum over a block whose other bytes are final.
    public static func seal(_ block: UnsafeMutableRawBufferPointer, magic: UInt32) {
        block.store(magic, at: Offset.magic)
        block.store(UInt32(0), at: Offset.checksum)
        block.store(crc32c(UnsafeRawBufferPointer(block)), at: Offset.checksum)
    }

    /// Nil if the block is intact and of that kind, else what is wrong with it.
    public static func problem(_ block: UnsafeRawBufferPointer, magic: UInt32) -> PoolError.Corruption? {
        guard block.integer(at: Offset.magic) == magic else { return .magic }
        var zero: UInt32 = 0
        let before = crc32c(block.part(0..<Offset.checksum))
        let middle = withUnsafeBytes(of: &zero) { crc32c($0, seed: before) }
        let all = crc32c(block.part(Offset.checksum + 4..<block.count), seed: middle)
        return block.integer(at: Offset.checksum) == all ? nil : .checksum
    }

    /// Four letters as the magic number they are on disk.
    public static func magic(_ letters: StaticString) -> UInt32 {
        precondition(letters.utf8CodeUnitCount == 4, "a magic is four letters")
        return UnsafeRawBufferPointer(start: letters.utf8Start, count: 4).integer(at: 0)
    }
}
