internal import BlockStorage

/// How many references each block has beyond the first: those that `Pool.share` has made. A block with none of them is not
/// here, and is freed with its only reference; others lose a reference at a time. (OpenZFS calls its own a block reference table.)
///
/// All in memory, as a release must not wait for I/O: four bytes a block, in pages of consecutive blocks. On disk each page is a
/// leaf of a `PageTree`. Once the pages take `maximumSize`, blocks are copied instead of shared.
struct ShareTable: ~Copyable {
    /// Bytes of memory that pages may take: 64 MiB are the counts of 64 GiB.
    static let maximumSize = 64 << 20
    /// Beyond it a block is copied. Replay, which may begin with a count that is higher by what was freed meanwhile, stays below the
    /// largest number by more than a journal has records.
    static let maximumCount: UInt32 = 1 << 31

    var tree: PageTree
    /// The stored table could not be read: for repair.
    var isDamaged = false
    /// Pages changed since the last checkpoint.
    private var dirty: Set<UInt64> = []
    private var pages: [UInt64: Page] = [:]
    /// Never falls: an upper bound, as finding it anew would take a look at every page.
    private var highestPage: UInt64 = 0
    private let perPage: Int
    private let maximumPages: Int
    /// Blocks that writing the whole table takes: as it is, as the checkpoint under way has it, and as the durable one does. A
    /// replay begins with that one.
    private var neededNow = 0, neededClosed = 0, neededDurable = 0

    struct Page: Sendable {
        var counts: [UInt32]
        var used = 0
    }

    init(geometry g: Geometry) {
        perPage = (g.blockSize - NodeLayout.headerSize) / 4
        maximumPages = max(8, Self.maximumSize / g.blockSize)
        tree = PageTree(kind: .reflink, geometry: g, idsPerLeaf: UInt64(perPage))
    }

    var isEmpty: Bool { pages.isEmpty }
    var hasChanges: Bool { !dirty.isEmpty }
    /// Bytes of memory it takes.
    var size: Int { pages.count * perPage * 4 }

    /// Blocks that are kept free for writing the whole table: a release, which needs no permission, may change any page of it.
    var rewriteBlocks: Int { max(neededNow, neededClosed, neededDurable) }

    /// References of the block beyond the first.
    func count(_ address: BlockAddress) -> Int {
        guard let page = pages[tree.leafIndex(of: address.value)] else { return 0 }
        return Int(page.counts[slot(address)])
    }

    /// Blocks that counting these addresses would add to `rewriteBlocks`. Nil if they cannot all be counted here.
    func growth(for addresses: [BlockAddress]) -> Int? {
        if addresses.contains(where: { count($0) >= Int(Self.maximumCount) - addresses.count }) { return nil }
        let new = Set(addresses.map { tree.leafIndex(of: $0.value) }).filter { pages[$0] == nil }
        if new.isEmpty { return 0 }
        guard pages.count + new.count <= maximumPages else { return nil }
        return max(0, blocks(pages: pages.count + new.count, maximum: max(highestPage, new.max() ?? 0)) - rewriteBlocks)
    }

    /// Counts one more reference of a block that is in use.
    mutating func add(_ address: BlockAddress) {
        let index = tree.leafIndex(of: address.value)
        let isNew = pages[index] == nil
        highestPage = max(highestPage, index)
        var page = pages.removeValue(forKey: index) ?? Page(counts: [UInt32](repeating: 0, count: perPage))
        if page.counts[slot(address)] == 0 { page.used += 1 }
        page.counts[slot(address)] += 1
        pages[index] = page
        dirty.insert(index)
        if isNew { measure() }
    }

