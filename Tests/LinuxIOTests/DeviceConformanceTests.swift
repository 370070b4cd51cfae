internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import TestSupport
import Testing

/// Files, past the kernel's cache and through it, and the simulated disk do what every `BlockDevice` must do.
@Suite struct DeviceConformanceTests {
    enum Kind: CaseIterable { case file, direct, simulated }

    private func withDevice(_ kind: Kind, _ body: (any BlockDevice) throws -> Void) throws {
        switch kind {
        case .simulated: try body(SimulatedDisk(size: 1 << 20))
        case .file:
            let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString)").path
            defer { unlink(path) }
            try body(try FileDevice(creating: path, size: 1 << 20))
        case .direct:
            let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString)").path
            defer { unlink(path) }
            do { _ = try FileDevice(creating: path, size: 1 << 20) }
            try body(try FileDevice(opening: path, mode: .readWrite, isDirect: true))
        }
    }

    private func read(_ device: any BlockDevice, _ offset: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        try bytes.withUnsafeMutableBytes { try device.read(into: $0, at: offset) }
        return bytes
    }

    @Test(arguments: Kind.allCases, DeviceConformance.allCases) func conforms(kind: Kind, check: DeviceConformance) throws {
        try withDevice(kind) { device throws in try check.check(device) }
    }

    @Test func fileGrowsAsFarAsTheHostHasRoom() throws {
        try withDevice(.file) { device throws in
            #expect(try device.room > 1 << 20)
            try device.grow(to: 3 << 20)
            #expect(try device.size == 3 << 20)
            #expect(try read(device, 2 << 20, 100) == [UInt8](repeating: 0, count: 100))
            try device.grow(to: 1 << 20)
            #expect(try device.size == 3 << 20)
        }
    }

    /// A second opener is refused, and told who holds the file.
    @Test func fileIsLocked() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString)").path
        defer { unlink(path) }
        do {
            let device = try FileDevice(creating: path, size: 4096)
            #expect(throws: PoolError.locked(process: 0)) { try FileDevice(opening: path, mode: .readWrite) }
            #expect(FileDevice.lockHolder(of: path) == getpid())
            #expect(try device.size == 4096)
        }
        #expect(try FileDevice(opening: path, mode: .readWrite).size == 4096)
        #expect(throws: PoolError.exists) { try FileDevice(creating: path, size: 4096) }
    }

    @Test func refusesDirectories() {
        #expect(throws: PoolError.system(.open, errno: EISDIR)) { try FileDevice(opening: "/tmp", mode: .readOnly) }
    }
}
