internal import BlockStorage

/// Reservations: ranges of a volume in which no write is refused for lack of space, however full the pool is.
///
/// What that takes is promised to the volume, and nobody else can have it: a block for each block of the ranges that the
/// volume does not have for itself alone, and the nodes above those. `promisedData` may be too large, as after a parent was freed
/// and handed its blocks over, and never too small; a recount then makes it right. What a version takes part in a promise is
/// known where its map changes: `replace`, `dropLeaf`, `writable`, `collapse`.
///
/// Beside the promises a float is kept free that only writes into reserved ranges may use: overwriting takes a block before it
/// gives one back, at the next checkpoint.
extension PoolState {
    /// The property that has a volume's ranges. No user's property has such a name.
    static let reservedProperty = "volfs.reserved"

    /// Ranges that fit into it.
    var maximumRanges: Int { PropertyChain.maximumValue(geometry) / 16 }

    /// Blocks that are kept for overwriting in reserved ranges: one request's, with its nodes.
    var reservationFloat: Int {
        if promiseHolders.isEmpty { return 0 }
        return 4 * geometry.fanout + 4 * (Self.pathBlocks(level: Geometry.maximumLevel) + catalogPathBlocks)
    }

    /// Changes what a version is promised, and the pool's sum with it.
    mutating func changePromise(_ version: Version, _ body: (Version) -> Void) {
        heldPromises -= version.heldPromise
        body(version)
        heldPromises += version.heldPromise
    }

    /// As `changePromise`, where the ranges change.
    private mutating func changeRanges(_ version: Version, _ body: (Version) -> Void) {
        changePromise(version, body)
        if version.reserved.isEmpty || version.isHidden { promiseHolders.remove(version.id) } else { promiseHolders.insert(version.id) }
    }

    /// The ranges that a version's properties have.
    private func storedRanges(_ version: Version) -> BlockRanges {
        BlockRanges(
            decoding: version.properties[Self.reservedProperty] ?? [], limit: maximumRanges,
            below: geometry.maximumVolumeSize / UInt64(geometry.blockSize))
    }

    /// A version that becomes hidden has no promise any more.
    mutating func dropPromise(_ version: Version) {
        changeRanges(version) {
            $0.record.state = .hidden
            $0.reserved = BlockRanges()
            $0.promisedData = 0
            $0.promisedNodes = 0
            $0.unsettled = 0
            $0.unsettledClosed = 0
        }
    }

    /// The blocks of all nodes that maps of these ranges have, with copies.
    func nodeBlocks(_ reserved: BlockRanges, level: Int) -> Int {
        if reserved.isEmpty { return 0 }
        let top = max(level, geometry.level(covering: reserved.end))
        return (0...top).reduce(0) { sum, level in
            let span = span(level)
            var count: UInt64 = 0, last: UInt64?
            for range in reserved.ranges {
                let first = range.lowerBound / span, end = (range.upperBound - 1) / span
                count += end - first + 1 - (last == first ? 1 : 0)
                last = end
            }
            return sum + Int(count) * NodePointer.copies(level: level)
        }
    }

    /// As after a snapshot: nothing in the ranges is the version's own.
    mutating func promiseAll(_ version: Version) {
        let nodes = nodeBlocks(version.reserved, level: version.level)
        changePromise(version) {
            $0.promisedData = Int(clamping: $0.reserved.count)
            $0.promisedNodes = nodes
            $0.recount = nil
            $0.needsRecount = !$0.reserved.isEmpty
        }
    }

    /// Blocks that `promiseAll` would add.
    func promiseIncrease(_ object: UInt64) -> Int {
        guard let version = objects[object], !version.reserved.isEmpty else { return 0 }
        let all = Int(clamping: version.reserved.count) + nodeBlocks(version.reserved, level: version.level)
        return max(0, all - version.promised)
    }

    /// Takes the ranges from the property. What is new is promised whole; of what is not reserved any more, the promise may be too
    /// large until it is counted.
    mutating func takeReservedRanges(_ version: Version) {
        let old = version.reserved, new = storedRanges(version)
        if old == new { return }
        let nodes = (nodeBlocks(old, level: version.level), nodeBlocks(new, level: version.level))
        let backed = countedBacked
        countedBacked = 0
        changeRanges(version) {
            $0.reserved = new
            let added = max(0, Int(clamping: new.count) - Int(clamping: old.count))
            $0.promisedData = min(Int(clamping: new.count), $0.promisedData + added - min(backed, added))
            // A replay, which counts nothing, begins with more.
            $0.unsettled += min(backed, added)
            $0.promisedNodes = min(nodes.1, $0.promisedNodes + max(0, nodes.1 - nodes.0))
            $0.recount = nil
            $0.needsRecount = !new.isEmpty
        }
    }

    /// After opening: the promises as stored; with `isCountedAnew` the largest they can be, as after a repair.
    mutating func openPromises(isCountedAnew: Bool = false) {
        for version in versions.values {
            let ranges = storedRanges(version)
            let isLive = version.record.state == .volume && !ranges.isEmpty
            let nodes = nodeBlocks(ranges, level: version.level)
            changeRanges(version) {
                $0.reserved = isLive ? ranges : BlockRanges()
                $0.promisedData = isLive ? Int(clamping: min($0.record.promisedData, ranges.count)) : 0
                $0.promisedNodes = isLive ? min(nodes, Int(clamping: $0.record.promisedNodes)) : 0
                $0.needsRecount = isLive
            }
            if isLive && isCountedAnew { promiseAll(version) }
        }
    }

    // MARK: As the map changes

    /// True if overwriting the entry gives its block back: then it needs no promise.
    func isBacked(_ entry: Entry, _ version: Version, block: UInt64) -> Bool {
        isOwnData(entry, version, block: block) && (shares.isEmpty || shares.count(entry.address) == 0)
    }

