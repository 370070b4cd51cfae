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

    /// Sockets that this process has open; other tests, which run beside these, have none.
    static func sockets() -> Int {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return all.count { (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)"))?.hasPrefix("socket:") == true }
    }

    deinit {
        exports.state.withLock { ($0.isFlushHeld, $0.isWriteHeld) = (false, false) }
        server.stop()
    }
}
