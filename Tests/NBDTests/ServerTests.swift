internal import BlockStorage
internal import Foundation
internal import Glibc
internal import NBD
internal import NBDProtocol
internal import Synchronization
internal import TestSupport
import Testing

/// All tests of the server: one at a time, as they count sockets.
@Suite(.serialized) struct NBDTests {}

extension NBDTests {
    /// The server on real sockets, over an export in memory. Numbers are those of the cases in the design's list of what came before.
    @Suite(.serialized) struct ServerTests {
        /// NBD-01: a whole session, in each style.
        @Test(arguments: ReplyStyle.allCases)
        func nbd01WholeSession(style: ReplyStyle) throws {
            let fixture = try ServerFixture(), client = try fixture.client()
            try client.begin(style)
            let write: CommandFlags = style == .extended ? [.payloadLength] : []
            let data = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7 + 1) }
            #expect(try client.ask(.write, write, at: 100, 1000, payload: data) == 0)
            #expect(fixture.exports.state.withLock { $0.flushes } == 0)
            #expect(try client.ask(.write, write.union(.fua), at: 3000, 1000, payload: data) == 0)
            #expect(fixture.exports.state.withLock { $0.flushes } == 1)
            try client.send(.read, at: 100, 1000)
            let read = try client.answer(1000)
            #expect(read.error == 0 && read.chunks.last?.suffix(1000) == data[...])
            #expect(try client.ask(.flush) == 0)
            #expect(fixture.exports.state.withLock { $0.flushes } == 2)
            try client.send(.disconnect)
            #expect(client.isClosed())
            #expect(fixture.exports.state.withLock { $0.flushes } == 3)
            fixture.expectNoClients()
        }

        /// NBD-08, NBD-09, NBD-10: trims, and a read-only export, whose payloads are taken off the stream.
        @Test func nbd08Nbd09Nbd10TrimsAndReadOnly() throws {
            let fixture = try ServerFixture(), client = try fixture.client()
            try client.begin()
            #expect(try client.ask(.trim, at: 512, 256) == 0)
            #expect(fixture.exports.state.withLock { $0.discards } == [512..<768])
            #expect(try client.ask(.trim, at: 4000, 1000) == WireError.invalid.rawValue)
            fixture.exports.state.withLock { $0.discardFailure = .system(.fallocate, errno: EIO) }
            #expect(try client.ask(.trim, at: 0, 512) == WireError.input.rawValue)
            #expect(try client.ask(.writeZeroes, [.noHole, .fastZero], at: 0, 512) == WireError.notSupported.rawValue)

            // NBD-10: one that was not offered.
            let before = fixture.exports.state.withLock { state in
                state.discardFailure = nil
                state.canTrim = false
                return state.discards
            }
            let other = try fixture.client()
            try other.begin()
            #expect(try other.ask(.trim, at: 0, 512) == WireError.invalid.rawValue)
            #expect(try other.ask(.writeZeroes, at: 0, 512) == 0)
            #expect(fixture.exports.state.withLock { $0.discards } == before + [0..<512])

            fixture.exports.state.withLock { $0.isReadOnly = true }
            let reader = try fixture.client()
            try reader.begin()
            #expect(try reader.ask(.write, at: 0, 600, payload: [UInt8](repeating: 1, count: 600)) == WireError.notPermitted.rawValue)
            #expect(try reader.ask(.flush) == 0)
            #expect(try reader.ask(.trim, at: 0, 512) == WireError.notPermitted.rawValue)
            #expect(fixture.exports.state.withLock { $0.bytes.allSatisfy { $0 == 0 } })
        }

        /// NBD-11 to NBD-14: what is refused, and that the next request is understood.
        @Test func nbd11Nbd12Nbd13Nbd14Refusals() throws {
            let fixture = try ServerFixture(size: 1024), client = try fixture.client()
            try client.begin(.structured)
            #expect(try client.ask(.read, at: 1000, 100) == WireError.invalid.rawValue)
            #expect(try client.ask(.write, at: 1000, 100, payload: [UInt8](repeating: 1, count: 100)) == WireError.noSpace.rawValue)
            #expect(try client.ask(.read, at: .max - 9, 100) == WireError.invalid.rawValue)
            #expect(try client.ask(.read, at: 0, 64 << 20) == WireError.invalid.rawValue)
            // More than a request may have, all of it sent.
            #expect(try client.ask(.write, at: 0, 33 << 20, payload: [UInt8](repeating: 1, count: 33 << 20)) == WireError.invalid.rawValue)
            var unknown = Request(.read, cookie: 7)
            unknown.code = 0xeeee
            try client.send(WireClient.bytes(unknown, .structured))
            #expect(try client.answer() == WireClient.Answer(cookie: 7, error: WireError.invalid.rawValue))
            #expect(try client.ask(.blockStatus, at: 0, 512) == WireError.invalid.rawValue)
            #expect(try client.ask(.read, at: 0, 512) == 0)
        }

        /// NBD-20: a request for nothing succeeds, also at the end, has no data in its reply, and nothing is done.
        @Test(arguments: ReplyStyle.allCases) func nbd20RequestsForNothing(style: ReplyStyle) throws {
            let fixture = try ServerFixture(size: 1024), client = try fixture.client()
            try client.begin(style)
            for offset in [0, 512, 1024] as [UInt64] {
                try client.send(.read, at: offset, 0)
                let answer = try client.answer()
                #expect(answer.error == 0 && answer.chunks.allSatisfy { $0.isEmpty })
                #expect(try client.ask(.write, style == .extended ? [.payloadLength] : [], at: offset, 0) == 0)
                for command in [Command.trim, .writeZeroes, .cache] { #expect(try client.ask(command, at: offset, 0) == 0) }
            }
            #expect(try client.ask(.read, at: 1025, 0) == WireError.invalid.rawValue)
            #expect(fixture.exports.state.withLock { $0.discards.isEmpty && $0.bytes.allSatisfy { $0 == 0 } })
        }

        /// NBD-15, NBD-16, NBD-17: what the export fails with is what the client is told, and no space is told apart. The short read of
        /// NBD-15 cannot be: an `Export` fills all of the buffer or throws, and has no count to return.
        @Test(arguments: [ReplyStyle.simple, .structured])
        func nbd15Nbd16Nbd17Failures(style: ReplyStyle) throws {
            let fixture = try ServerFixture(), client = try fixture.client()
            try client.begin(style)
            let block = [UInt8](repeating: 1, count: 512)
            fixture.exports.state.withLock { $0.readFailure = .corrupt(.data, position: 0, .checksum) }
            #expect(try client.ask(.read, at: 0, 512) == WireError.input.rawValue)
            fixture.exports.state.withLock { $0.writeFailure = .outOfSpace(needed: 1, free: 0) }
            #expect(try client.ask(.write, at: 0, 512, payload: block) == WireError.noSpace.rawValue)
            fixture.exports.state.withLock { $0.writeFailure = .readOnly }
            #expect(try client.ask(.write, at: 0, 512, payload: block) == WireError.notPermitted.rawValue)
            fixture.exports.state.withLock { state in
                state.writeFailure = nil
                state.flushFailure = .system(.fdatasync, errno: EIO)
            }
            #expect(try client.ask(.flush) == WireError.input.rawValue)
            #expect(try client.ask(.write, .fua, at: 0, 512, payload: block) == WireError.input.rawValue)
            fixture.exports.state.withLock { $0.readFailure = nil }
            #expect(try client.ask(.read, at: 0, 512) == 0)
        }

        /// A write is answered after it was settled, and with what that failed with; a read beside it is not concerned.
        @Test func writesAreSettledBeforeTheyAreAnswered() throws {
            let fixture = try ServerFixture(size: 65_536), client = try fixture.client()
            try client.begin()
            let block = [UInt8](repeating: 1, count: 512)
            for count in [1, 3, 40] {
                // In one piece, so that they are executed together.
                try client.send((0..<count).flatMap { WireClient.bytes(Request(.write, cookie: UInt64($0), offset: UInt64($0) * 512, length: 512), .simple, block) })
                for _ in 0..<count { #expect(try client.answer().error == 0) }
                #expect(fixture.exports.state.withLock { $0.unsettled } == 0)
            }
            fixture.exports.state.withLock { $0.settleFailure = .suspended }
            let read = WireClient.bytes(Request(.read, cookie: 1, length: 512), .simple)
            try client.send(WireClient.bytes(Request(.write, cookie: 2, length: 512), .simple, block) + read)
            for _ in 0..<2 {
                var header = try client.receive(16)
                let cookie = header.removeLast()
                #expect(cookie == 1 ? header[4..<8] == [0, 0, 0, 0] : header[4..<8] != [0, 0, 0, 0])
                if cookie == 1 { _ = try client.receive(512) }
            }
        }

        /// NBD-18 and NBD-19: mistakes that end a connection, and connections that end by themselves.
        @Test func nbd18Nbd19EndsOfConnections() throws {
            let fixture = try ServerFixture()
            for bytes in [[0, 0, 0, 0], [0, 0, 0, 7], [0, 0, 0, 3] + Array("IHAVEOPQ".utf8) + [UInt8](repeating: 0, count: 8)] as [[UInt8]] {
                let client = try fixture.client()
                _ = try client.receive(18)
                try client.send(bytes)
                #expect(client.isClosed())
            }
            let bad = try fixture.client()
            try bad.begin()
            try bad.send([UInt8](repeating: 0x25, count: 28))
            #expect(bad.isClosed())
            for style in ReplyStyle.allCases {
                let client = try fixture.client()
                try client.begin(style)
                // The other half of the connection stays: what was asked is answered.
                try client.send(.flush)
                shutdown(client.descriptor, Int32(SHUT_WR))
                #expect(try client.answer().error == 0)
                #expect(client.isClosed())
            }
            let short = try fixture.client()
            try short.begin()
            try short.send(.write, at: 0, 4096, payload: [1, 2, 3])
            shutdown(short.descriptor, Int32(SHUT_WR))
            #expect(short.isClosed())
            #expect(fixture.exports.state.withLock { $0.bytes[0] } == 0)
            fixture.expectNoClients()
            fixture.expectOneSocket()
        }

        /// NBD-19: the end within the handshake, behind each of its bytes, is the end of the connection, and opens no export.
        @Test func nbd19EndWithinTheHandshake() throws {
            let fixture = try ServerFixture()
            let handshake: [UInt8] = [0, 0, 0, 3] + WireClient.option(.structuredReply) + WireClient.option(.list) + WireClient.go
            for count in 0..<handshake.count {
                let client = try fixture.client()
                try client.send(Array(handshake.prefix(count)))
                shutdown(client.descriptor, Int32(SHUT_WR))
                var said = 0, bytes = [UInt8](repeating: 0, count: 4096)
                while case let got = recv(client.descriptor, &bytes, bytes.count, 0), got > 0 { said += got }
                // The greeting came, and nothing is waited for.
                #expect(said >= 18, "after \(count) bytes")
                #expect(fixture.exports.state.withLock { $0.users } == 0, "after \(count) bytes")
            }
            fixture.expectNoClients()
            fixture.expectOneSocket()
        }

        /// NBD-21: a connection that ends after each byte of a conversation in turn, and one that pauses there.
        @Test func nbd21FaultAtEveryByte() throws {
            let fixture = try ServerFixture()
            let conversation: [UInt8] =
                [0, 0, 0, 3] + WireClient.option(.structuredReply) + WireClient.option(.list) + WireClient.go
                + WireClient.bytes(Request(.write, cookie: 1, offset: 8, length: 40), .structured, [UInt8](repeating: 9, count: 40))
                + WireClient.bytes(Request(.read, cookie: 2, offset: 0, length: 64), .structured)
            // Requests sent together may be executed in any order: what the read is to find is there before.
            let first = try fixture.client()
            try first.begin()
            #expect(try first.ask(.write, at: 8, 40, payload: [UInt8](repeating: 9, count: 40)) == 0)
            try first.send(.disconnect)
            #expect(first.isClosed())
            for count in 0...conversation.count {
                let client = try fixture.client()
                try client.send(Array(conversation.prefix(count)))
            }
            for cut in stride(from: 1, to: conversation.count, by: 3) {
                let client = try fixture.client()
                try client.send(Array(conversation.prefix(cut)))
                if cut % 2 == 0 { rest() }
                try client.send(Array(conversation.dropFirst(cut)))
                shutdown(client.descriptor, Int32(SHUT_WR))
                var last: [UInt8] = [], byte = [UInt8](repeating: 0, count: 4096)
                while case let got = recv(client.descriptor, &byte, byte.count, 0), got > 0 { last += byte[..<got] }
                // Both requests came through.
                #expect(last.firstRange(of: [UInt8](repeating: 9, count: 40) + [UInt8](repeating: 0, count: 16)) != nil, "cut at \(cut)")
            }
            fixture.expectNoClients()
            fixture.expectOneSocket()
        }

        /// A flush that waits keeps neither the requests behind it nor another connection waiting: replies come out of order.
        @Test func repliesOutOfOrder() throws {
            let fixture = try ServerFixture(), client = try fixture.client(), other = try fixture.client()
            try client.begin(.structured)
            try other.begin(.structured)
            fixture.exports.state.withLock { $0.isFlushHeld = true }
            // More than there are threads.
            for cookie: UInt64 in 1...8 { try client.send(.flush, cookie: cookie) }
            for cookie: UInt64 in 100..<120 { try client.send(.read, cookie: cookie, at: 0, 512) }
            var seen = Set<UInt64>()
            for _ in 100..<120 { seen.insert(try client.answer().cookie) }
            #expect(seen == Set(100..<120))
            #expect(try other.ask(.write, at: 0, 512, payload: [UInt8](repeating: 1, count: 512)) == 0)
            fixture.exports.state.withLock { $0.isFlushHeld = false }
            for _ in 1...8 { seen.insert(try client.answer().cookie) }
            #expect(seen == Set(1...8).union(100..<120))
        }

        /// An ending server answers what it has taken and refuses what comes.
        @Test func endingServerFinishesWhatItHasTaken() throws {
            let fixture = try ServerFixture { $0.stopTime = 60_000_000_000 }
            let client = try fixture.client()
            try client.begin()
            fixture.exports.state.withLock { $0.isFlushHeld = true }
            try client.send(.flush, cookie: 5)
            while fixture.exports.state.withLock({ $0.flushesWaiting }) == 0 { rest() }
            let stopping = Thread { fixture.server.stop() }
            stopping.start()
            // The path goes first; then new requests are refused.
            while FileManager.default.fileExists(atPath: fixture.path) { rest() }
            var error: UInt32 = 0
            while error == 0 { error = try client.ask(.read, at: 0, 512) }
            #expect(error == WireError.shutdown.rawValue)
            fixture.exports.state.withLock { $0.isFlushHeld = false }
            #expect(try client.answer() == WireClient.Answer(cookie: 5))
            try client.send(.disconnect)
            #expect(client.isClosed())
            fixture.expectNoClients()
            while !stopping.isFinished { rest() }
        }

        /// Block status: every context in its chunk, one extent if only one is wanted, and lengths that 32 bits cannot say.
        @Test func blockStatus() throws {
            let fixture = try ServerFixture(size: 4 << 20)
            for style in [ReplyStyle.structured, .extended] {
                let client = try fixture.client()
                try client.begin(style, contexts: ["base:allocation", "test:wide"])
                try client.send(.blockStatus, at: 256, 1024)
                var answer = try client.answer()
                #expect(answer.error == 0 && answer.chunks.count == 2)
                if style == .structured {
                    #expect(answer.chunks[0] == [0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 1, 0, 0, 0, 0, 0])
                    // 20 GiB in parts of less than 4.
                    #expect(answer.chunks[1].count == 4 + 6 * 8 && answer.chunks[1].prefix(12) == [0, 0, 0, 2, 0xff, 0xff, 0, 0, 0, 0, 0, 7])
                } else {
                    #expect(answer.chunks[1] == [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])
                }
                try client.send(.blockStatus, .requestOne, at: 256, 1024)
                answer = try client.answer()
                #expect(answer.chunks.map(\.count) == (style == .structured ? [12, 12] : [24, 24]))
                // More extents than a chunk may have: fewer are told, and the client asks again.
                try client.send(.blockStatus, at: 0, 4 << 20)
                answer = try client.answer()
                #expect(answer.chunks[0].count == (style == .structured ? 4 + 2048 * 8 : 8 + 2048 * 16))
            }
        }

        /// Zeros travel as holes, unless the client wants one piece.
        @Test func readsOfHoles() throws {
            let fixture = try ServerFixture(size: 1 << 20), client = try fixture.client()
            try client.begin(.structured)
            #expect(try client.ask(.write, at: 300_000, 1000, payload: [UInt8](repeating: 7, count: 1000)) == 0)
            try client.send(.read, at: 0, 1 << 20)
            var answer = try client.answer()
            #expect(answer.error == 0 && answer.chunks.count == 3)
            #expect(answer.chunks.map(\.count) == [12, 8 + 65_536, 12] || answer.chunks.map(\.count) == [12, 8 + 32_768, 12])
            try client.send(.read, .dontFragment, at: 0, 1 << 20)
            answer = try client.answer()
            #expect(answer.chunks.map(\.count) == [8 + 1 << 20])
            try client.send(.read, .dontFragment, at: 0, 4096)
            #expect(try client.answer().chunks.map(\.count) == [12])
        }

        /// Random requests of many sizes, several in flight on several connections, against what they should read.
        @Test(arguments: ReplyStyle.allCases)
        func manyConnectionsManyRequests(style: ReplyStyle) throws {
            let fixture = try ServerFixture(size: 8 << 20)
            let threads = (0..<4).map { me in
                Thread {
                    do {
                        let client = try fixture.client()
                        try client.begin(style)
                        var random = SeededRandom(seed: UInt64(me)), model = [UInt8](repeating: 0, count: 2 << 20)
                        let base = UInt64(me) * 2 << 20
                        for _ in 0..<60 {
                            // Writes of disjoint places, all sent before the first reply is read.
                            let size = [1, 511, 4096, 20_000, 130_000][random.below(5)], slots = (2 << 20) / size
                            var places = Set<Int>()
                            for _ in 0..<6 { places.insert(random.below(slots) * size) }
                            for place in places {
                                let data = [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: size)
                                model.replaceSubrange(place..<place + size, with: data)
                                let flags: CommandFlags = style == .extended ? .payloadLength : []
                                try client.send(.write, flags, cookie: UInt64(place), at: base + UInt64(place), UInt64(size), payload: data)
                            }
                            for _ in places { #expect(try client.answer().error == 0) }
                            let at = random.below(1 << 20), count = random.below(300_000)
                            try client.send(.read, .init(), at: base + UInt64(at), UInt64(count))
                            let answer = try client.answer(count)
                            if style == .simple {
                                #expect((answer.chunks.first ?? []) == Array(model[at..<at + count]))
                            } else {
                                var got = [UInt8](repeating: 0, count: count)
                                for chunk in answer.chunks where chunk.count > 12 {
                                    let place = Int(chunk[0..<8].reduce(0) { $0 << 8 | UInt64($1) } - base) - at
                                    got.replaceSubrange(place..<place + chunk.count - 8, with: chunk[8...])
                                }
                                #expect(got == Array(model[at..<at + count]))
                            }
                        }
                    } catch {
                        Issue.record("\(error)")
                    }
                }
            }
            for thread in threads { thread.start() }
            for thread in threads { while !thread.isFinished { rest() } }
            fixture.expectNoClients()
        }
    }
}
