internal import Synchronization

/// Tells when everything has come that the kernel sends again because the daemons before this one have not answered it: that comes
/// before all else, so it is over once the first other request is there and all that came before it are done. Any thread may call.
package final class ResentRequests: Sendable {
    package enum Kind: Sendable {
        case resent, other
        /// What the kernel sends past the queue, and what it does not repeat.
        case aside
    }

    private struct State {
        var underWay = 0
        var hasOther = false
    }
    private let state = Mutex(State())
    /// Held while a thread takes a request, until it is counted: a commit lock. Else a thread could have one that was sent again, and
    /// not have said so, when another has the first of the others.
    private let turn = Mutex<Void>(())
    // Whoever sees it a little later waits for a turn once more than needed.
    private let flag: Atomic<Bool>
    private let over: @Sendable () -> Void

    /// `over` is called once, unless it `isOver`; the caller of `take` or `done` waits for it.
    package init(isOver: Bool, over: @escaping @Sendable () -> Void) {
        flag = Atomic(isOver)
        self.over = over
    }

    package var isOver: Bool { flag.load(ordering: .relaxed) }

    /// Takes one request as `receive` does, which tells what it is; nil if there was none. One thread at a time.
    package func take(_ receive: () -> Kind?) {
        turn.withLock { _ in
            switch receive() {
            case .resent?: state.withLock { $0.underWay += 1 }
            case .other?: change { $0.hasOther = true }
            case .aside?, nil: break
            }
        }
    }

    /// One that was sent again is answered, or will be by somebody else.
    package func done() { change { $0.underWay -= 1 } }

    private func change(_ body: (inout State) -> Void) {
        let isOver = state.withLock { state in
            body(&state)
            return state.hasOther && state.underWay == 0
        }
        if isOver, !flag.exchange(true, ordering: .acquiringAndReleasing) { over() }
    }
}
