internal import Foundation
internal import Glibc
internal import LinuxIO
internal import TestSupport

/// A server of somebody else's, of an image of 1 MiB that is all zero, as the export "disk" on a socket.
final class ForeignServer {
    enum Kind: String, CaseIterable, Sendable {
        case nbdkit, nbdkitBlocks512, nbdkitBlocks4096, nbdkitSlow, nbdkitFailing, qemuRaw, qemuQcow2, nbdServer

        var tools: [String] {
            switch self {
            case .nbdkit, .nbdkitBlocks512, .nbdkitBlocks4096, .nbdkitSlow, .nbdkitFailing: ["nbdkit"]
            case .qemuRaw: ["qemu-nbd"]
            case .qemuQcow2: ["qemu-nbd", "qemu-img"]
            case .nbdServer: ["nbd-server"]
            }
        }
    }

    struct Failure: Error { var what: String }

    let path: String
    private let directory: URL
    private let process = Process()
    private var daemon: pid_t?

    /// Nil, having said so, where a tool is missing; in CI that throws.
    static func start(_ kind: Kind) throws -> ForeignServer? {
        let missing = kind.tools.filter { tool in !["/usr/sbin", "/usr/bin", "/bin", "/usr/local/bin"].contains { access("\($0)/\(tool)", X_OK) == 0 } }
        if missing.isEmpty { return try ForeignServer(kind) }
        if Scenario.isCI { throw Failure(what: "missing: \(missing)") }
        print("skipped, missing: \(missing)")
        return nil
    }

    private init(_ kind: Kind) throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-foreign-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        path = directory.appendingPathComponent("s").path
        let image = directory.appendingPathComponent("image").path
        if kind == .qemuQcow2 { try Self.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"]) } else {
            guard FileManager.default.createFile(atPath: image, contents: Data(count: DeviceConformance.size)) else { throw Failure(what: image) }
        }
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = try command(kind, image)
        process.standardError = FileHandle.nullDevice
        try process.run()
        for _ in 0..<500 {
            if (try? WireClient(path)) != nil {
                findDaemon()
                return
            }
            pause(milliseconds: 20)
        }
        throw Failure(what: "\(kind) does not listen")
    }

    /// One that goes into the background leaves its number.
    private func findDaemon() {
        for _ in 0..<500 where process.arguments?.first == "nbd-server" && daemon == nil {
            daemon = (try? String(contentsOf: directory.appendingPathComponent("pid"), encoding: .utf8)).flatMap { pid_t($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
            pause(milliseconds: 10)
        }
    }

    private func command(_ kind: Kind, _ image: String) throws -> [String] {
        let nbdkit = ["nbdkit", "--foreground", "--unix", path]
        switch kind {
        case .nbdkit: return nbdkit + ["file", image]
        case .nbdkitBlocks512, .nbdkitBlocks4096:
            let unit = kind == .nbdkitBlocks512 ? "512" : "4096"
            return nbdkit + [
                "--filter=blocksize-policy", "file", image, "blocksize-minimum=\(unit)", "blocksize-preferred=4096", "blocksize-maximum=65536",
                "blocksize-error-policy=error",
            ]
        case .nbdkitSlow: return nbdkit + ["--filter=delay", "file", image, "rdelay=5ms", "wdelay=5ms"]
        case .nbdkitFailing:
            return nbdkit + ["--filter=error", "file", image, "error-file=\(trigger)", "error-rate=100%", "error-pread=EIO", "error-pwrite=ENOSPC", "error-trim=EPERM", "error-zero=EPERM"]
        case .qemuRaw, .qemuQcow2:
            return ["qemu-nbd", "--socket", path, "--format", kind == .qemuRaw ? "raw" : "qcow2", "--export-name", "disk", "--persistent", "--shared", "10", "--discard", "unmap", image]
        case .nbdServer:
            let file = directory.appendingPathComponent("config").path
            let port = 20_000 + Int(getpid()) % 10_000 * 4 + Int(path.utf8.reduce(0) { $0 &+ UInt32($1) }) % 4
            try "[generic]\nunixsock = \(path)\nlistenaddr = 127.0.0.1\nport = \(port)\n[disk]\nexportname = \(image)\nflush = true\nfua = true\ntrim = true\n"
                .write(toFile: file, atomically: true, encoding: .utf8)
            return ["nbd-server", "-C", file, "-p", directory.appendingPathComponent("pid").path]
        }
    }

    private var trigger: String { directory.appendingPathComponent("fails").path }

    /// Of `nbdkitFailing`: from now on everything fails, or nothing does.
    func setFails(_ fails: Bool) throws {
        if fails { try Data().write(to: URL(fileURLWithPath: trigger)) } else { try FileManager.default.removeItem(atPath: trigger) }
    }

    /// It has not ended by itself.
    var isAlive: Bool { daemon.map { kill($0, 0) == 0 } ?? process.isRunning }

    private static func run(_ words: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(what: words.joined(separator: " ")) }
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        // What goes into the background has with it what Foundation knows the end of a process by.
        if let daemon { kill(daemon, SIGKILL) } else { process.waitUntilExit() }
        try? FileManager.default.removeItem(at: directory)
    }
}
