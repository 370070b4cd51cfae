internal import Synchronization

/// Told when a thread begins and ends to wait for storage: others can use the processor meanwhile.
public protocol WaitObserver: AnyObject, Sendable {
    /// Whether it matters now: to find out whether a read will wait costs something where it does.
    var wantsNotice: Bool { get }
    func beginsWaiting()
    func endsWaiting()
}

/// Where a device says that a thread waits for it. Any thread may call.
public final class WaitNotice: Sendable {
    private let observer = Mutex<(any WaitObserver)?>(nil)

    package init() {}

    /// Who is told from now on. To be set while nobody waits.
    public func tell(_ observer: (any WaitObserver)?) { self.observer.withLock { $0 = observer } }

    var isWanted: Bool { observer.withLock { $0?.wantsNotice ?? false } }

    package func during<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        guard let observer = observer.withLock({ $0 }) else { return try body() }
        observer.beginsWaiting()
        defer { observer.endsWaiting() }
        return try body()
    }
}