    /// A block in a version's map has become its own, or has ceased to be.
    mutating func noteBacked(_ version: Version, _ block: UInt64, was: Bool, `is`: Bool) {
        guard was != `is`, version.reserved.contains(block) else { return }
        changePromise(version) {
            $0.promisedData = max(0, $0.promisedData + (`is` ? -1 : 1))
            guard let recount = $0.recount, block < recount.cursor else { return }
            $0.recount?.backed = `is` ? recount.backed + 1 : max(1, recount.backed) - 1
        }
    }

    /// A version has a node more, or one less, with `sign` -1.
    mutating func noteNode(_ version: Version, level: Int, first: UInt64, sign: Int = 1) {
        guard !version.reserved.isEmpty, version.reserved.overlaps(first..<first + span(level)) else { return }
        let copies = sign * NodePointer.copies(level: level), most = nodeBlocks(version.reserved, level: version.level)
        changePromise(version) { $0.promisedNodes = min(most, max(0, $0.promisedNodes - copies)) }
    }

    // MARK: Requests

    /// Takes what a write into reserved ranges needs out of its volume's promise, as far as that goes. Returns the number under
    /// which it is kept, or nil if the rest is not free either.
    mutating func prepay(_ version: Version, needed: Int) -> UInt64? {
        let own = min(needed, max(0, version.promised - version.prepaid))
        guard needed - own <= space.freeCount - committedBlocks - heldPromises else { return nil }
        changePromise(version) { $0.prepaid += own }
        nextTicket += 1
        prepayments[nextTicket] = Prepayment(version: version, blocks: own)
        return nextTicket
    }

    struct Prepayment {
        var version: Version
        var blocks: Int
    }

    /// Runs the change of a request, and pays for what it took of the promise with what was taken out for it.
    mutating func paying<Result>(_ ticket: UInt64, _ body: (inout PoolState) -> Result) -> Result {
        guard let payment = prepayments[ticket] else { return body(&self) }
        let before = payment.version.promised
        let result = body(&self)
        let paid = min(payment.blocks, max(0, before - payment.version.promised))
        changePromise(payment.version) { $0.prepaid -= paid }
        prepayments[ticket]?.blocks -= paid
        return result
    }

    mutating func endPrepayment(_ ticket: UInt64) {
        guard let payment = prepayments.removeValue(forKey: ticket) else { return }
        changePromise(payment.version) { $0.prepaid -= payment.blocks }
    }

    // MARK: Counting

    /// A count under way: blocks of the ranges below the cursor that the version has for itself.
    struct Recount: Sendable {
        var cursor: UInt64 = 0
        var backed: UInt64 = 0
    }

    /// Counts on through some leaves of a volume whose promise may be too large. Nil if nodes are missing; false if there is
    /// nothing to count.
    mutating func recountPromise(leaves: Int, missing: inout [MissingNode]) -> Bool? {
        let candidates = promiseHolders.compactMap { versions[$0] }.filter(\.needsRecount)
        guard let version = candidates.min(by: { $0.id < $1.id }) else { return false }
        var recount = version.recount ?? Recount()
        for _ in 0..<leaves {
            guard let range = version.reserved.ranges.first(where: { $0.upperBound > recount.cursor }) else {
                finish(recount, of: version)
                return true
            }
            let start = max(recount.cursor, range.lowerBound)
            guard let step = backedBlocks(version, start..<range.upperBound, missing: &missing) else {
                version.recount = recount
                return nil
            }
            recount.backed += step.backed
            recount.cursor = step.next
            version.recount = recount
        }
        return true
    }

    /// Those of one leaf at the start of `range`, or the hole there passed over.
    func backedBlocks(_ version: Version, _ range: Range<UInt64>, missing: inout [MissingNode]) -> (backed: UInt64, next: UInt64)? {
        let start = range.lowerBound
        guard start < span(version.level) else { return (0, range.upperBound) }
        guard let found = descend(version, to: 0, block: start, missing: &missing) else { return nil }
        let end = min(range.upperBound, (start & ~(span(found.level) - 1)) + span(found.level))
        if found.reference.isHole { return (0, end) }
        // A leaf that is older than what the version may own has nothing of its own.
        if !owns(version, generation: found.reference.generation, end: end) && victim == nil { return (0, end) }
        guard let leaf = resolve(found.reference, level: 0, block: start, missing: &missing) else { return nil }
        let backed = (start..<end).count { isBacked(leaf.entry(slot($0, 0), geometry.fanout), version, block: $0) }
        return (UInt64(backed), end)
    }

    /// The promise becomes what was counted. What it falls by is free for others when a checkpoint that has the lower one is durable:
    /// what made it lower, a parent freed, is not in the journal either.
    private mutating func finish(_ recount: Recount, of version: Version) {
        let counted = Int(clamping: version.reserved.count) - Int(clamping: recount.backed)
        changePromise(version) {
            let less = max(0, $0.promisedData - counted)
            $0.promisedData -= less
            $0.unsettled += less
            ($0.recount, $0.needsRecount) = (nil, false)
        }
        markDirty(version)
    }

    /// The epoch is closed: what has been lowered until now is in its checkpoint.
    mutating func closePromises() {
        for version in promiseHolders.compactMap({ versions[$0] }) { version.unsettledClosed = version.unsettled }
    }

    mutating func settlePromises() {
        for version in promiseHolders.compactMap({ versions[$0] }) where version.unsettledClosed > 0 {
            changePromise(version) {
                $0.unsettled -= $0.unsettledClosed
                $0.unsettledClosed = 0
            }
        }
    }
}
