internal import BlockStorage
internal import Glibc
internal import NBD
internal import NBDProtocol
internal import Synchronization
import Testing

extension NBDTests {
    /// Clients that mean harm, or are broken: they cost bounded memory and nobody else anything.
    @Suite(.serialized) struct HostileClientTests {
        /// Who connects and says nothing is closed after a while, others come in meanwhile, and the oldest goes when there are too many.
        @Test func silentHandshakes() throws {
            let fixture = try ServerFixture { configuration in
                configuration.handshakes = 5
                configuration.handshakeTime = 400_000_000
            }
            let silent = try (0..<20).map { _ in try fixture.client() }
            let honest = try fixture.client()
            try honest.begin()
            #expect(try honest.ask(.read, at: 0, 512) == 0)
            for client in silent {
                _ = try? client.receive(18)
                #expect(client.isClosed())
            }
            // A handshake has a deadline, a session none.
            #expect(try honest.ask(.read, at: 0, 512) == 0)
            #expect(fixture.server.connectionCount == 1)
        }

        @Test func tooManyConnections() throws {
            let fixture = try ServerFixture { $0.connections = 3 }
            let clients = try (0..<3).map { _ in
                let client = try fixture.client()
                try client.begin()
                return client
            }
            let fourth = try fixture.client()
            #expect(fourth.isClosed())
            for client in clients { #expect(try client.ask(.flush) == 0) }
        }

        /// Who asks for much and takes no answer fills the memory up to its bound, keeps nobody waiting, and goes when memory is
        /// short.
        @Test func neverReadsReplies() throws {
            let fixture = try ServerFixture(size: 8 << 20) { configuration in
                configuration.connectionBytes = 8 << 20
                configuration.totalBytes = 32 << 20
                configuration.stallTimeUnderPressure = 300_000_000
            }
            fixture.exports.state.withLock { state in for index in state.bytes.indices { state.bytes[index] = 1 } }
            let greedy = try (0..<6).map { _ in
                let client = try fixture.client()
                try client.begin()
                for _ in 0..<100 { try client.send(.read, at: 0, 4 << 20) }
                return client
            }
            let honest = try fixture.client()
            try honest.begin()
            for _ in 0..<200 { #expect(try honest.ask(.read, at: 0, 65_536) == 0) }
            // What they may have, and one request more of each.
            #expect(fixture.server.memoryInUse <= 32 << 20 + 7 * (4 << 20 + 4096))
            while fixture.server.connectionCount > 4 { rest() }
            #expect(try honest.ask(.read, at: 0, 65_536) == 0)
            for client in greedy { shutdown(client.descriptor, Int32(SHUT_RDWR)) }
            shutdown(honest.descriptor, Int32(SHUT_RDWR))
            fixture.expectNoClients()
            #expect(fixture.server.memoryInUse == 0)
        }

        /// Half a payload, or half a header, for ever.
        @Test func neverFinishesARequest() throws {
            let fixture = try ServerFixture(size: 1 << 20) { $0.stallTime = 300_000_000 }
            let half = try fixture.client()
            try half.begin()
            try half.send(.write, at: 0, 1 << 20, payload: [1, 2, 3])
            #expect(half.isClosed())
            // Between requests a client may rest as long as it likes.
            let resting = try fixture.client()
            try resting.begin()
            usleep(700_000)
            #expect(try resting.ask(.read, at: 0, 512) == 0)
            #expect(fixture.exports.state.withLock { $0.bytes.allSatisfy { $0 == 0 } })
        }
    }
}
