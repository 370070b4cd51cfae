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

    /// Errors keep their numbers, end nothing, and leave no doubt of what was flushed before.
    @Test func errorsOfAnotherServer() throws {
        guard let server = try ForeignServer.start(.nbdkitFailing) else { return }
        let client = try NBDClient(connecting: ClientFixture.location(server.path), mode: .readWrite)
        try client.put([1, 2, 3], 4096)
        try client.flush()
        try server.setFails(true)
        for _ in 0..<3 {
            #expect(throws: PoolError.system(.pwrite, errno: 28)) { try client.put([9], 8192) }
            #expect(throws: PoolError.system(.pread, errno: 5)) { try client.bytes(4096, 3) }
        }
        try server.setFails(false)
        #expect(try client.bytes(4096, 3) == [1, 2, 3])
        try client.put([4], 8192)
        try client.flush()
        #expect(try client.bytes(8192, 1) == [4])
        #expect(server.isAlive)
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
