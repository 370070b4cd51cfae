internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import NBD
internal import NBDProtocol
internal import TestSupport

/// A client, a proxy that can fail, and behind it a server of a simulated disk that can lose power.
final class ClientFixture: @unchecked Sendable {
    // Sendable: one thread at a time changes it, the test's.
    private(set) var disk: SimulatedDisk
    private(set) var server: NBDServer
    let proxy: FaultProxy
    private var older: [NBDServer] = []

    init(size: Int = DeviceConformance.size) throws {
        disk = SimulatedDisk(size: size)
        let (server, path) = try Self.serve(DiskExports(disk))
        self.server = server
        proxy = try FaultProxy(to: path)
    }

    static func serve(_ exports: any ExportProvider) throws -> (NBDServer, String) {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString.prefix(8))/nbd.sock").path
        var configuration = ServerConfiguration()
        configuration.threads = 2
        configuration.stopTime = 50_000_000
        let server = try NBDServer(provider: exports, configuration: configuration)
        _ = try server.listen(at: .unix(path))
        return (server, path)
    }

    static func location(_ path: String, _ query: String = "timeout=20&reconnect=20") throws -> NBDLocation {
        try NBDLocation(parsing: "nbd+unix:///disk?socket=\(path)&\(query)")
    }

    func client(_ query: String = "timeout=20&reconnect=20", mode: NBDClient.Mode = .readWrite, best: ReplyStyle = .extended) throws -> NBDClient {
        try NBDClient(connecting: Self.location(proxy.path, query), mode: mode, best: best)
    }

    /// The server's machine fails and comes back: what was not flushed there is gone, or some of it. The first change there may fail.
    func losePower(_ image: [UInt8]? = nil, failing fault: SimulatedDisk.Fault? = nil) throws {
        older.append(server)
        disk = SimulatedDisk(image: image ?? disk.durableImage)
        if let fault { disk.fail(after: 1, fault) }
        let (next, path) = try Self.serve(DiskExports(disk))
        server = next
        proxy.point(to: path)
        proxy.cut()
    }

    deinit {
        proxy.cut()
        for server in older + [server] { server.stop() }
    }
}

extension BlockDevice {
    func bytes(_ offset: Int, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        try bytes.withUnsafeMutableBytes { try read(into: $0, at: UInt64(offset)) }
        return bytes
    }

    func put(_ bytes: [UInt8], _ offset: Int) throws { try bytes.withUnsafeBytes { try write($0, at: UInt64(offset)) } }
}
