public import BlockStorage
internal import Glibc

/// A thread that can be waited for.
public struct JoinableThread: ~Copyable, @unchecked Sendable {
    // Sendable: a pthread_t may be joined from any thread, once, which consuming it ensures.
    private let handle: pthread_t

    /// Starts `body` on a thread of its own, with every signal blocked there that the caller has blocked.
    public init(_ body: @escaping @Sendable () -> Void) throws(PoolError) {
        let box = Unmanaged.passRetained(Box(body))
        var handle = pthread_t()
        let result = pthread_create(&handle, nil, { Unmanaged<Box>.fromOpaque($0!).takeRetainedValue().body(); return nil }, box.toOpaque())
        guard result == 0 else {
            box.release()
            throw .system(.thread, errno: result)
        }
        self.handle = handle
    }

    /// Returns when the thread's body has.
    public consuming func join() { pthread_join(handle, nil) }

    /// Lets it run on alone.
    public consuming func detach() { pthread_detach(handle) }

    private final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}

/// Sleeps about that long; less if a signal arrives.
public func pause(milliseconds: Int) {
    var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
    nanosleep(&time, nil)
}

/// Nanoseconds since 1970.
public func wallClock() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Nanoseconds of a clock that only goes forward.
public func monotonicClock() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Signals that a thread waits for instead of being interrupted by them.
public enum Signals {
    /// Blocks `signals` in this thread and in those it starts from now on. SIGPIPE is ignored.
    public static func block(_ signals: [Int32]) {
        var set = sigset_t()
        sigemptyset(&set)
        for number in signals { sigaddset(&set, number) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// The next of the blocked `signals`, or nil when none came within about `milliseconds`.
    public static func wait(_ signals: [Int32], milliseconds: Int) -> Int32? {
        var set = sigset_t()
        sigemptyset(&set)
        for number in signals { sigaddset(&set, number) }
        var time = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        let number = sigtimedwait(&set, nil, &time)
        return number > 0 ? number : nil
    }
}
