package import BlockStorage
package import PoolEngine

/// The differences of two versions as text.
package enum DiffText {
    /// Lines `OFFSET LENGTH`, bytes, with ` z` behind what is a hole in the second.
    package static func text(_ pool: Pool, from: UInt64, to: UInt64) throws(PoolError) -> String {
        var text = ""
        try pool.differences(from: from, to: to) { text += "\($0.offset) \($0.count)\($0.isHole ? " z" : "")\n" }
        return text
    }

    /// One object of schema volfs.diff/1.
    package static func json(_ pool: Pool, from: UInt64, to: UInt64) throws(PoolError) -> String {
        var ranges: [JSON] = []
        try pool.differences(from: from, to: to) { found in
            ranges.append(.fields([("offset", .size(found.offset)), ("length", .size(found.count)), ("hole", .bool(found.isHole))]))
        }
        return JSON.object([("schema", .text("volfs.diff/1")), ("ranges", .array(ranges))]) + "\n"
    }
}
