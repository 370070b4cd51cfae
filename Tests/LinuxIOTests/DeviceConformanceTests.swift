internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import TestSupport
import Testing

/// What every `BlockDevice` must do.
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

    /// Whatever memory and offsets are, direct I/O moves the same bytes.
    @Test(arguments: [(0, 4096, 0), (0, 8192, 1), (4096, 4096, 80), (100, 9000, 0), (1, 4095, 3), (8191, 2, 1), (0, 1 << 20, 16), (77, (1 << 20) - 77, 5)])
    func directWritesFromAnyMemory(offset: Int, count: Int, shift: Int) throws {
        try withDevice(.direct) { device throws in
            let memory = AlignedBuffer(count: count + shift)
            for index in 0..<count { memory.bytes[shift + index] = UInt8(truncatingIfNeeded: index &* 31 &+ 7) }
            let part = UnsafeRawBufferPointer(rebasing: memory.bytes[shift...])
            try device.write(part, at: UInt64(offset))
            #expect(try read(device, UInt64(offset), count) == Array(part))
            if offset > 0 { #expect(try read(device, UInt64(offset) - 1, 1) == [0]) }
            if offset + count < 1 << 20 { #expect(try read(device, UInt64(offset + count), 1) == [0]) }
            #expect(try device.size == 1 << 20)
        }
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
