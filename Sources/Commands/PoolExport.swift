internal import BlockStorage
internal import NBD
internal import PoolEngine
internal import VolumeFS

/// A volume or a snapshot as one connection uses it.
final class PoolExport: Export {
    private let files: VolumeFileSystem
    private let id: UInt64
    private let handle: UInt64

    init(_ files: VolumeFileSystem, _ id: UInt64, handle: UInt64) {
        self.files = files
        self.id = id
        self.handle = handle
    }

    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try files.pool.read(id, at: offset, into: bytes)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try files.writeWithin(id, at: offset, bytes)
    }

    func write(_ pieces: [WritePiece]) -> [PoolError?] { files.writeWithin(id, pieces) }

    func settle() throws(PoolError) { try files.pool.settleWrites() }

    /// A snapshot is durable as long as it exists.
    func flush() throws(PoolError) { try files.sync(.file(id)) }

    func discard(at offset: UInt64, count: UInt64) throws(PoolError) { try files.discardWithin(id, at: offset, count: count) }

    /// Giving blocks back is how a range becomes zero, and always faster than writing. Blocks of zeros take no space, so space
    /// is kept by a reservation.
    func zero(at offset: UInt64, count: UInt64, keepsSpace: Bool, isFast: Bool) throws(PoolError) {
        try files.zeroWithin(id, at: offset, count: count, keepsSpace: keepsSpace)
    }

    /// Reads what there is, so that the host has it in memory.
    func prefetch(at offset: UInt64, count: UInt64) throws(PoolError) {
        let buffer = AlignedBuffer(count: 1 << 20)
        // A hint is not worth more than the largest read.
        let end = offset + min(count, 32 << 20)
        var at = offset
        while at < end {
            let part = buffer.bytes.part(0..<Int(min(end - at, UInt64(buffer.bytes.count))))
            try files.pool.read(id, at: at, into: part)
            at += UInt64(part.count)
        }
    }

    func extents(
        _ context: String, at offset: UInt64, count: UInt64, _ body: (_ length: UInt64, _ flags: UInt32) -> Bool
    ) throws(PoolError) {
        try ExtentSource(files.pool, id, context).extents(offset..<offset + count, body)
    }

    func close() { files.leave(id, handle) }
}
