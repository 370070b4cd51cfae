internal import Glibc
internal import Synchronization

/// Tells a service manager from a thread of its own what the daemon does, also while the others are busy for long: its state
/// when that has changed, that it needs more time while it starts or ends, and that it lives. Without a service manager it
/// does nothing.
public final class ServiceReporter: Sendable {
    /// Time that is asked for, and how often, in nanoseconds.
    private static let extraTime: UInt64 = 30_000_000_000, extensionInterval: UInt64 = 5_000_000_000
    private static let statusInterval: UInt64 = 1_000_000_000

    private struct Phase: Sendable {
        /// More time is needed: while starting, and while ending.
        var extends = false
        /// Called on the reporter's thread. If it never returns, neither does the sign of life go out.
        var status: @Sendable () -> String = { "" }
    }
    private let phase = Mutex(Phase())
    private let isListening: Bool
    private let isEnded = Atomic(false)
    private let thread = Mutex<Handle?>(nil)

    /// One that never says anything.
    public static let none = ServiceReporter(isListening: false)

    public convenience init() { self.init(isListening: ServiceManager.isListening) }

    private init(isListening: Bool) {
        self.isListening = isListening
        guard isListening else { return }
        // Signals are for the thread that waits for them.
        var all = sigset_t(), before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        guard let started = try? JoinableThread({ [self] in report() }) else { return }
        let handle = Handle(started)
        thread.withLock { $0 = handle }
    }

    /// Begins a phase: sends `words`, lines as `READY=1`, with the state, and goes on with what `status` says from time to time.
    public func begin(_ words: [String] = [], extends: Bool, status: @escaping @Sendable () -> String) {
        phase.withLock { $0 = Phase(extends: extends, status: status) }
        guard isListening else { return }
        ServiceManager.notify((words + ["STATUS=\(status())"] + Self.extensionWords(extends)).joined(separator: "\n"))
    }

    /// Returns when nothing is sent any more.
    public func end() {
        isEnded.store(true, ordering: .relaxed)
        thread.withLock { $0.take() }?.join()
    }

    private static func extensionWords(_ extends: Bool) -> [String] { extends ? ["EXTEND_TIMEOUT_USEC=\(extraTime / 1000)"] : [] }

    private func report() {
        let watchdog = ServiceManager.watchdogInterval
        let step = max(5, min(250, watchdog.map { Int($0 / 4_000_000) } ?? 250))
        var sent = "", lastStatus = monotonicClock(), lastExtension = lastStatus, lastSign: UInt64 = 0
        while !isEnded.load(ordering: .relaxed) {
            pause(milliseconds: step)
            let now = monotonicClock()
            let current = phase.withLock { $0 }
            var words: [String] = []
            if now - lastStatus >= Self.statusInterval || watchdog != nil {
                let status = current.status()
                if now - lastStatus >= Self.statusInterval {
                    if status != sent { words.append("STATUS=\(status)") }
                    (sent, lastStatus) = (status, now)
                }
            }
            if current.extends && now - lastExtension >= Self.extensionInterval {
                words += Self.extensionWords(true)
                lastExtension = now
            }
            if let watchdog, now - lastSign >= watchdog / 2 {
                words.append("WATCHDOG=1")
                lastSign = now
            }
            if !words.isEmpty { ServiceManager.notify(words.joined(separator: "\n")) }
        }
    }

    /// Holds a thread in a lock.
    private final class Handle: Sendable {
        private let thread: Mutex<JoinableThread?>
        init(_ thread: consuming sending JoinableThread) { self.thread = Mutex(consume thread) }
        func join() { thread.withLock { $0.take() }?.join() }
    }
}
