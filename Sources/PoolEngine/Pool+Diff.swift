public import BlockStorage

/// A range in which two versions of a volume differ. Bytes.
public struct Difference: Equatable, Sendable {
    public var offset: UInt64
    public var count: UInt64
    /// The second has nothing there: it was discarded, or was never written.
    public var isHole: Bool
}

extension Pool {
    /// Where `second` differs from `first`, both of one lineage, in whole blocks, ascending, neighbours of a kind joined. Costs
    /// by what differs, not by what there is: whatever both share is passed over. Blocks that were written with what they had
    /// before count as different. Each range is passed to `body` as it is found. With `range`, in bytes, only the blocks that it
    /// touches are compared. Throws `.invalid(.destination)` for two objects that have nothing in common.
    public func differences(
        from first: UInt64, to second: UInt64, within range: Range<UInt64>? = nil, _ body: (Difference) throws(PoolError) -> Void
    ) throws(PoolError) {
        let unit = UInt64(geometry.blockSize)
        let sizes = try withNodes { state, _ throws(PoolError) -> (UInt64, UInt64)? in
            let (a, b) = (try state.version(of: first), try state.version(of: second))
            guard a.record.family == b.record.family else { throw .invalid(.destination) }
            return (a.record.size, b.record.size)
        }
        var open: Difference?
        let end = geometry.blocks(covering: min(max(sizes.0, sizes.1), range?.upperBound ?? .max))
        let start = (range?.lowerBound ?? 0) / unit
        var block = start
        while block < end {
            let found = try withNodes { state, missing throws(PoolError) -> LeafDifference? in
                try state.nextDifference(try state.version(of: first), try state.version(of: second), from: block, end: end, missing: &missing)
            }
            for (at, isHole) in found.blocks where at >= start && at < end {
                if let last = open, last.offset + last.count == at * unit, last.isHole == isHole {
                    open?.count += unit
                } else {
                    if let open { try body(open) }
                    open = Difference(offset: at * unit, count: unit, isHole: isHole)
                }
            }
            block = found.next
        }
        guard var last = open else { return }
        last.count = min(last.count, max(sizes.0, sizes.1) - last.offset)
        try body(last)
    }
}

/// The blocks of one leaf that differ, and where to look next.
struct LeafDifference: Sendable {
    var blocks: [(UInt64, isHole: Bool)] = []
    var next: UInt64
}

extension PoolState {
    /// Passes over what is shared from `block` on, up to the first leaf that is not. Nil if nodes are missing.
    func nextDifference(
        _ a: Version, _ b: Version, from block: UInt64, end: UInt64, missing: inout [MissingNode]
    ) throws(PoolError) -> LeafDifference? {
        var block = block
        search: while block < end {
            for level in (0...max(a.level, b.level)).reversed() {
                guard let mine = descend(a, to: level, block: block, missing: &missing),
                    let theirs = descend(b, to: level, block: block, missing: &missing)
                else { return nil }
                let isShared = mine.reference.isHole
                    ? theirs.reference.isHole : mine.level == theirs.level && mine.reference.isSameNode(as: theirs.reference)
                if isShared {
                    let span = span(level)
                    block = (block & ~(span - 1)) + span
                    continue search
                }
            }
            return try compareLeaves(a, b, block, missing: &missing)
        }
        return LeafDifference(next: end)
    }

    private func compareLeaves(
        _ a: Version, _ b: Version, _ block: UInt64, missing: inout [MissingNode]
    ) throws(PoolError) -> LeafDifference? {
        let first = block & ~(span(0) - 1)
        var result = LeafDifference(next: first + span(0))
        guard let mine = descend(a, to: 0, block: first, missing: &missing),
            let theirs = descend(b, to: 0, block: first, missing: &missing)
        else { return nil }
        let old = mine.reference.isHole ? nil : resolve(mine.reference, level: 0, block: first, missing: &missing)
        let new = theirs.reference.isHole ? nil : resolve(theirs.reference, level: 0, block: first, missing: &missing)
        if !missing.isEmpty { return nil }
        for slot in 0..<geometry.fanout {
            let (before, after) = (old?.entry(slot, geometry.fanout), new?.entry(slot, geometry.fanout))
            let wasHole = before?.isHole ?? true, isHole = after?.isHole ?? true
            if wasHole && isHole { continue }
            if let before, let after, !wasHole, !isHole, before.isSameBlock(as: after) { continue }
            result.blocks.append((first + UInt64(slot), isHole))
        }
        return result
    }
}
