internal import BlockStorage
internal import PoolEngine

/// What a pool holds, compared with the model and by its own check.
extension Simulation {
    func check(_ pool: Pool, _ what: String, readingData: Bool) throws {
        let report = try pool.check(readingData: readingData)
        guard report.isClean else { throw fail("\(what): check found \(report)") }
    }

    func empty(_ pool: Pool, _ what: String) throws {
        for volume in pool.volumes() {
            for snapshot in pool.snapshots(of: volume.id) { try pool.delete(snapshot.id) }
            try pool.delete(volume.id)
        }
        try pool.finishReaping()
        try check(pool, "\(what), emptied", readingData: false)
        let left = pool.usage().allocated
        guard left == 0 else { throw fail("\(what), emptied: \(left) bytes are still allocated") }
    }

    func read(_ pool: Pool) throws -> ModelPool {
        var state = ModelPool()
        for volume in pool.volumes() {
            state.volumes[volume.name] = try contents(pool, volume)
            for snapshot in pool.snapshots(of: volume.id) {
                state.snapshots[volume.name, default: [:]][snapshot.name] = try contents(pool, snapshot)
            }
        }
        return state
    }

    private func contents(_ pool: Pool, _ info: ObjectInfo) throws -> ModelPool.Contents {
        let unit = options.geometry.blockSize
        var contents = ModelPool.Contents(size: Int(info.size))
        for (name, value) in try pool.properties(info.id) {
            if name == "volfs.reserved" {
                // Pairs of a first block and a number of blocks.
                for at in stride(from: 0, to: value.count, by: 16) {
                    let pair = value[at..<at + 16].reversed().map { Int($0) }
                    let count = pair[..<8].reduce(0) { $0 << 8 | $1 }, first = pair[8...].reduce(0) { $0 << 8 | $1 }
                    contents.reserve(first * unit..<(first + count) * unit)
                }
                continue
            }
            // Any other bytes are a difference.
            contents.properties[name] = value == Self.value(String(name.dropFirst(5)), value.count) ? value.count : -1
        }
        var at: UInt64 = 0
        while let extent = try pool.extent(info.id, at: at) {
            if extent.isData {
                let bytes = try pool.read(info.id, at: at, count: Int(extent.end - at))
                for start in stride(from: 0, to: bytes.count, by: unit) {
                    var block = Array(bytes[start..<min(start + unit, bytes.count)])
                    block += [UInt8](repeating: 0, count: unit - block.count)
                    contents.store(block, (Int(at) + start) / unit)
                }
            }
            at = extent.end
        }
        return contents
    }
}
