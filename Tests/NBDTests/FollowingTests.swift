internal import BlockStorage
internal import NBD
internal import NBDProtocol
internal import Synchronization
import Testing

extension NBDTests {
    /// What becomes of requests that were taken when their connection ends, and of writes that wait for one another.
    @Suite(.serialized) struct FollowingTests {
        /// A write that a broken connection has begun is over before anybody else begins: on the next connection the same client writes
        /// it again, and what comes after it.
        @Test func nobodyBeginsBeforeWhatEndedConnectionsHaveUnderWay() throws {
            let fixture = try ServerFixture()
            var first: WireClient? = try fixture.client()
            try first?.begin()
            fixture.exports.state.withLock { $0.isWriteHeld = true }
            try first?.send(.write, at: 0, 512, payload: [UInt8](repeating: 1, count: 512))
            while fixture.exports.state.withLock({ $0.writesWaiting }) == 0 { rest() }
            first = nil
            let second = try fixture.client()
            try second.begin()
            try second.send(.write, at: 0, 512, payload: [UInt8](repeating: 2, count: 512))
            var most = 0
            for _ in 0..<300 {
                rest()
                most = max(most, fixture.exports.state.withLock { $0.writesWaiting })
            }
            #expect(most == 1)
            fixture.exports.state.withLock { $0.isWriteHeld = false }
            #expect(try second.answer() == WireClient.Answer(cookie: 1))
            #expect(fixture.exports.state.withLock { $0.bytes[..<512].allSatisfy { $0 == 2 } })
            try second.send(.disconnect)
            fixture.expectNoClients()
        }

        /// Whoever waits is called, at whatever moment those before it leave.
        @Test func whoWaitsIsCalled() throws {
            let fixture = try ServerFixture { $0.threads = 6 }
            for round in 0..<400 {
                var old: WireClient? = try fixture.client()
                try old?.begin()
                try old?.send(.write, at: 0, 512, payload: [UInt8](repeating: 1, count: 512))
                let next = try fixture.client()
                try next.begin()
                old = nil
                #expect(try next.ask(.write, at: 0, 512, payload: [UInt8](repeating: 2, count: 512)) == 0, "round \(round)")
                #expect(fixture.exports.state.withLock { $0.bytes[0] } == 2)
            }
            fixture.expectNoClients()
        }

        /// A client that is there, and has a request under way, keeps nobody waiting.
        @Test func othersBeginWhileRequestsAreUnderWay() throws {
            let fixture = try ServerFixture(), first = try fixture.client()
            try first.begin()
            fixture.exports.state.withLock { $0.isWriteHeld = true }
            try first.send(.write, at: 0, 512, payload: [UInt8](repeating: 1, count: 512))
            while fixture.exports.state.withLock({ $0.writesWaiting }) == 0 { rest() }
            let second = try fixture.client()
            try second.begin()
            #expect(try second.ask(.flush) == 0)
            fixture.exports.state.withLock { $0.isWriteHeld = false }
            #expect(try first.answer() == WireClient.Answer(cookie: 1))
        }

        /// A read that is done is answered while the one behind it, which the same thread has taken, waits for storage.
        @Test func finishedReadDoesNotWaitForTheNext() throws {
            let fixture = try ServerFixture(size: 65_536), client = try fixture.client()
            try client.begin()
            fixture.exports.state.withLock { $0.heldRead = 4096 }
            try client.send([(1, 0), (2, 4096)].flatMap { WireClient.bytes(Request(.read, cookie: $0, offset: $1, length: 512), .simple) })
            #expect(try client.answer(512).cookie == 1)
            #expect(fixture.exports.state.withLock { $0.readsWaiting } == 1)
            fixture.exports.state.withLock { $0.heldRead = nil }
            #expect(try client.answer(512).cookie == 2)
        }

        /// Of writes that come together each is made, refused or failed by itself, and answered once.
        @Test func writesThatComeTogetherAreAnsweredEach() throws {
            let fixture = try ServerFixture(size: 65_536), client = try fixture.client()
            try client.begin()
            var all: [UInt8] = []
            for number in 0..<50 as Range<UInt64> {
                // Each seventh is beyond the end.
                let request = Request(.write, cookie: number, offset: number % 7 == 6 ? 65_536 : number * 512, length: 512)
                all += WireClient.bytes(request, .simple, [UInt8](repeating: UInt8(number) + 1, count: 512))
            }
            try client.send(all)
            var errors: [UInt64: UInt32] = [:]
            for _ in 0..<50 {
                let answer = try client.answer()
                #expect(errors.updateValue(answer.error, forKey: answer.cookie) == nil)
            }
            for number in 0..<50 as Range<UInt64> {
                let isRefused = number % 7 == 6
                #expect(errors[number] == (isRefused ? WireError.noSpace.rawValue : 0))
                let expected = isRefused ? 0 : UInt8(number) + 1
                #expect(fixture.exports.state.withLock { $0.bytes[Int(number) * 512..<Int(number + 1) * 512].allSatisfy { $0 == expected } })
            }
            #expect(fixture.exports.state.withLock { $0.unsettled } == 0 && fixture.exports.state.withLock { $0.mostTogether } > 1)
            fixture.exports.state.withLock { $0.writeFailure = .system(.pwrite, errno: 5) }
            try client.send(all)
            for _ in 0..<50 {
                let answer = try client.answer()
                #expect(answer.error == (answer.cookie % 7 == 6 ? WireError.noSpace : WireError.input).rawValue)
            }
        }
    }
}
