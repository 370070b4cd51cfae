internal import BlockStorage
internal import LinuxIO
internal import Synchronization

/// Has the threads that serve a session run where its client does, while that is a single thread and `LoneClientPlan` finds it of
/// use. Any thread may call.
final class LoneClient: Sendable {
    private let processors: Processors?
    private let state = Mutex(State())
    // On the path of every request. They are hints: one that is seen late shifts a measurement.
    private let client = Atomic<Int32>(0)
    private let hasCompany = Atomic(false), isFollowing = Atomic(false)

    private struct State {
        var threads: Set<Int32> = []
        var plan = LoneClientPlan()
        var start = monotonicClock()
        var sleeps = 0
        var processor: Int?
    }

    init(isFollowed: Bool) { processors = isFollowed ? Processors() : nil }

    /// A thread of this process begins to serve. It may have been started by one that runs on a single processor.
    func enter(_ thread: Int32) {
        guard let processors else { return }
        state.withLock { state in
            state.threads.insert(thread)
            processors.keep(thread, on: state.processor)
        }
    }

    func leave(_ thread: Int32) { state.withLock { _ = $0.threads.remove(thread) } }

    /// A request is there, from a thread by its number at the kernel; 0 is nobody.
    func begins(_ thread: Int32) {
        if thread == client.load(ordering: .relaxed) || thread == 0 { return }
        client.store(thread, ordering: .relaxed)
        hasCompany.store(true, ordering: .relaxed)
        guard isFollowing.load(ordering: .relaxed), let processors else { return }
        state.withLock { state in
            state.plan.stop()
            follow(processors, &state, to: nil)
        }
    }

    /// So many requests are answered. To be called after each.
    func ends(_ count: Int) {
        guard let processors, count % LoneClientPlan.measured == 0 else { return }
        state.withLock { state in
            let now = monotonicClock()
            let sleeps = countOfSleeps()
            // Who finds the next request there already does not sleep before it.
            let isQueued = sleeps - state.sleeps < LoneClientPlan.measured * 7 / 8
            state.sleeps = sleeps
            let thread = hasCompany.exchange(false, ordering: .relaxed) || isQueued ? nil : client.load(ordering: .relaxed)
            let next = state.plan.next(now - state.start, client: thread, processor: thread.flatMap(Processors.current))
            state.start = now
            follow(processors, &state, to: next)
        }
    }

    private func follow(_ processors: Processors, _ state: inout State, to processor: Int?) {
        if state.processor == processor { return }
        state.processor = processor
        isFollowing.store(processor != nil, ordering: .relaxed)
        for thread in state.threads { processors.keep(thread, on: processor) }
    }
}
