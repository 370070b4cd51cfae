/// Which bytes of a read have come. A reply that leaves some out, or has some twice, must not pass for data.
public struct ReadCoverage: Equatable, Sendable {
    private let range: Range<UInt64>
    /// Of what came in order, from the start on; and what came out of order.
    private var end: UInt64
    private var others: [Range<UInt64>] = []

    public init(offset: UInt64, count: UInt64) {
        range = offset..<offset + count
        end = offset
    }

    public var isWhole: Bool { end == range.upperBound }

    /// Takes a chunk in. False if it lies outside what was asked for, or was there already.
    public mutating func add(_ offset: UInt64, _ count: UInt64) -> Bool {
        let (upper, overflow) = offset.addingReportingOverflow(count)
        guard count > 0, !overflow, offset >= end, upper <= range.upperBound else { return false }
        if others.isEmpty && offset == end {
            end = upper
            return true
        }
        let index = others.firstIndex { $0.lowerBound > offset } ?? others.count
        if index > 0 && others[index - 1].upperBound > offset { return false }
        if index < others.count && others[index].lowerBound < upper { return false }
        // Nobody needs so many pieces.
        guard others.count < 1024 else { return false }
        others.insert(offset..<upper, at: index)
        while let first = others.first, first.lowerBound == end {
            end = first.upperBound
            others.removeFirst()
        }
        return true
    }
}
