internal import BlockStorage
internal import NBD
internal import PoolEngine
internal import Synchronization
internal import TestSupport
import Testing

/// The engine's histories and crash images, with the pool's disk at the other end of a connection that breaks again and again: what
/// client and server do must keep the order that the engine has asked for.
@Suite(.serialized) struct RemoteCrashTests {
    /// What stands between a pool and its disk.
    private final class Ways: Sendable {
        private let parts = Mutex<(servers: [NBDServer], proxies: [FaultProxy])>(([], []))

        func make(to disk: SimulatedDisk, cutting bytes: Int?, flushes: Bool = true) throws -> any BlockDevice {
            let (server, path) = try ClientFixture.serve(DiskExports(disk, flushes: flushes))
            let proxy = try FaultProxy(to: path)
            if let bytes { proxy.cutEach(after: bytes) }
            parts.withLock { parts in
                parts.servers.append(server)
                parts.proxies.append(proxy)
            }
            return try NBDClient(connecting: ClientFixture.location(proxy.path, "timeout=20&reconnect=20"), mode: .readWrite)
        }

        var connections: Int { parts.withLock { $0.proxies.reduce(0) { $0 + $1.connections } } }
        var count: Int { parts.withLock { $0.servers.count } }

        func end() {
            let (servers, proxies) = parts.withLock { $0 }
            for proxy in proxies { proxy.cut() }
            for server in servers { server.stop() }
        }
    }

    private static func simulation(_ seed: UInt64, _ way: @escaping @Sendable (SimulatedDisk) throws -> any BlockDevice) throws -> Simulation {
        var options = Simulation.Options()
        options.nests = false
        options.steps = 25
        options.way = way
        return try Simulation(seed: seed, options: options)
    }

    @Test(arguments: [nil, 700, 2500, 9000]) func historiesSurviveCrashes(cutting bytes: Int?) throws {
        var images = 0, connections = 0, count = 0
        for seed in 0..<8 as Range<UInt64> {
            let ways = Ways()
            defer { ways.end() }
            let simulation = try Self.simulation(seed &+ UInt64(bytes ?? 0)) { try ways.make(to: $0, cutting: bytes) }
            do {
                try simulation.run()
            } catch let failure as Simulation.Failure {
                Issue.record("seed \(seed), cutting after \(bytes.map { "\($0)" } ?? "nothing"): \(failure)\n\(failure.script.map(\.text).joined(separator: "\n"))")
            }
            images += simulation.coverage.images
            connections += ways.connections
            count += ways.count
        }
        print("\(images) images, \(connections) connections of \(count) clients")
        #expect(images > 1000)
        // Each client has one, and more where they are cut.
        #expect(bytes == nil ? connections == count : connections > 2 * count)
    }

    /// A server that flushes nothing is found out.
    @Test func serverThatDoesNotFlushIsNoticed() throws {
        let ways = Ways()
        defer { ways.end() }
        #expect(throws: Simulation.Failure.self) {
            for seed in 0..<8 as Range<UInt64> { try Self.simulation(seed) { try ways.make(to: $0, cutting: nil, flushes: false) }.run() }
        }
    }
}
