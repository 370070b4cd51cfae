internal import BlockStorage
internal import Glibc

/// I/O memory that each thread has for itself, from its first use until it ends.
public final class ThreadBuffer: @unchecked Sendable {
    // Sendable: each thread sees its own memory only, and the key does not change.
    private var key = pthread_key_t()
    private let count: Int

    /// Of `count` bytes.
    public init(count: Int) {
        self.count = count
        let result = pthread_key_create(&key) { Unmanaged<Memory>.fromOpaque($0!).release() }
        precondition(result == 0, "a process has few of these")
    }

    /// No thread frees what it has after this, so that it stays until the process ends: the threads that use it should end first.
    deinit { pthread_key_delete(key) }

    /// This thread's memory. What is in it is of no meaning, and overwritten by the next user.
    public var bytes: UnsafeMutableRawBufferPointer {
        if let known = pthread_getspecific(key) {
            return Unmanaged<Memory>.fromOpaque(known).takeUnretainedValue().buffer.bytes
        }
        let memory = Memory(count: count)
        pthread_setspecific(key, Unmanaged.passRetained(memory).toOpaque())
        return memory.buffer.bytes
    }

    private final class Memory {
        let buffer: AlignedBuffer
        init(count: Int) { buffer = AlignedBuffer(count: count) }
    }
}