    /// Takes one reference away. False if the block has only one: then it is the block that goes.
    mutating func remove(_ address: BlockAddress) -> Bool {
        if pages.isEmpty { return false }
        let index = tree.leafIndex(of: address.value)
        guard pages[index].map({ $0.counts[slot(address)] > 0 }) == true, var page = pages.removeValue(forKey: index) else { return false }
        page.counts[slot(address)] -= 1
        if page.counts[slot(address)] == 0 { page.used -= 1 }
        if page.used > 0 { pages[index] = page } else { measure() }
        dirty.insert(index)
        return true
    }

    /// Every block that has more than one reference, with how many more.
    func forEach(_ body: (BlockAddress, Int) -> Void) {
        for (index, page) in pages.sorted(by: { $0.key < $1.key }) {
            for (slot, count) in page.counts.enumerated() where count > 0 {
                body(BlockAddress(index * UInt64(perPage) + UInt64(slot)), Int(count))
            }
        }
    }

    private func slot(_ address: BlockAddress) -> Int { Int(address.value % UInt64(perPage)) }

    private mutating func measure() { neededNow = blocks(pages: pages.count, maximum: highestPage) }

    private func blocks(pages count: Int, maximum: UInt64) -> Int {
        if count == 0 { return 0 }
        var nodes = count, reach = maximum
        // Each level has no more nodes than there are pages, nor than it needs to reach the last one.
        while reach > 0 {
            reach /= UInt64(tree.fanout)
            nodes += min(count, Int(clamping: reach) + 1)
        }
        return 2 * nodes
    }

    // MARK: On disk

    /// The changed pages as they are now, for the checkpoint that closes the epoch; those that have become empty are not among
    /// them. The arrays are shared until somebody changes them.
    mutating func takeChanges() -> (dirty: Set<UInt64>, pages: [UInt64: Page]) {
        defer { dirty = [] }
        neededClosed = neededNow
        var changed: [UInt64: Page] = [:]
        for index in dirty { changed[index] = pages[index] }
        return (dirty, changed)
    }

    /// That checkpoint is durable.
    mutating func didStore() { neededDurable = neededClosed }

    /// Fills in a planned leaf and seals it.
    static func compose(
        _ page: Page, _ node: PageTree.Planned, _ tree: PageTree, into block: UnsafeMutableRawBufferPointer, pool: UInt64, epoch: UInt64
    ) -> UInt32 {
        block.clear()
        for (slot, count) in page.counts.enumerated() where count > 0 { block.store(count, at: NodeLayout.headerSize + 4 * slot) }
        return tree.seal(node, block, count: page.used, pool: pool, epoch: epoch)
    }

    /// Reads the whole table.
    mutating func load(root: NodePointer, depth: Int, map: ZoneMap, read: PageTree.Read) throws(PoolError) {
        var loaded: [UInt64: Page] = [:]
        let perPage = perPage, maximum = Self.maximumCount
        try tree.load(root: root, depth: depth, map: map, read: read) { block, index, count, position throws(PoolError) in
            var page = Page(counts: (0..<perPage).map { block.integer(at: NodeLayout.headerSize + 4 * $0) })
            page.used = page.counts.count { $0 > 0 }
            guard page.used == count, count > 0, index < 1 << UInt64(BlockAddress.bits), page.counts.allSatisfy({ $0 <= maximum }) else {
                throw .corrupt(.node, position: position, .mapping)
            }
            loaded[index] = page
        }
        pages = loaded
        highestPage = pages.keys.max() ?? 0
        measure()
        (neededClosed, neededDurable) = (neededNow, neededNow)
    }

    /// Every page that has a node for which `isMeant` on the way to it, or is one, is written anew by the next checkpoint. The
    /// blocks for that are always kept free.
    mutating func rewrite(_ isMeant: (NodePointer) -> Bool) { dirty.formUnion(tree.leaves(below: isMeant)) }

    /// For repair: forgets all counts, which are then counted anew, and stores every page again.
    mutating func reset() {
        dirty.formUnion(pages.keys)
        dirty.formUnion(tree.levels.first.map { Set($0.keys) } ?? [])
        pages = [:]
        measure()
    }
}
