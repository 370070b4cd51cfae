/// Where a block lies in the pool: its segment's number times the blocks in a segment, plus its index in the segment.
///
/// 40 bits. A virtual address: the segment map says where a segment's bytes are. Segment 0 does not exist, so that
/// address 0 can mean "none".
public struct BlockAddress: Equatable, Hashable, Comparable, Sendable {
    public var value: UInt64
    public static let none = BlockAddress(0)
    static let bits = 40

    @inlinable
    public init(_ value: UInt64) { self.value = value }

    @inlinable
    public static func < (a: BlockAddress, b: BlockAddress) -> Bool { a.value < b.value }

    func advanced(by count: Int) -> BlockAddress { BlockAddress(value + UInt64(count)) }
}

/// A run of consecutive blocks.
struct BlockRun: Equatable, Sendable {
    var start: BlockAddress
    var count: Int
    var end: BlockAddress { start.advanced(by: count) }

    /// Eight bytes: address in the low 40 bits, count in the next 23, `flag` in the highest.
    func packed(flag: Bool = false) -> UInt64 {
        precondition(count > 0 && count < 1 << 23, "a run's count has 23 bits")
        return start.value | UInt64(count) << 40 | (flag ? 1 << 63 : 0)
    }

    static func unpack(_ word: UInt64) -> (run: BlockRun, flag: Bool) {
        (BlockRun(start: BlockAddress(word & (1 << 40 - 1)), count: Int(word >> 40 & (1 << 23 - 1))), word >> 63 == 1)
    }
}
