internal import BlockStorage
internal import Synchronization

/// How a long piece of work and those who watch it talk: how far it is, and whether it is to stop. Any thread may use it.
public final class JobControl: Sendable {
    private let state = Mutex(State())

    private struct State {
        var done: UInt64 = 0
        var total: UInt64 = 0
        var isCancelled = false
    }

    public init() {}

    /// The work stops soon, with `PoolError.cancelled`.
    public func cancel() { state.withLock { $0.isCancelled = true } }
    public var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Bytes looked at, and about how many there are.
    public var progress: (done: UInt64, total: UInt64) { state.withLock { ($0.done, $0.total) } }

    func setTotal(_ total: UInt64) { state.withLock { $0.total = total } }
    func advance(_ count: UInt64) { state.withLock { $0.done += count } }
}
