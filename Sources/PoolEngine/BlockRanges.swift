internal import BlockStorage

/// Logical blocks as ranges: sorted, apart from one another.
///
/// As a property: for each range its first block and its number of blocks, 8 bytes each.
struct BlockRanges: Equatable, Sendable {
    private(set) var ranges: [Range<UInt64>] = []

    var isEmpty: Bool { ranges.isEmpty }
    var count: UInt64 { ranges.reduce(0) { $0 + UInt64($1.count) } }
    var end: UInt64 { ranges.last?.upperBound ?? 0 }

    /// Index of the first range that ends behind `block`.
    private func index(after block: UInt64) -> Int {
        var low = 0, high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= block { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func contains(_ block: UInt64) -> Bool {
        let at = index(after: block)
        return at < ranges.count && ranges[at].lowerBound <= block
    }

    /// True if all of `range` is in here.
    func covers(_ range: Range<UInt64>) -> Bool {
        let at = index(after: range.lowerBound)
        return at < ranges.count && ranges[at].lowerBound <= range.lowerBound && ranges[at].upperBound >= range.upperBound
    }

    func overlaps(_ range: Range<UInt64>) -> Bool {
        let at = index(after: range.lowerBound)
        return at < ranges.count && ranges[at].lowerBound < range.upperBound
    }

    /// With `range` too. Where that makes more than `limit` ranges, the nearest are joined, with what lies between them.
    func adding(_ range: Range<UInt64>, limit: Int) -> BlockRanges {
        var merged: [Range<UInt64>] = []
        for next in (ranges + [range]).sorted(by: { $0.lowerBound < $1.lowerBound }) where !next.isEmpty {
            if let last = merged.last, next.lowerBound <= last.upperBound {
                merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, next.upperBound)
            } else {
                merged.append(next)
            }
        }
        while merged.count > max(1, limit) {
            let gaps = (1..<merged.count).map { merged[$0].lowerBound - merged[$0 - 1].upperBound }
            guard let least = gaps.min(), let at = gaps.firstIndex(of: least) else { break }
            merged[at] = merged[at].lowerBound..<merged[at + 1].upperBound
            merged.remove(at: at + 1)
        }
        return BlockRanges(ranges: merged)
    }

    /// Without `range`. Where a hole in the middle would make more than `limit` ranges, it stays.
    func removing(_ range: Range<UInt64>, limit: Int) -> BlockRanges {
        let rest = ranges.flatMap { old in
            [old.lowerBound..<max(old.lowerBound, min(old.upperBound, range.lowerBound)),
             min(old.upperBound, max(old.lowerBound, range.upperBound))..<old.upperBound].filter { !$0.isEmpty }
        }
        return rest.count > limit ? self : BlockRanges(ranges: rest)
    }

    init() {}
    private init(ranges: [Range<UInt64>]) { self.ranges = ranges }

    /// Nothing, if the bytes are not what `encoded` makes of at most `limit` ranges below block `end`.
    init(decoding bytes: [UInt8], limit: Int, below maximum: UInt64) {
        guard bytes.count % 16 == 0, bytes.count / 16 <= limit else { return }
        bytes.withUnsafeBytes { raw in
            for at in stride(from: 0, to: raw.count, by: 16) {
                let first: UInt64 = raw.integer(at: at), count: UInt64 = raw.integer(at: at + 8)
                let (end, overflow) = first.addingReportingOverflow(count)
                guard !overflow, end <= maximum, count > 0, first >= self.end else {
                    ranges = []
                    return
                }
                ranges.append(first..<end)
            }
        }
    }

    var encoded: [UInt8] {
        ranges.flatMap { range in
            [range.lowerBound, UInt64(range.count)].flatMap { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        }
    }
}
