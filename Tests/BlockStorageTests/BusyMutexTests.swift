internal import BlockStorage
import Testing

@Suite struct BusyMutexTests {
    private final class Counter: Sendable {
        let value = BusyMutex(0)
        func add() { value.withLock { $0 += 1 } }
        var sum: Int { value.withLock { $0 } }
    }

    private struct Refusal: Error {}

    /// No addition of several threads is lost.
    @Test func additionsOfThreadsAddUp() async {
        let counter = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 { group.addTask { for _ in 0..<20_000 { counter.add() } } }
        }
        #expect(counter.sum == 80_000)
    }

    /// What the body throws is thrown, and the lock is free again.
    @Test func throwingGivesTheLockBack() {
        let counter = Counter()
        #expect(throws: Refusal.self) { try counter.value.withLock { _ throws(Refusal) in throw Refusal() } }
        counter.add()
        #expect(counter.sum == 1)
    }
}
