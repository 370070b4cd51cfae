internal import BlockStorage
internal import Synchronization

/// Memory for direct I/O on memory that is not aligned: a mebibyte for each transfer under way, some of which are kept.
final class BounceBuffers: Sendable {
    private static let size = 1 << 20, kept = 4
    private let idle = Mutex<[Buffer]>([])

    static func isAligned(_ bytes: UnsafeRawBufferPointer, _ offset: UInt64) -> Bool {
        let unit = AlignedBuffer.alignment
        return UInt(bitPattern: bytes.baseAddress) % UInt(unit) == 0 && bytes.count % unit == 0 && offset % UInt64(unit) == 0
    }

    func withBuffer(_ body: (UnsafeMutableRawBufferPointer) throws(PoolError) -> Void) throws(PoolError) {
        let buffer = idle.withLock { $0.popLast() } ?? Buffer()
        defer { idle.withLock { if $0.count < Self.kept { $0.append(buffer) } } }
        try body(buffer.memory.bytes)
    }

    private final class Buffer: Sendable {
        let memory = AlignedBuffer(count: BounceBuffers.size)
    }
}
