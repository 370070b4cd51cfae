package import BlockStorage
package import PoolEngine

/// What a metadata context says of a version of a volume.
package struct ExtentSource {
    package static let allocation = "base:allocation", depth = "qemu:allocation-depth", shared = "x-volfs:shared", changes = "qemu:dirty-bitmap:since-"

    /// Flags of `base:allocation`: a hole, which reads as zeros. Depths of `qemu:allocation-depth`: nothing is there; written
    /// in this volume; there since it was cloned.
    private enum Flags { static let hole: UInt32 = 3, nothing: UInt32 = 0, own: UInt32 = 1, inherited: UInt32 = 2 }

    /// Differences are looked for in windows of that many bytes, so that a client which wants one extent costs no more.
    private static let window: UInt64 = 64 << 20
    /// Bytes that one question is answered for, at the most: extended headers allow for one about a whole volume, and a client may be
    /// told less than it asked about, but not keep a thread for minutes.
    package static let longest: UInt64 = 64 << 30

    private let pool: Pool
    private let id: UInt64
    private let context: String

    package init(_ pool: Pool, _ id: UInt64, _ context: String) {
        self.pool = pool
        self.id = id
        self.context = context
    }

    /// Calls `body` with lengths and flags, in order, until what was asked for, or the first `longest` bytes of it, is covered or it returns
    /// false.
    package func extents(_ asked: Range<UInt64>, _ body: (UInt64, UInt32) -> Bool) throws(PoolError) {
        let range = asked.lowerBound..<min(asked.upperBound, asked.lowerBound + Self.longest)
        switch context {
        case Self.allocation:
            _ = try allocated(range) { part, isData in body(UInt64(part.count), isData ? 0 : Flags.hole) }
        case Self.depth: try depths(range, body)
        case Self.shared: try sharing(range, body)
        default:
            let name = context.dropFirst(Self.changes.count)
            let snapshot = try pool.find(snapshot: String(name), of: pool.info(id).volume)
            _ = try changed(range, since: snapshot) { part, isChanged in body(UInt64(part.count), isChanged ? 1 : 0) }
        }
    }

    private func depths(_ range: Range<UInt64>, _ body: (UInt64, UInt32) -> Bool) throws(PoolError) {
        let origin = try pool.info(id).origin.map { name throws(PoolError) in
            let parts = split(name)
            return try pool.find(parts.volume, snapshot: parts.snapshot)
        }
        _ = try allocated(range) { part, isData throws(PoolError) in
            guard isData else { return body(UInt64(part.count), Flags.nothing) }
            guard let origin else { return body(UInt64(part.count), Flags.own) }
            return try changed(part, since: origin) { body(UInt64($0.count), $1 ? Flags.own : Flags.inherited) }
        }
    }

    /// 1 for blocks that something else has as well.
    private func sharing(_ range: Range<UInt64>, _ body: (UInt64, UInt32) -> Bool) throws(PoolError) {
        _ = try allocated(range) { part, isData throws(PoolError) in
            guard isData else { return body(UInt64(part.count), 0) }
            return try pool.sharing(id, part) { body(UInt64($0.count), $1 ? 1 : 0) }
        }
    }

    /// Parts that are data, and parts that are holes. False if `body` wanted no more.
    private func allocated(
        _ range: Range<UInt64>, _ body: (Range<UInt64>, Bool) throws(PoolError) -> Bool
    ) throws(PoolError) -> Bool {
        var at = range.lowerBound
        while at < range.upperBound {
            // Beyond an end that has moved there is nothing.
            let extent = try pool.extent(id, at: at, upTo: range.upperBound) ?? Extent(isData: false, end: range.upperBound)
            let end = min(extent.end, range.upperBound)
            if try !body(at..<end, extent.isData) { return false }
            at = end
        }
        return true
    }

    /// Parts that differ from another version, and parts that do not. False if `body` wanted no more.
    private func changed(
        _ range: Range<UInt64>, since other: UInt64, _ body: (Range<UInt64>, Bool) -> Bool
    ) throws(PoolError) -> Bool {
        var at = range.lowerBound
        while at < range.upperBound {
            let end = min(range.upperBound, at + Self.window)
            var differences: [Difference] = []
            try pool.differences(from: other, to: id, within: at..<end) { differences.append($0) }
            for difference in differences {
                let first = max(at, difference.offset), last = min(end, difference.offset + difference.count)
                guard first < last else { continue }
                if first > at, !body(at..<first, false) { return false }
                if !body(first..<last, true) { return false }
                at = last
            }
            if at < end, !body(at..<end, false) { return false }
            at = end
        }
        return true
    }
}
