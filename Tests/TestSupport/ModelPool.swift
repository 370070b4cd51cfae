/// The simplest thing that behaves as a pool should: names and their bytes. What the engine is compared with.
package struct ModelPool: Equatable, Sendable {
    package var volumes: [String: Contents] = [:]
    /// By volume, then snapshot name.
    package var snapshots: [String: [String: Contents]] = [:]

    package init() {}

    /// A volume's bytes. Blocks that are all zero are not kept, so that large volumes cost nothing.
    package struct Contents: Equatable, Sendable {
        package static let blockSize = 1024
        package var size: Int
        /// Lengths of the values: what they are follows from name and length.
        package var properties: [String: Int] = [:]
        /// Blocks in which no write may be refused.
        package var reserved: Set<Int> = []
        package private(set) var blocks: [Int: [UInt8]] = [:]

        package init(size: Int) { self.size = size }

        package mutating func write(at offset: Int, _ bytes: ArraySlice<UInt8>) {
            var at = offset
            var index = bytes.startIndex
            while index < bytes.endIndex {
                let block = at / Self.blockSize, within = at % Self.blockSize
                let count = min(Self.blockSize - within, bytes.endIndex - index)
                var contents = blocks[block] ?? [UInt8](repeating: 0, count: Self.blockSize)
                contents.replaceSubrange(within..<within + count, with: bytes[index..<index + count])
                store(contents, block)
                at += count
                index += count
            }
            size = max(size, at)
        }

        package mutating func zero(_ range: Range<Int>) {
            var at = range.lowerBound
            let end = min(range.upperBound, size)
            while at < end {
                let block = at / Self.blockSize, within = at % Self.blockSize
                let count = min(Self.blockSize - within, end - at)
                if var contents = blocks[block] {
                    for index in within..<within + count { contents[index] = 0 }
                    store(contents, block)
                }
                at += count
            }
        }

        package mutating func reserve(_ range: Range<Int>) {
            reserved.formUnion(range.lowerBound / Self.blockSize..<(range.upperBound + Self.blockSize - 1) / Self.blockSize)
        }

        package mutating func resize(to size: Int) {
            if size < self.size {
                zero(size..<self.size)
                reserved = reserved.filter { $0 < (size + Self.blockSize - 1) / Self.blockSize }
            }
            self.size = size
        }

        /// Sets a whole block, as read from a pool.
        package mutating func store(_ contents: [UInt8], _ block: Int) {
            blocks[block] = contents.allSatisfy { $0 == 0 } ? nil : contents
        }

        /// The first thing in which it differs from what was expected.
        package func difference(from expected: Contents) -> String? {
            if reserved != expected.reserved { return "\(reserved.count) blocks reserved, expected \(expected.reserved.count)" }
            if properties != expected.properties { return "properties \(properties), expected \(expected.properties)" }
            if size != expected.size { return "\(size) bytes, expected \(expected.size)" }
            let wrong = Set(blocks.keys).union(expected.blocks.keys).filter { blocks[$0] != expected.blocks[$0] }.sorted()
            guard let first = wrong.first else { return nil }
            func mark(_ block: [UInt8]?) -> String { block.map { "\($0[0])" } ?? "zeros" }
            return "blocks \(wrong) differ; \(first) begins \(mark(blocks[first])), expected \(mark(expected.blocks[first]))"
        }
    }

    package mutating func rename(_ volume: String, to name: String) {
        volumes[name] = volumes.removeValue(forKey: volume)
        snapshots[name] = snapshots.removeValue(forKey: volume)
    }

    package mutating func deleteSnapshot(_ volume: String, _ name: String) {
        snapshots[volume]?[name] = nil
        if snapshots[volume]?.isEmpty == true { snapshots[volume] = nil }
    }

    /// The first thing in which it differs from what was expected; "nothing" if it does not.
    package func difference(from expected: ModelPool) -> String {
        if volumes.keys.sorted() != expected.volumes.keys.sorted() {
            return "volumes \(volumes.keys.sorted()), expected \(expected.volumes.keys.sorted())"
        }
        for (name, contents) in expected.volumes {
            if let text = volumes[name]?.difference(from: contents) { return "\(name): \(text)" }
            let wanted = expected.snapshots[name] ?? [:], found = snapshots[name] ?? [:]
            if found.keys.sorted() != wanted.keys.sorted() { return "\(name): snapshots \(found.keys.sorted()), expected \(wanted.keys.sorted())" }
            for (snapshot, contents) in wanted {
                if let text = found[snapshot]?.difference(from: contents) { return "\(name)@\(snapshot): \(text)" }
            }
        }
        return "nothing"
    }
}
