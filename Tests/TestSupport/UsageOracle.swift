package import BlockStorage
package import PoolEngine

/// What the objects of a pool take, worked out by brute force from the text of `Pool.dump`: every reference of every version one by
/// one, nothing passed over. What the engine's own count is compared with.
package struct UsageOracle {
    /// A data block that is mapped, of level -1, or a node, by what makes it one introduction.
    private struct Item: Hashable {
        var level: Int
        var first: UInt64
        var generation: UInt64
        var address: UInt64
        var blocks: Int { level > 0 ? 2 : 1 }
    }

    private struct Version {
        var id: UInt64
        var object: UInt64
        var parent: UInt64
        var generation: UInt64
        var cursor: UInt64
        var isHidden: Bool
        var items: Set<Item>
    }

    private struct Node {
        var level: Int
        var first: UInt64
        var generation: UInt64
        var data: [(slot: UInt64, address: UInt64, generation: UInt64)] = []
        var children: [UInt64] = []
    }

    private var blockSize: UInt64 = 0
    private var fanout: UInt64 = 0
    private var versions: [UInt64: Version] = [:]
    /// How many references each data block has.
    private var references: [UInt64: Set<Item>] = [:]

    /// Of a pool that nobody uses. Makes a checkpoint if there is anything to store.
    package init(_ pool: Pool) throws(PoolError) {
        var nodes: [UInt64: Node] = [:]
        var current: UInt64?
        var lines: [String] = []
        try pool.dump { lines.append($0) }
        for line in lines {
            let words = line.split(separator: " ").map(String.init)
            let fields = Dictionary(words.compactMap { word -> (String, String)? in
                let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
                return parts.count == 2 ? (parts[0], parts[1]) : nil
            }) { first, _ in first }
            func number(_ name: String) -> UInt64 { UInt64(fields[name] ?? "") ?? 0 }
            switch words[0] {
            case "geometry": (blockSize, fanout) = (number("block"), number("fanout"))
            case "node":
                current = UInt64(words[1])
                nodes[UInt64(words[1]) ?? 0] = Node(level: Int(number("level")), first: number("first"), generation: number("generation"))
            case "version":
                // Of one that is being freed nothing is left below the cursor, be it the root.
                let span = (0...number("level")).reduce(1) { size, _ in size * fanout }
                let isGone = fields["state"] == "hidden" && number("cursor") >= span
                let root = isGone ? nil : UInt64(fields["root"] ?? "")
                versions[number("id")] = Version(
                    id: number("id"), object: fields["state"] == "volume" ? number("volume") : number("id"), parent: number("parent"),
                    generation: number("generation"), cursor: fields["state"] == "hidden" ? number("cursor") : 0,
                    isHidden: fields["state"] == "hidden", items: root.map { items($0, nodes) } ?? [])
            case _ where words.count > 2 && words[1] == "data":
                guard let node = current else { break }
                nodes[node]?.data.append((UInt64(words[0]) ?? 0, UInt64(words[2]) ?? 0, UInt64(words[3]) ?? 0))
            case _ where words.count > 2 && words[1] == "node":
                guard let node = current else { break }
                nodes[node]?.children.append(UInt64(words[2]) ?? 0)
            default: break
            }
        }
        for version in versions.values {
            for item in version.items where item.level < 0 { references[item.address, default: []].insert(item) }
        }
    }

    private func items(_ root: UInt64, _ nodes: [UInt64: Node]) -> Set<Item> {
        var found: Set<Item> = []
        var queue = [root]
        while let address = queue.popLast() {
            guard let node = nodes[address] else { continue }
            found.insert(Item(level: node.level, first: node.first, generation: node.generation, address: address))
            for entry in node.data {
                found.insert(Item(level: -1, first: node.first + entry.slot, generation: entry.generation, address: entry.address))
            }
            queue += node.children
        }
        return found
    }

    /// Deleted versions are there whose blocks could be freed.
    package var isFreeing: Bool { versions.values.contains { $0.isHidden && children(of: $0.id, in: versions).count < 2 } }
    /// Some block has more than one reference.
    package var hasShares: Bool { references.values.contains { $0.count > 1 } }

    package func usage(of object: UInt64) -> ObjectUsage? {
        guard let version = versions.values.first(where: { !$0.isHidden && $0.object == object }) else { return nil }
        var own = owned(version, in: versions)
        for child in children(of: version.id, in: versions) { own.subtract(child.items) }
        let since = versions[version.parent]?.generation ?? 0
        let written = version.items.count { $0.level < 0 && $0.generation > since }
        return ObjectUsage(
            used: UInt64(own.reduce(0) { $0 + $1.blocks }) * blockSize, unique: (freed(without: version.id) - freed(without: nil)) * blockSize,
            written: UInt64(written) * blockSize)
    }

    /// Bytes of data in the map of a volume or a snapshot, block by block, whoever shares them.
    package func referenced(by object: UInt64) -> UInt64? {
        let version = versions.values.first { !$0.isHidden && $0.object == object }
        return version.map { UInt64($0.items.count { $0.level < 0 }) * blockSize }
    }

    private func children(of id: UInt64, in tree: [UInt64: Version]) -> [Version] { tree.values.filter { $0.parent == id } }

    private func end(_ item: Item) -> UInt64 {
        if item.level < 0 { return item.first + 1 }
        return item.first + (0...item.level).reduce(1) { size, _ in size * fanout }
    }

    /// The ownership rule, with what a parent that is being freed has handed over.
    private func owned(_ version: Version, in tree: [UInt64: Version]) -> Set<Item> {
        let parent = tree[version.parent]
        let since = parent?.generation ?? 0
        let before = parent.flatMap { tree[$0.parent]?.generation } ?? 0
        return version.items.filter { item in
            if let parent, parent.cursor > 0, end(item) <= parent.cursor { return item.generation > before }
            return item.generation > since
        }
    }

    /// Blocks free once everything deleted has been freed, and the version `deleted` too: one hidden version after the other.
    private func freed(without deleted: UInt64?) -> UInt64 {
        var tree = versions
        if let deleted { tree[deleted]?.isHidden = true }
        var released: Set<Item> = []
        while true {
            let free = tree.values.filter { $0.isHidden && children(of: $0.id, in: tree).count < 2 }
            guard let next = free.min(by: { ($0.cursor > 0 ? 0 : 1, $0.id) < ($1.cursor > 0 ? 0 : 1, $1.id) }) else { break }
            var own = owned(next, in: tree)
            if let child = children(of: next.id, in: tree).first {
                own.subtract(child.items)
                tree[child.id]?.parent = next.parent
            }
            released.formUnion(own)
            tree[next.id] = nil
        }
        var blocks = released.reduce(0) { $0 + ($1.level < 0 ? 0 : $1.blocks) }
        for (_, all) in Dictionary(grouping: released.filter { $0.level < 0 }, by: \.address) where all.count == references[all[0].address]?.count {
            blocks += 1
        }
        return UInt64(blocks)
    }
}
