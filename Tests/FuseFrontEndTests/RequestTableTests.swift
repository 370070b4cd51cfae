internal import BlockStorage
internal import FuseFrontEnd
internal import Synchronization
internal import TestSupport
import Testing

/// Requests that must not be done twice, in memory that outlives a daemon.
@Suite final class RequestTableTests {
    /// Outlives every table that a test makes.
    private let memory = AlignedBuffer(count: 1024)
    private var requests: UnsafeMutableRawBufferPointer { memory.bytes.part(0..<8 * BegunRequest.size) }

    init() { memory.bytes.clear() }

    /// Whoever is killed leaves what was begun and what it came to; what had its answer is gone.
    @Test func nextDaemonFindsWhatHasNoAnswer() throws {
        let table = try RequestTable(requests)
        let begun = try #require(table.begin(BegunRequest(request: 2, object: 257, started: 5)))
        let done = try #require(table.begin(BegunRequest(request: 4, object: 0, started: 6)))
        let refused = try #require(table.begin(BegunRequest(request: 6, object: 0, started: 7)))
        let answered = try #require(table.begin(BegunRequest(request: 8, object: 0, started: 8)))
        table.finish(done, .init(made: 513))
        table.finish(refused, .init(errno: 17))
        table.finish(answered, .init())
        table.end(answered)

        let next = try RequestTable(requests)
        var wanted = BegunRequest(request: 2, object: 257, started: 5)
        #expect(next.inherited(2)?.request == wanted)
        #expect(next.inherited(2) == nil, "once")
        wanted = BegunRequest(request: 4, object: 0, started: 6)
        wanted.result = .init(made: 513)
        #expect(next.inherited(4)?.request == wanted)
        #expect(next.inherited(6)?.request.result == .init(errno: 17))
        #expect(next.inherited(8) == nil)
        // One that is answered now is gone for good; others are as they were.
        next.end(begun)
        let third = try RequestTable(requests)
        #expect(third.inherited(2) == nil)
        #expect(third.inherited(4)?.slot == done)
    }

    @Test func fullTableRefuses() throws {
        let table = try RequestTable(requests)
        let slots = (1...8 as ClosedRange<UInt64>).compactMap { table.begin(BegunRequest(request: $0, object: 0, started: 0)) }
        #expect(Set(slots).count == 8)
        #expect(table.begin(BegunRequest(request: 9, object: 0, started: 0)) == nil)
        table.end(slots[3])
        #expect(table.begin(BegunRequest(request: 9, object: 0, started: 0)) == slots[3])
    }

    /// Each killed daemon leaves a slot that nobody asks for again, many times as many as there are; what is asked for is kept.
    @Test func slotsOfKilledDaemonsAreFreed() throws {
        #expect(try RequestTable(requests).begin(BegunRequest(request: 1000, object: 0, started: 0)) != nil)
        for round in 1...100 as ClosedRange<UInt64> {
            let table = try RequestTable(requests)
            // As the kernel sends it again.
            let again = try #require(table.inherited(1000))
            table.forgetInherited()
            // Killed before it ends.
            #expect(table.begin(BegunRequest(request: round, object: 0, started: 0)) != nil, "round \(round)")
            #expect(again.request.request == 1000)
        }
        let last = try RequestTable(requests)
        #expect(last.inherited(99) == nil)
        #expect(last.inherited(100) != nil)
    }

    /// A request that was sent again may have been received by a thread that has not looked for it when another has the first of
    /// the others.
    @Test func inheritanceEndsAfterTheLastRepeatedRequest() {
        let ends = Mutex(0)
        let resent = ResentRequests(isOver: false) { ends.withLock { $0 += 1 } }
        resent.take { .resent }
        resent.take { .resent }
        resent.take { .aside }
        resent.take { nil }
        resent.done()
        #expect(!resent.isOver)
        resent.take { .other }
        #expect(!resent.isOver && ends.withLock { $0 } == 0)
        resent.take { .other }
        resent.done()
        #expect(resent.isOver && ends.withLock { $0 } == 1)
        let none = ResentRequests(isOver: false) { ends.withLock { $0 += 1 } }
        none.take { .other }
        none.take { .other }
        #expect(none.isOver && ends.withLock { $0 } == 2)
    }

    @Test(arguments: 0..<300 as Range<UInt64>) func survivesNonsense(seed: UInt64) throws {
        var mutator = Mutator(seed: seed)
        let table = try RequestTable(requests)
        for number in 1...8 as ClosedRange<UInt64> {
            let slot = try #require(table.begin(BegunRequest(request: number, object: number, started: number)))
            if number % 2 == 0 { table.finish(slot, .init(errno: 2, made: number)) }
        }
        mutator.mutate(requests)
        guard let damaged = try? RequestTable(requests) else { return }
        for number in 0..<10 as Range<UInt64> {
            guard let found = damaged.inherited(number) else { continue }
            #expect((0...4095).contains(found.request.result?.errno ?? 0))
            damaged.end(found.slot)
        }
    }

    /// What ends every daemon is given up; what others were doing at the time is not.
    @Test func endlessTriesAreGivenUp() {
        func daemon() -> TriedRequests { TriedRequests(memory.bytes) }
        for round in 0..<14 {
            let daemon = daemon()
            #expect(daemon.begin(77) == (round < 10 || round > 10), "round \(round)")
            let other = UInt64(100 + round)
            #expect(daemon.begin(other))
            daemon.end(other)
        }
        // One that is carried out at last begins anew.
        let last = daemon()
        last.end(77)
        for _ in 0..<10 { #expect(daemon().begin(77)) }
        #expect(!daemon().begin(77))
    }

    /// Each killed daemon leaves a request that does not come again; a thousand later one that ends every daemon is still counted.
    @Test func triesOfKilledDaemonsAreForgotten() {
        for number in 1...1000 as ClosedRange<UInt64> {
            let daemon = TriedRequests(memory.bytes)
            #expect(daemon.begin(number))
            daemon.forgetAll()
        }
        for _ in 0..<10 { #expect(TriedRequests(memory.bytes).begin(7)) }
        #expect(!TriedRequests(memory.bytes).begin(7))
    }

    /// More than there is room for are tried without being counted.
    @Test func moreTriesThanSlots() {
        let tried = TriedRequests(memory.bytes)
        for number in 1...100 as ClosedRange<UInt64> { #expect(tried.begin(number)) }
        for number in 1...100 as ClosedRange<UInt64> { tried.end(number) }
        for number in 1...100 as ClosedRange<UInt64> { #expect(tried.begin(number)) }
    }
}
