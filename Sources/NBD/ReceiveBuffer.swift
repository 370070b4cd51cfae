internal import BlockStorage

/// Bytes that have come and are not taken yet. Only the thread that receives puts some in; taking and putting happen under the
/// connection's lock, receiving itself does not.
final class ReceiveBuffer: @unchecked Sendable {
    // Sendable: see above.
    /// What each connection has, in bytes.
    static let size = 128 << 10
    private let memory: AlignedBuffer
    private var head = 0
    private var tail = 0

    init(capacity: Int) { memory = AlignedBuffer(count: capacity) }

    var count: Int { tail - head }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(memory.bytes.part(head..<tail)) }

    /// Nothing moves: somebody may be receiving behind what is there.
    func drop(_ count: Int) { head += count }

    /// Room for the next bytes, after moving what is there to the front. Stays valid until `put`.
    func room() -> UnsafeMutableRawBufferPointer {
        if head > 0 {
            if head < tail { memory.bytes.part(0..<count).copyMemory(from: UnsafeRawBufferPointer(memory.bytes.part(head..<tail))) }
            (head, tail) = (0, count)
        }
        return memory.bytes.part(tail..<memory.bytes.count)
    }

    /// `count` bytes were received into `room()`.
    func put(_ count: Int) { tail += count }
}
