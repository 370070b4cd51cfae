/// Bytes of an export, as ranges: sorted, apart from one another.
struct CoveredRanges {
    private var ranges: [Range<UInt64>] = []

    /// Index of the first range that ends at `offset` or behind it.
    private func index(at offset: UInt64) -> Int {
        var low = 0, high = ranges.count
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// What of a range is not in here, in order.
    func rest(of range: Range<UInt64>) -> [Range<UInt64>] {
        var rest: [Range<UInt64>] = [], from = range.lowerBound, at = index(at: from)
        while from < range.upperBound {
            guard at < ranges.count, ranges[at].lowerBound < range.upperBound else {
                rest.append(from..<range.upperBound)
                break
            }
            if from < ranges[at].lowerBound { rest.append(from..<ranges[at].lowerBound) }
            from = max(from, ranges[at].upperBound)
            at += 1
        }
        return rest
    }

    mutating func insert(_ range: Range<UInt64>) {
        let first = index(at: range.lowerBound)
        var joined = range, end = first
        while end < ranges.count, ranges[end].lowerBound <= joined.upperBound {
            joined = min(joined.lowerBound, ranges[end].lowerBound)..<max(joined.upperBound, ranges[end].upperBound)
            end += 1
        }
        ranges.replaceSubrange(first..<end, with: [joined])
    }
}
