/// Bytes that outlive the process: a file, a disk, something over the network, or a test's simulation of one.
///
/// Every call may come from any thread, and calls may overlap in time. A write that returned is seen by every later
/// read; it survives the end of the process, but not loss of power until a later `flush` returned. Offsets and counts
/// are bytes. An offset outside `size` is refused with `.outOfRange`; every failure is thrown, none is retried here.
public protocol BlockDevice: AnyObject, Sendable {
    /// Size in bytes now.
    var size: UInt64 { get throws(PoolError) }

    /// Fills `bytes` from `offset`. Bytes never written, or discarded, read as zero.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError)

    /// Fills each piece from its own offset, as `read` would one after the other; a device that can fetches them side by side. On
    /// failure any of them may have been filled.
    func read(_ pieces: UnsafeBufferPointer<ReadPiece>) throws(PoolError)

    /// Whether it is of use to say beforehand what will be read: reads of late had to wait for what lies below.
    var wantsForecast: Bool { get }

    /// Says what will be read soon, in bytes. A device may fetch it, and does not let the caller wait for that.
    func forecast(_ ranges: [Range<UInt64>])

    /// Writes all of `bytes` at `offset`. On failure any part of them may have been written.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError)

    /// Writes pieces of memory one behind the other from `offset`, as `write` of all of them in one.
    func write(_ pieces: [UnsafeRawBufferPointer], at offset: UInt64) throws(PoolError)

    /// Returns when every write that had returned before the call is durable. After a failure the caller must not
    /// assume anything about those writes, nor call again: the kernel may have dropped the pages.
    func flush() throws(PoolError)

    /// As `flush`; what is read afterwards comes from the device, not from a cache above it. Memory can hold what a failed
    /// flush has lost on the way down, and a pool that is opened after one must see what is really there.
    func flushAndDropCache() throws(PoolError)

    /// Gives the range back to the layer below. It reads as zero or as before until a flush, as zero afterwards.
    func discard(at offset: UInt64, count: UInt64) throws(PoolError)

    /// Sees to it that the layer below has storage for the range, so that no write to it can fail for want of room there. What the
    /// range holds is not changed. Throws `.system(.fallocate, ENOSPC)`. Does nothing where that is not a question.
    func allocate(at offset: UInt64, count: UInt64) throws(PoolError)

    /// Makes the device `size` bytes large, if that is more. The size is durable on return; what is new reads as zero. Throws
    /// `.notSupported` where a device cannot become larger.
    func grow(to size: UInt64) throws(PoolError)

    /// Makes the device `size` bytes large, if that is less. What is behind is lost; the size is durable on return. A device whose
    /// size is not ours to change stays as it is.
    func shrink(to size: UInt64) throws(PoolError)

    /// Bytes by which the device could become larger and have storage for all it then holds.
    var room: UInt64 { get throws(PoolError) }

    /// Bytes that the layer below still has for ranges without storage, and bytes of the device that have storage. Nil where that
    /// is not a question.
    var storage: (free: UInt64, allocated: UInt64)? { get }

    /// Where the bytes can be copied from as long as this process lives, if nothing names them any more: they end with it. Nil as
    /// long as something does.
    var lastRefuge: String? { get }

    /// Since when what has the bytes cannot be reached, so that calls wait: nanoseconds since 1970. Nil while it can, as far as is known.
    var absentSince: UInt64? { get }
}

extension BlockDevice {
    public func read(_ pieces: UnsafeBufferPointer<ReadPiece>) throws(PoolError) {
        for piece in pieces { try read(into: piece.bytes, at: piece.offset) }
    }

    public func write(_ pieces: [UnsafeRawBufferPointer], at offset: UInt64) throws(PoolError) {
        var at = offset
        for piece in pieces {
            try write(piece, at: at)
            at += UInt64(piece.count)
        }
    }

    public var wantsForecast: Bool { false }
    public func forecast(_ ranges: [Range<UInt64>]) {}

    public func grow(to size: UInt64) throws(PoolError) { throw .notSupported }
    public func shrink(to size: UInt64) throws(PoolError) {}
    public var room: UInt64 { get throws(PoolError) { 0 } }
    public func allocate(at offset: UInt64, count: UInt64) throws(PoolError) {}
    public var storage: (free: UInt64, allocated: UInt64)? { nil }
    public var lastRefuge: String? { nil }
    public var absentSince: UInt64? { nil }
}

/// Memory, and the place of a device that it is filled from.
public struct ReadPiece {
    public let bytes: UnsafeMutableRawBufferPointer
    /// In bytes.
    public let offset: UInt64

    public init(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) {
        self.bytes = bytes
        self.offset = offset
    }

    public var range: Range<UInt64> { offset..<offset + UInt64(bytes.count) }
}

/// Memory, and the place that it is to be written to.
public struct WritePiece {
    public let bytes: UnsafeRawBufferPointer
    /// In bytes.
    public let offset: UInt64

    public init(of bytes: UnsafeRawBufferPointer, at offset: UInt64) {
        self.bytes = bytes
        self.offset = offset
    }
}
