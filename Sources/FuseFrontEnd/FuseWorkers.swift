internal import BlockStorage
internal import LinuxIO
internal import Synchronization

/// The threads that serve a session: as many as are best for throughput, and more while all of them wait for something, so
/// that no request that takes long, a flush or the end of an open file, keeps the others from being served.
final class FuseWorkers: Sendable {
    private let session: FuseSession
    private let usual: Int
    /// Beyond the usual number, a thread ends when more than so many wait for requests.
    private let idle: Int
    static let maximum = 64
    private let state = Mutex(State())

    private struct State {
        /// Those that nobody waits for yet.
        var threads: [Int: WorkerThread] = [:]
        var next = 0
        /// Threads that serve.
        var count = 0
        /// Threads that have ended and can be joined.
        var ended: [Int] = []
        var busy = 0
        var served: UInt64 = 0
        var servedBefore: UInt64 = 0
    }

    /// Starts `count` threads; of those that are added later up to `idle` stay.
    init(_ session: FuseSession, count: Int, idle: Int) throws(PoolError) {
        self.session = session
        self.idle = idle
        usual = count
        for _ in 0..<count { try add() }
    }

    private func add() throws(PoolError) {
        let number = state.withLock { state in
            state.next += 1
            state.count += 1
            return state.next
        }
        let thread: WorkerThread
        do throws(PoolError) {
            thread = WorkerThread(try JoinableThread { [self] in serve(number) })
        } catch {
            state.withLock { $0.count -= 1 }
            throw error
        }
        state.withLock { $0.threads[number] = thread }
    }

    private func serve(_ number: Int) {
        session.serve(
            began: { state.withLock { $0.busy += 1 } },
            ended: {
                state.withLock { state in
                    state.busy -= 1
                    state.served += 1
                    // Enough others are waiting for requests.
                    return state.count > usual && state.count - state.busy > idle
                }
            })
        state.withLock { state in
            state.count -= 1
            state.ended.append(number)
        }
    }

    /// To be called some tens of times a second: adds a thread if none was free and none has finished anything since the last
    /// call.
    func tend() {
        let (ended, isStuck) = state.withLock { state in
            let ended = state.ended.compactMap { state.threads.removeValue(forKey: $0) }
            state.ended.removeAll()
            let isStuck = state.busy == state.count && state.count < Self.maximum && state.served == state.servedBefore
            state.servedBefore = state.served
            return (ended, isStuck)
        }
        for thread in ended { thread.join() }
        // Without another thread it goes on as slowly as before.
        if isStuck { try? add() }
    }

    /// Returns when all threads have ended, as they do when the mount is gone.
    func join() {
        while let thread = state.withLock({ state in state.threads.popFirst()?.value }) { thread.join() }
    }
}

/// Holds a thread in a dictionary.
private final class WorkerThread: Sendable {
    private let thread: Mutex<JoinableThread?>
    init(_ thread: consuming sending JoinableThread) { self.thread = Mutex(consume thread) }
    func join() { thread.withLock { $0.take() }?.join() }
}
