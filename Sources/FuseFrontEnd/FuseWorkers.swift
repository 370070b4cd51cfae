internal import BlockStorage
internal import CLinux
internal import LinuxIO
internal import Synchronization

/// The threads that serve a session: as many running ones as are best for throughput. Those that wait for storage do not
/// count: others take their place, so that a client's queue becomes a queue at the disk. And while all wait for anything else
/// more are added, so that no request that takes long keeps the others from being served.
final class FuseWorkers: WaitObserver {
    private let session: FuseSession
    private let usual: Int
    /// Threads that stay beyond the usual number when none waits for storage any more.
    private let idle: Int
    private let crowded: @Sendable () -> Void
    static let maximum = 64
    /// Of these, those that come because others wait for storage.
    private static let maximumWaiting = 32
    /// Milliseconds between two looks while no thread is free.
    static let interval = 25
    /// Requests after which it is looked whether there are too many threads.
    private static let period = 64

    private let state = Mutex(State())
    // On the path of every request, and each for itself: how many wait for a request, for storage; requests served; waits begun,
    // in all and at the last look. Those two between which an order matters are sequentially consistent: whoever finds no thread
    // free sees that nobody looks, or is seen by who stops looking.
    private let free = Atomic(0)
    private let isCrowded = Atomic(false)
    private let waiting = Atomic(0), served = Atomic(0), waits = Atomic(0), lastWaits = Atomic(0)

    private struct State {
        /// Those that nobody waits for yet.
        var threads: [Int: WorkerThread] = [:]
        var next = 0
        /// Threads that serve, and their numbers at the kernel. One that has decided to end does not count.
        var count = 0
        var serving: [Int: Int32] = [:]
        /// Threads that have ended and can be joined.
        var ended: [Int] = []
        var servedBefore = 0
        /// Looks in a row at which a thread was free.
        var calm = 0
        var isEnding = false
    }

    /// Starts `count` threads; of those that are added later up to `idle` stay. `crowded` is called when `tend` is to be called.
    init(_ session: FuseSession, count: Int, idle: Int, crowded: @escaping @Sendable () -> Void) throws(PoolError) {
        self.session = session
        self.idle = idle
        self.crowded = crowded
        usual = count
        for _ in 0..<count { try add(upTo: count) }
    }

    /// Starts a thread unless there are `limit`. Under the lock, so that whoever waits for the end of all knows of each.
    private func add(upTo limit: Int) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            if state.isEnding || state.count >= limit { return }
            let number = state.next
            state.threads[number] = WorkerThread(try JoinableThread { [self] in serve(number) })
            state.next += 1
            state.count += 1
        }
    }

    private func serve(_ number: Int) {
        state.withLock { $0.serving[number] = volfs_thread() }
        free.add(1, ordering: .sequentiallyConsistent)
        var isSurplus = false
        session.serve(
            began: {
                if free.subtract(1, ordering: .sequentiallyConsistent).newValue <= 0 { noteCrowd() }
            },
            ended: {
                free.add(1, ordering: .sequentiallyConsistent)
                let count = served.add(1, ordering: .relaxed).newValue
                isSurplus = count % Self.period == 0 && giveUp()
                return isSurplus
            })
        free.subtract(1, ordering: .sequentiallyConsistent)
        state.withLock { state in
            if !isSurplus { state.count -= 1 }
            state.serving[number] = nil
            state.ended.append(number)
        }
    }

    /// Whether the calling thread is one too many, and is to end: there are more than usual, and requests do not wait for storage any
    /// more. It does not count from then on: if it did until it has ended, others would find the same meanwhile, and all could go.
    private func giveUp() -> Bool {
        let all = waits.load(ordering: .relaxed)
        let recent = all - lastWaits.exchange(all, ordering: .relaxed)
        guard recent < Self.period / 16 else { return false }
        return state.withLock { state in
            guard state.count > usual + idle else { return false }
            state.count -= 1
            return true
        }
    }

    // MARK: Waiting for storage

    /// While a thread is free nobody has to know who waits.
    var wantsNotice: Bool { free.load(ordering: .relaxed) <= 0 }

    func beginsWaiting() {
        waits.add(1, ordering: .relaxed)
        let count = waiting.add(1, ordering: .relaxed).newValue
        // Without another thread it goes on, slower.
        if free.load(ordering: .relaxed) <= 0 { try? add(upTo: min(usual + count, Self.maximumWaiting)) }
    }

    func endsWaiting() { waiting.subtract(1, ordering: .relaxed) }

    // MARK: Waiting for anything else

    private func noteCrowd() {
        if isCrowded.load(ordering: .sequentiallyConsistent) { return }
        if !isCrowded.exchange(true, ordering: .sequentiallyConsistent) { crowded() }
    }

    /// To be called after `crowded`, and again every `interval` milliseconds as long as it returns true: adds a thread if none was
    /// free and none has finished anything since the last call.
    func tend() -> Bool {
        let isFree = free.load(ordering: .sequentiallyConsistent) > 0
        let served = served.load(ordering: .relaxed)
        let (ended, isStuck, isCalm) = state.withLock { state in
            let ended = state.ended.compactMap { state.threads.removeValue(forKey: $0) }
            state.ended.removeAll()
            let isStuck = !isFree && served == state.servedBefore
            state.servedBefore = served
            state.calm = isFree ? state.calm + 1 : 0
            return (ended, isStuck, state.calm >= 8)
        }
        for thread in ended { thread.join() }
        // Without another thread it goes on as slowly as before.
        if isStuck { try? add(upTo: Self.maximum) }
        guard isCalm, isCrowded.load(ordering: .sequentiallyConsistent) else { return isCrowded.load(ordering: .sequentiallyConsistent) }
        isCrowded.store(false, ordering: .sequentiallyConsistent)
        if free.load(ordering: .sequentiallyConsistent) <= 0 { isCrowded.store(true, ordering: .sequentiallyConsistent) }
        return isCrowded.load(ordering: .sequentiallyConsistent)
    }

    /// Returns when no thread takes a request any more and those that were taken are answered, while the mount stays. Another
    /// thread is in `join`.
    func leave() {
        session.leave()
        // An interruption just before a thread begins to wait is none, so there is another.
        while state.withLock({ $0.count > 0 }) {
            for thread in state.withLock({ $0.serving.values }) { volfs_interrupt(thread) }
            pause(milliseconds: 5)
        }
    }

    /// Returns when all threads have ended, as they do when the mount is gone.
    func join() {
        while let thread = state.withLock({ state in
            let last = state.threads.popFirst()?.value
            state.isEnding = last == nil
            return last
        }) { thread.join() }
    }
}

/// Holds a thread in a dictionary.
private final class WorkerThread: Sendable {
    private let thread: Mutex<JoinableThread?>
    init(_ thread: consuming sending JoinableThread) { self.thread = Mutex(consume thread) }
    func join() { thread.withLock { $0.take() }?.join() }
}
