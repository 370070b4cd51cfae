public import BlockStorage

extension Pool {
    /// Tells which parts of `range`, in bytes, of a volume lie in blocks that something else has as well: a snapshot, a clone or what it
    /// is a clone of, or another place that was copied from or to. To overwrite such a block takes a new one. Calls `body` with each
    /// part in order, until that returns false; returns whether it never did. What changes meanwhile is told as it was or as it is.
    public func sharing(
        _ volume: UInt64, _ range: Range<UInt64>, _ body: (Range<UInt64>, _ isShared: Bool) throws(PoolError) -> Bool
    ) throws(PoolError) -> Bool {
        let blockSize = UInt64(geometry.blockSize)
        let endBlock = (range.upperBound + blockSize - 1) / blockSize
        var at = range.lowerBound
        while at < range.upperBound {
            let first = at / blockSize
            let (block, isShared) = try withNodes { state, missing throws(PoolError) -> (UInt64, Bool)? in
                let version = try state.version(of: volume)
                var block = first, isShared: Bool?
                // Some at a time, as the state is locked.
                while block < min(endBlock, first + 4096) {
                    guard let entry = state.entry(version, block, missing: &missing) else { return nil }
                    let found = entry.address != .none && !state.isBacked(entry, version, block: block)
                    if let isShared, isShared != found { break }
                    isShared = found
                    block += 1
                }
                return (block, isShared ?? false)
            }
            let end = min(block * blockSize, range.upperBound)
            if try !body(at..<end, isShared) { return false }
            at = end
        }
        return true
    }
}
