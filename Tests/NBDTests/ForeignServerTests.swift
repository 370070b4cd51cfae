internal import BlockStorage
internal import NBD
internal import TestSupport
import Testing

/// The client against the servers of others.
@Suite(.serialized) struct ForeignServerTests {
    /// Each in the style that it has, with its smallest and largest blocks.
    @Test(arguments: ForeignServer.Kind.allCases, DeviceConformance.allCases) func conforms(kind: ForeignServer.Kind, check: DeviceConformance) throws {
        guard let server = try ForeignServer.start(kind) else { return }
        try check.check(try NBDClient(connecting: ClientFixture.location(server.path), mode: .readWrite))
    }

    /// Connections that break in the middle of what the server says, again and again, under sixteen threads.
    @Test(arguments: [ForeignServer.Kind.nbdkit, .qemuRaw, .qemuQcow2, .nbdServer]) func brokenConnections(kind: ForeignServer.Kind) throws {
        guard let server = try ForeignServer.start(kind) else { return }
        let proxy = try FaultProxy(to: server.path)
        let client = try NBDClient(connecting: ClientFixture.location(proxy.path), mode: .readWrite)
        var random = SeededRandom(seed: 3)
        for _ in 0..<4 {
            proxy.cut(after: random.below(200_000))
            try DeviceConformance.readsWhatOtherThreadsWrote.check(client)
        }
        #expect(proxy.connections > 2)
        #expect(server.isAlive)
    }
}
