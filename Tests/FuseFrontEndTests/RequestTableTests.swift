internal import BlockStorage
internal import FuseFrontEnd
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

    /// More than there is room for are tried without being counted.
    @Test func moreTriesThanSlots() {
        let tried = TriedRequests(memory.bytes)
        for number in 1...100 as ClosedRange<UInt64> { #expect(tried.begin(number)) }
        for number in 1...100 as ClosedRange<UInt64> { tried.end(number) }
        for number in 1...100 as ClosedRange<UInt64> { #expect(tried.begin(number)) }
    }
}
