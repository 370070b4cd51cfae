/// Counts references of blocks that are given up together, for blocks that have several. In pages of consecutive blocks, so that it
/// takes about the memory of the table of shared blocks at the most.
struct ReferenceTally: Sendable {
    private static let perPage: UInt64 = 1024
    private var pages: [UInt64: [UInt32]] = [:]

    /// True if with this reference all `total` of the block have been given up.
    mutating func release(_ address: BlockAddress, of total: Int) -> Bool {
        if total == 1 { return true }
        let (page, slot) = address.value.quotientAndRemainder(dividingBy: Self.perPage)
        var counts = pages.removeValue(forKey: page) ?? [UInt32](repeating: 0, count: Int(Self.perPage))
        counts[Int(slot)] += 1
        defer { pages[page] = counts }
        return Int(counts[Int(slot)]) == total
    }
}
