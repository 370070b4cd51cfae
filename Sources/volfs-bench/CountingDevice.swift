internal import BlockStorage
internal import Synchronization

/// Memory as a device, that counts the calls it gets: each would be one system call of a file.
final class CountingDevice: BlockDevice, @unchecked Sendable {
    // Sendable: the bytes are touched by one call at a time, as this program has one thread.
    let size: UInt64
    private let bytes: UnsafeMutableRawBufferPointer
    private let count = Atomic(0)

    /// Of `size` bytes, all zero; what is never touched takes no memory.
    init(size: Int) {
        self.size = UInt64(size)
        bytes = .allocate(byteCount: size, alignment: AlignedBuffer.alignment)
    }

    deinit { bytes.deallocate() }

    /// How often it was called.
    var calls: Int { count.load(ordering: .relaxed) }

    func read(into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        count.add(1, ordering: .relaxed)
        target.copyMemory(from: UnsafeRawBufferPointer(part(offset, target.count)))
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        count.add(1, ordering: .relaxed)
        part(offset, source.count).copyMemory(from: source)
    }

    func write(_ pieces: [UnsafeRawBufferPointer], at offset: UInt64) throws(PoolError) {
        count.add(1, ordering: .relaxed)
        var at = offset
        for piece in pieces {
            part(at, piece.count).copyMemory(from: piece)
            at += UInt64(piece.count)
        }
    }

    func flush() throws(PoolError) { count.add(1, ordering: .relaxed) }
    func flushAndDropCache() throws(PoolError) { count.add(1, ordering: .relaxed) }

    func discard(at offset: UInt64, count length: UInt64) throws(PoolError) {
        count.add(1, ordering: .relaxed)
        part(offset, Int(length)).initializeMemory(as: UInt8.self, repeating: 0)
    }

    private func part(_ offset: UInt64, _ count: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: bytes[Int(offset)..<Int(offset) + count])
    }
}
