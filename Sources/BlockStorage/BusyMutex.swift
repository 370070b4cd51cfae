internal import Glibc

/// A value behind a lock that many threads want at the same time and have for a few microseconds each, as `Mutex` otherwise.
///
/// `Mutex` hands the lock to the one that waits longest, who first has to be scheduled; until then nobody has any use of it. With
/// more threads than processors, each request then costs a switch of threads. Here whoever comes first has it.
public struct BusyMutex<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    // Sendable: the value came here with `sending`, and is reached by whoever holds the lock.
    @usableFromInline let lock: BusyLock
    @usableFromInline let value: UnsafeMutablePointer<Value>

    public init(_ value: consuming sending Value) {
        lock = BusyLock()
        self.value = .allocate(capacity: 1)
        self.value.initialize(to: value)
    }

    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
    }

    /// Not to be called by who holds the lock already. On every request's path, and generic: hence inlinable.
    @inlinable
    public borrowing func withLock<Result: ~Copyable, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        lock.take()
        defer { lock.give() }
        return try body(&value.pointee)
    }
}

/// A lock of pthreads: tried for a moment, then waited for.
@usableFromInline
final class BusyLock: @unchecked Sendable {
    // Sendable: made for threads, and stays where it is.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    @usableFromInline
    init() {
        var attributes = pthread_mutexattr_t()
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, Int32(PTHREAD_MUTEX_ADAPTIVE_NP))
        let result = pthread_mutex_init(mutex, &attributes)
        precondition(result == 0, "a lock needs nothing but memory")
        pthread_mutexattr_destroy(&attributes)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    @usableFromInline
    func take() {
        let result = pthread_mutex_lock(mutex)
        precondition(result == 0, "a lock is taken once at a time")
    }

    @usableFromInline
    func give() { pthread_mutex_unlock(mutex) }
}
