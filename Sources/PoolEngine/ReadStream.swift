/// Follows the long reads of an object, to know what will be read next. The kernel reads ahead by the pool's file, where what
/// follows in a volume may lie anywhere.
struct ReadStream: Sendable {
    /// Bytes from which on a read is a long one. Of shorter ones nothing is noted.
    static let least = 64 << 10
    /// Bytes beyond a read's end that are forecast.
    static let distance: UInt64 = 2 << 20

    /// Where the last read ended, and up to where what follows was forecast.
    private var end: UInt64 = 0
    private var ahead: UInt64 = 0

    /// Notes a read. Returns what will be read after it and has not been forecast yet: nil if it does not follow the last one, or
    /// enough is under way.
    mutating func follow(_ read: Range<UInt64>) -> Range<UInt64>? {
        defer { end = read.upperBound }
        guard read.lowerBound == end else {
            ahead = 0
            return nil
        }
        let start = max(ahead, read.upperBound)
        if start - read.upperBound >= Self.distance / 2 { return nil }
        ahead = read.upperBound + Self.distance
        return start..<ahead
    }
}
