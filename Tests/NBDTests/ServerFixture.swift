internal import Foundation
internal import LinuxIO
internal import NBD
internal import Synchronization
internal import Testing

/// A server on a socket of its own.
final class ServerFixture: Sendable {
    let exports: MemoryExports
    let server: NBDServer
    let path: String

    init(size: Int = 4096, _ change: (inout ServerConfiguration) -> Void = { _ in }) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString.prefix(8))/nbd.sock").path
        exports = MemoryExports(size: size)
        var configuration = ServerConfiguration()
        configuration.threads = 2
        configuration.stopTime = 50_000_000
        change(&configuration)
        server = try NBDServer(provider: exports, configuration: configuration)
        _ = try server.listen(at: .unix(path))
    }

    func client() throws -> WireClient { try WireClient(path) }

    /// Waits until the server has let go of every client, and of the export.
    func expectNoClients(_ location: SourceLocation = #_sourceLocation) {
        for _ in 0..<20_000 where server.connectionCount > 0 || exports.state.withLock({ $0.users }) > 0 { rest() }
        #expect(server.connectionCount == 0 && exports.state.withLock { $0.users } == 0, sourceLocation: location)
    }

    /// Sockets that the server has open: the one it listens on, and an end of each connection, all of which bear its path.
    func sockets() -> Int {
        let table = (try? String(contentsOfFile: "/proc/net/unix", encoding: .utf8)) ?? ""
        return table.split(separator: "\n").count { $0.hasSuffix(" \(path)") }
    }

    /// Waits until nothing is left but the socket that the server listens on: a descriptor goes with the last thread that used it.
    func expectOneSocket(_ location: SourceLocation = #_sourceLocation) {
        for _ in 0..<20_000 where sockets() > 1 { rest() }
        #expect(sockets() == 1, sourceLocation: location)
    }

    deinit {
        exports.state.withLock { ($0.isFlushHeld, $0.isWriteHeld, $0.heldRead) = (false, false, nil) }
        server.stop()
    }
}
