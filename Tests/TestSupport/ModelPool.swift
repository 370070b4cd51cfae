/// The simplest thing that behaves as a pool should: names and their bytes. What the engine is compared with.
package struct ModelPool: Equatable, Sendable {
    package var volumes: [String: [UInt8]] = [:]
    /// By volume, then snapshot name.
    package var snapshots: [String: [String: [UInt8]]] = [:]

    package init() {}

    package mutating func write(_ volume: String, at offset: Int, _ bytes: [UInt8]) {
        var contents = volumes[volume] ?? []
        if contents.count < offset + bytes.count {
            contents += [UInt8](repeating: 0, count: offset + bytes.count - contents.count)
        }
        contents.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        volumes[volume] = contents
    }

    package mutating func zero(_ volume: String, _ range: Range<Int>) {
        let end = min(range.upperBound, volumes[volume]?.count ?? 0)
        guard range.lowerBound < end else { return }
        write(volume, at: range.lowerBound, [UInt8](repeating: 0, count: end - range.lowerBound))
    }

    package mutating func resize(_ volume: String, to size: Int) {
        let contents = volumes[volume] ?? []
        volumes[volume] = size <= contents.count
            ? Array(contents[..<size]) : contents + [UInt8](repeating: 0, count: size - contents.count)
    }

    package mutating func rename(_ volume: String, to name: String) {
        volumes[name] = volumes.removeValue(forKey: volume)
        snapshots[name] = snapshots.removeValue(forKey: volume)
    }
}
