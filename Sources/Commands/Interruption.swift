internal import Glibc
internal import Synchronization

/// Signals that a long command answers at a moment of its own choosing.
///
/// SIGINT and SIGTERM are noted, and looked at between two pieces of work, so that what is there remains something to go on
/// with. A second one ends the process at once. SIGUSR1 asks for a line of progress. Any thread may ask.
enum Interruption {
    // Only the numbers themselves are communicated, so relaxed order is enough.
    private static let ending = Atomic<Int32>(0)
    private static let wantsLine = Atomic(false)
    private static let isGuarded = Atomic(false)

    /// From now on signals are noted.
    static func watch() {
        // Handlers find these made: a lazy global must not be made in one.
        ending.store(0, ordering: .relaxed)
        wantsLine.store(false, ordering: .relaxed)
        isGuarded.store(false, ordering: .relaxed)
        for number in [SIGINT, SIGTERM, SIGHUP] where !isIgnored(number) {
            handle(number) { number in
                let (isFirst, _) = Interruption.ending.compareExchange(expected: 0, desired: number, ordering: .relaxed)
                if !isFirst && !Interruption.isGuarded.load(ordering: .relaxed) { _exit(128 + number) }
            }
        }
        handle(SIGUSR1) { _ in Interruption.wantsLine.store(true, ordering: .relaxed) }
    }

    /// As nohup(1) and a shell's background do it.
    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        return sigaction(number, nil, &action) == 0 && action.__sigaction_handler.sa_handler.map { unsafeBitCast($0, to: Int.self) } == 1
    }

    /// Without SA_RESTART, so that a read from a pipe that nobody writes to ends.
    private static func handle(_ number: Int32, _ handler: @escaping @convention(c) (Int32) -> Void) {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = handler
        sigaction(number, &action, nil)
    }

    static var isEnding: Bool { ending.load(ordering: .relaxed) != 0 }

    /// True once for each SIGUSR1.
    static func takeLineRequest() -> Bool { wantsLine.exchange(false, ordering: .relaxed) }

    /// While `body` runs no signal but SIGKILL ends the process.
    static func guarded<Result>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        watch()
        isGuarded.store(true, ordering: .relaxed)
        defer { isGuarded.store(false, ordering: .relaxed) }
        return try body()
    }

    /// Throws if a signal asked for the end. `hint` says what is left, and how to go on.
    static func check(_ object: String, _ hint: String) throws(Failure) {
        if isEnding { throw failure(object, hint) }
    }

    static func failure(_ object: String, _ hint: String) -> Failure {
        let status: Failure.Status = ending.load(ordering: .relaxed) == SIGTERM ? .terminated : .interrupted
        return Failure(status, object, "interrupted; \(hint)", errno: EINTR)
    }
}
