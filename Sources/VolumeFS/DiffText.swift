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
}
