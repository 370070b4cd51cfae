internal import BlockStorage

/// Counts the references that blocks have, by what tells one from another: the logical block and the generation under which a
/// version introduced it. Versions that share a reference as snapshots and clones do show the same one. For repair and restore;
/// takes some tens of bytes for each block.
struct IntroductionCounter {
    struct Use: Hashable, Sendable {
        var block: UInt64
        var generation: UInt32
    }
    private var first: [BlockAddress: Use] = [:]
    /// The others of blocks that have more than one.
    private(set) var others: [BlockAddress: Set<Use>] = [:]

    var blocks: Dictionary<BlockAddress, Use>.Keys { first.keys }

    mutating func note(_ address: BlockAddress, block: UInt64, generation: UInt32) {
        let use = Use(block: block, generation: generation)
        guard let known = first[address] else {
            first[address] = use
            return
        }
        if known != use { others[address, default: []].insert(use) }
    }
}

extension PoolState {
    /// Puts counted references in the place of what the table of shared blocks says. Returns how many blocks it had wrong.
    mutating func countShares(_ counter: IntroductionCounter) -> Int {
        var stored: [BlockAddress: Int] = [:]
        shares.forEach { stored[$0] = $1 }
        var wrong = Set(stored.keys).union(counter.others.keys).count { stored[$0] ?? 0 != counter.others[$0]?.count ?? 0 }
        if shares.isDamaged { wrong = max(1, wrong) }
        if wrong == 0 { return 0 }
        shares.reset()
        for (address, uses) in counter.others { for _ in uses { shares.add(address) } }
        return wrong
    }
}
