internal import Synchronization

/// Told when a thread begins and ends to wait for storage: others can use the processor meanwhile.
public protocol WaitObserver: AnyObject, Sendable {
    /// Whether it matters now: to find out whether a read will wait costs something where it does.
    var wantsNotice: Bool { get }
    func beginsWaiting()
    func endsWaiting()
}

/// Where a device says that a thread waits for it. Any thread may call. Without a lock, which every read would take.
public final class WaitNotice: Sendable {
    private let told = AtomicLazyReference<Told>()
    private let isTelling = Atomic(false)

    private final class Told: Sendable {
        let observer: any WaitObserver
        init(_ observer: any WaitObserver) { self.observer = observer }
    }

    package init() {}

    /// Tells `observer` from now on, until `end`. Only the first one is ever told.
    public func tell(_ observer: any WaitObserver) {
        _ = told.storeIfNil(Told(observer))
        isTelling.store(true, ordering: .releasing)
    }

    /// Nobody is told any more; who waits now still is when that ends.
    public func end() { isTelling.store(false, ordering: .relaxed) }

    private var observer: (any WaitObserver)? { isTelling.load(ordering: .acquiring) ? told.load()?.observer : nil }

    var isWanted: Bool { observer?.wantsNotice ?? false }

    package func during<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        guard let observer = observer else { return try body() }
        observer.beginsWaiting()
        defer { observer.endsWaiting() }
        return try body()
    }
}
