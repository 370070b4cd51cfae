internal import Glibc

/// Where one thread waits for what another does. Opened while nobody waits, it lets the next one through. Any thread may open it,
/// one at a time waits.
public final class Gate: @unchecked Sendable {
    // Sendable: `isOpen` is used under the mutex only. Both C objects are in memory of their own, as they must not move.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var isOpen = false

    public init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    public func open() {
        pthread_mutex_lock(mutex)
        isOpen = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// Returns true once it is opened, and closes it again; false at `deadline`, by `monotonicClock()`.
    @discardableResult public func wait(until deadline: UInt64) -> Bool {
        var time = timespec(tv_sec: Int(deadline / 1_000_000_000), tv_nsec: Int(deadline % 1_000_000_000))
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while !isOpen {
            // `.max` is for ever.
            if deadline == .max { pthread_cond_wait(condition, mutex) } else if pthread_cond_timedwait(condition, mutex, &time) == ETIMEDOUT { break }
        }
        defer { isOpen = false }
        return isOpen
    }
}
