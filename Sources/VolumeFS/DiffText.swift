package import BlockStorage
package import PoolEngine

/// The differences of two versions as text.
package enum DiffText {
    /// Lines `OFFSET LENGTH`, bytes, with ` z` behind what is a hole in the second. Throws `.outOfMemory` for more than `limit`
    /// bytes of them.
    package static func text(_ pool: Pool, from: UInt64, to: UInt64, limit: Int = .max) throws(PoolError) -> String {
        var text = ""
        try pool.differences(from: from, to: to) { range throws(PoolError) in
            text += "\(range.offset) \(range.count)\(range.isHole ? " z" : "")\n"
            if text.utf8.count > limit { throw .outOfMemory(limit: UInt64(limit)) }
        }
        return text
    }

    /// One object of schema volfs.diff/1.
    package static func json(_ pool: Pool, from: UInt64, to: UInt64, limit: Int = .max) throws(PoolError) -> String {
        var ranges: [JSON] = []
        try pool.differences(from: from, to: to) { found throws(PoolError) in
            // A range takes more as a value than as text.
            if ranges.count > limit / 512 { throw .outOfMemory(limit: UInt64(limit)) }
            ranges.append(.fields([("offset", .size(found.offset)), ("length", .size(found.count)), ("hole", .bool(found.isHole))]))
        }
        return JSON.object([("schema", .text("volfs.diff/1")), ("ranges", .array(ranges))]) + "\n"
    }
}
