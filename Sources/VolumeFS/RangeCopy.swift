internal import BlockStorage
internal import PoolEngine

/// A copy of a range as it goes on, step by step: blocks that can be shared are, the rest is copied through a buffer, and what
/// is hole in the source is hole in the destination.
struct RangeCopy: ~Copyable {
    /// Bytes that are shared in one step.
    private static let piece: UInt64 = 64 << 20
    private static let bufferSize: UInt64 = 1 << 20

    private let pool: Pool
    private let source: UInt64, destination: UInt64
    private let offset: UInt64, target: UInt64, count: UInt64
    /// Bytes that the destination may map.
    private let quota: UInt64
    private let unit: UInt64, leaf: UInt64
    private var done: UInt64 = 0
    /// The last attempt to share ended early: what comes next has to be copied.
    private var isRefused = false
    private let buffer: AlignedBuffer

    init(
        pool: Pool, from source: UInt64, at offset: UInt64, to destination: UInt64, at target: UInt64, count: UInt64, quota: UInt64
    ) {
        self.pool = pool
        self.source = source
        self.destination = destination
        self.offset = offset
        self.target = target
        self.count = count
        self.quota = quota
        unit = UInt64(pool.geometry.blockSize)
        leaf = UInt64(pool.geometry.fanout) * unit
        buffer = AlignedBuffer(count: Int(Self.bufferSize))
    }

    /// Copies until the end, the source's new end if it becomes smaller, a failure, or a cancellation, which is asked for before
    /// each step; and with something done where it `isEnding`. Returns the bytes done; what stopped it is thrown where nothing was,
    /// and met again by who goes on.
    mutating func run(isCancelled: () -> Bool, isEnding: () -> Bool = { false }) throws(PoolError) -> UInt64 {
        while done < count {
            if done > 0 && isEnding() { break }
            if isCancelled() {
                if done == 0 { throw .cancelled }
                break
            }
            do throws(PoolError) {
                let step = try step()
                if step == 0 { break }
                done += step
            } catch {
                // The source became smaller.
                if case .outOfRange = error { break }
                if done == 0 { throw error }
                break
            }
        }
        return done
    }

    private var from: UInt64 { offset + done }
    private var to: UInt64 { target + done }

    /// Bytes done; 0 at the source's end.
    private mutating func step() throws(PoolError) -> UInt64 {
        let left = count - done
        guard from % unit == to % unit else { return try copyBytes(left) }
        let head = (unit - from % unit) % unit
        if head > 0 { return try copyBytes(min(head, left)) }
        if !isRefused {
            // A quota is looked at a leaf at a time, as what a range will map is known only then.
            let wanted = min(left, quota == .max ? Self.piece : leaf - to % leaf)
            try refuseByQuota(wanted)
            let shared = try pool.share(from: source, at: from, to: destination, at: to, count: wanted)
            isRefused = shared < wanted
            if shared > 0 { return shared }
        }
        isRefused = false
        return try copyBytes(min(left, leaf - to % leaf))
    }

    /// Copies at most `limit` bytes through the buffer, to the end of a block where more are to follow; or passes over a hole, as
    /// far as it reaches.
    private mutating func copyBytes(_ limit: UInt64) throws(PoolError) -> UInt64 {
        let size = try pool.size(source).bytes
        guard from < size else { return 0 }
        let part = min(limit, size - from, Self.bufferSize - to % unit)
        let bytes = buffer.bytes.part(0..<Int(part))
        try pool.read(source, at: from, into: bytes)
        guard isZero(UnsafeRawBufferPointer(bytes)) else {
            try refuseByQuota(part)
            try pool.write(destination, at: to, UnsafeRawBufferPointer(bytes), growing: true)
            return part
        }
        // A whole block of zeros is a hole, whose end is found without reading it.
        let block = (from + unit - 1) / unit * unit
        var end = from + part
        if block + unit <= end, let extent = try pool.extent(source, at: block), !extent.isData { end = max(end, extent.end) }
        let hole = min(limit, end - from)
        try makeHole(hole)
        return hole
    }

    /// Makes a hole of so many bytes of the destination. Its size follows by a write of one zero, and not by a change of size,
    /// which would cut off what somebody else writes behind it meanwhile.
    private func makeHole(_ count: UInt64) throws(PoolError) {
        try pool.discard(destination, at: to, count: count)
        guard try pool.size(destination).bytes < to + count else { return }
        let zero = AlignedBuffer(count: 1)
        try pool.write(destination, at: to + count - 1, UnsafeRawBufferPointer(zero.bytes), growing: true)
    }

    /// Throws if the destination could map more than its quota by so many bytes from where the copy is: not for overwriting,
    /// and not for holes.
    private func refuseByQuota(_ count: UInt64) throws(PoolError) {
        guard quota != .max, try pool.info(destination).referenced + count > quota else { return }
        var at = to
        let end = to + count
        while at < end, let extent = try pool.extent(destination, at: at), extent.isData { at = extent.end }
        if at >= end { return }
        let size = try pool.size(source).bytes
        let bytes = buffer.bytes.part(0..<Int(min(count, Self.bufferSize, size > from ? size - from : 0)))
        if bytes.count > 0 { try pool.read(source, at: from, into: bytes) }
        if UInt64(bytes.count) == count, isZero(UnsafeRawBufferPointer(bytes)) { return }
        throw .refused(.quota(limit: quota))
    }
}
