internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import TestSupport
import Testing

/// What every `BlockDevice` must do.
@Suite struct DeviceConformanceTests {
    enum Kind: CaseIterable { case file, simulated }

    private func withDevice(_ kind: Kind, _ body: (any BlockDevice) throws -> Void) throws {
        switch kind {
        case .simulated: try body(SimulatedDisk(size: 1 << 20))
        case .file:
            let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString)").path
            defer { unlink(path) }
            try body(try FileDevice(creating: path, size: 1 << 20))
        }
    }

    private func read(_ device: any BlockDevice, _ offset: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        try bytes.withUnsafeMutableBytes { try device.read(into: $0, at: offset) }
        return bytes
    }

    private func write(_ device: any BlockDevice, _ offset: UInt64, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try device.write($0, at: offset) }
    }

    @Test(arguments: Kind.allCases) func isZeroBeforeItIsWritten(kind: Kind) throws {
        try withDevice(kind) { device throws in
            #expect(try device.size == 1 << 20)
            #expect(try read(device, 4096, 100) == [UInt8](repeating: 0, count: 100))
        }
    }

    @Test(arguments: Kind.allCases) func returnsWhatWasWritten(kind: Kind) throws {
        try withDevice(kind) { device throws in
            let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0) }
            try write(device, 12_345, bytes)
            try device.flush()
            #expect(try read(device, 12_345, 5000) == bytes)
            #expect(try read(device, 12_344, 1) == [0])
        }
    }

    @Test(arguments: Kind.allCases) func discardedRangeIsZeroAfterFlush(kind: Kind) throws {
        try withDevice(kind) { device throws in
            try write(device, 0, [UInt8](repeating: 7, count: 65_536))
            try device.discard(at: 16_384, count: 16_384)
            try device.flush()
            #expect(try read(device, 16_384, 16_384) == [UInt8](repeating: 0, count: 16_384))
            #expect(try read(device, 16_383, 1) == [7])
            #expect(try read(device, 32_768, 1) == [7])
        }
    }

    @Test(arguments: Kind.allCases) func refusesReadsBeyondTheEnd(kind: Kind) throws {
        try withDevice(kind) { device throws in
            #expect(throws: PoolError.self) { try read(device, (1 << 20) - 10, 20) }
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
