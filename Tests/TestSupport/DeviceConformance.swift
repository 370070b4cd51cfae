package import BlockStorage

/// What every `BlockDevice` must do, whatever is behind it. Each check begins with a device of 1 MiB that is all zero, and
/// throws what it finds wrong.
package enum DeviceConformance: CaseIterable, Sendable {
    case isZeroBeforeItIsWritten, returnsWhatWasWritten, discardedRangeIsZeroAfterFlush, discardsOfAnyRange, refusesWhatIsBeyondTheEnd
    case takesAnyRangeFromAnyMemory, readsWhatOtherThreadsWrote, flushesOfNothing, readsManyPieces, writesManyPieces

    package static let size = 1 << 20

    package struct Violation: Error, CustomStringConvertible {
        package var description: String
    }

    package func check(_ device: any BlockDevice) throws {
        switch self {
        case .isZeroBeforeItIsWritten:
            try expect(device.size == UInt64(Self.size), "its size")
            try expect(read(device, 4096, 100) == zeros(100), "zeros")
            try expect(read(device, Self.size - 1, 1) == [0], "a zero at the end")
        case .returnsWhatWasWritten:
            let bytes = pattern(5000, 1)
            try write(device, 12_345, bytes)
            try expect(read(device, 12_345, 5000) == bytes, "what was written, before a flush")
            try device.flush()
            try expect(read(device, 12_345, 5000) == bytes, "what was written")
            try expect(read(device, 12_344, 1) == [0] && read(device, 17_345, 1) == [0], "nothing beside it")
            try device.flushAndDropCache()
            try expect(read(device, 12_345, 5000) == bytes, "what was written, from the device")
        case .discardedRangeIsZeroAfterFlush:
            try write(device, 0, [UInt8](repeating: 7, count: 65_536))
            try device.discard(at: 16_384, count: 16_384)
            try device.flush()
            try expect(read(device, 16_384, 16_384) == zeros(16_384), "zeros")
            try expect(read(device, 16_383, 1) == [7] && read(device, 32_768, 1) == [7], "nothing else gone")
        case .discardsOfAnyRange:
            try write(device, 0, [UInt8](repeating: 9, count: 65_536))
            try device.discard(at: 1000, count: 30_001)
            try device.discard(at: 40_000, count: 7)
            try device.discard(at: 50_000, count: 0)
            try device.flush()
            var expected = [UInt8](repeating: 9, count: 65_536)
            for index in Array(1000..<31_001) + Array(40_000..<40_007) { expected[index] = 0 }
            try expect(read(device, 0, 65_536) == expected, "zeros in the ranges, and nothing else gone")
        case .refusesWhatIsBeyondTheEnd:
            for (offset, count) in [(Self.size - 10, 20), (Self.size, 1), (Self.size + 4096, 4096)] {
                do {
                    _ = try read(device, offset, count)
                } catch {
                    continue
                }
                throw Violation(description: "a read of \(count) at \(offset) was not refused")
            }
            try expect(read(device, Self.size - 10, 10) == zeros(10), "the device goes on")
        case .takesAnyRangeFromAnyMemory: try anyRanges(device)
        case .readsWhatOtherThreadsWrote: try manyThreads(device)
        case .readsManyPieces: try manyPieces(device)
        case .writesManyPieces: try manyWrites(device)
        case .flushesOfNothing:
            try device.flush()
            try device.flush()
            try write(device, 4096, pattern(0, 1))
            try expect(read(device, 0, 0) == [], "nothing")
        }
    }

    /// Of any size and order, some at the same place, some side by side; what was in memory and what was not.
    private func manyPieces(_ device: any BlockDevice) throws {
        let expected = pattern(Self.size, 5)
        try write(device, 0, expected)
        try device.flushAndDropCache()
        _ = try read(device, 300_000, 8192)
        var places = [(0, Self.size), (300_000, 4096), (300_000, 4096), (7, 1), (Self.size - 4096, 4096), (4096, 8192), (0, 4096), (70_001, 30_003)]
        for index in 0..<100 { places.append((index * 97 % 256 * 4096, 4096)) }
        var bytes = [UInt8](repeating: 0xee, count: places.reduce(0) { $0 + $1.1 })
        func fill(_ places: [(offset: Int, count: Int)]) throws {
            try bytes.withUnsafeMutableBytes { bytes in
                var done = 0
                let pieces = places.map { place in
                    defer { done += place.count }
                    return ReadPiece(into: bytes.part(done..<done + place.count), at: UInt64(place.offset))
                }
                device.forecast(pieces.map { $0.range })
                try pieces.withUnsafeBufferPointer { try device.read($0) }
            }
        }
        try fill(places)
        try expect(bytes == places.flatMap { expected[$0.0..<$0.0 + $0.1] }, "every piece's bytes")
        try fill([])
        do {
            try fill([(0, 4096), (Self.size - 10, 20), (8192, 4096)])
        } catch {
            return try expect(read(device, 0, 4096) == Array(expected[..<4096]), "the device goes on")
        }
        throw Violation(description: "\(self): a piece beyond the end was not refused")
    }

    /// Of any size and from any memory, one behind the other from anywhere, also more than one system call takes.
    private func manyWrites(_ device: any BlockDevice) throws {
        var expected = zeros(Self.size)
        for (offset, counts) in [
            (4096, [4096, 4096, 8192]), (77, [1, 4095, 0, 7, 30_000]), (300_000, [5000]), (500_000, [Int](repeating: 100, count: 3000)), (0, []),
        ] {
            let bytes = pattern(counts.reduce(0, +), offset)
            try bytes.withUnsafeBytes { bytes in
                var done = 0
                try device.write(counts.map { count in
                    defer { done += count }
                    return bytes.part(done..<done + count)
                }, at: UInt64(offset))
            }
            expected.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            try expect(read(device, 0, Self.size) == expected, "all bytes right after \(counts.count) pieces at \(offset)")
        }
    }

    private func anyRanges(_ device: any BlockDevice) throws {
        var expected = zeros(Self.size)
        for (index, (offset, count, shift)) in [
            (0, 4096, 0), (0, 8192, 1), (4096, 4096, 80), (100, 9000, 0), (1, 4095, 3), (8191, 2, 1), (77, Self.size - 77, 5), (0, Self.size, 16),
            (511, 1, 0), (Self.size - 513, 513, 9),
        ].enumerated() {
            let memory = AlignedBuffer(count: count + shift)
            let bytes = pattern(count, index + 3)
            memory.bytes.part(shift..<shift + count).copyBytes(from: bytes)
            try device.write(UnsafeRawBufferPointer(memory.bytes.part(shift..<shift + count)), at: UInt64(offset))
            expected.replaceSubrange(offset..<offset + count, with: bytes)
            try expect(read(device, 0, Self.size) == expected, "all bytes right after \(count) at \(offset)")
        }
        try expect(device.size == UInt64(Self.size), "its size")
    }

    /// Each thread has every 16th block; all write, read and flush at once, and none sees another's.
    private func manyThreads(_ device: any BlockDevice) throws {
        let failures = Failures()
        inParallel(16) { thread in
            do {
                for round in 0..<12 {
                    for block in stride(from: thread, to: Self.size / 4096, by: 16) {
                        let bytes = pattern(4096, block &* 31 &+ round)
                        try write(device, block * 4096, bytes)
                        if round % 3 == thread % 3 { try expect(read(device, block * 4096, 4096) == bytes, "its own bytes") }
                    }
                    if round % 4 == 0 { try device.flush() }
                }
                for block in stride(from: thread, to: Self.size / 4096, by: 16) {
                    try expect(read(device, block * 4096, 4096) == pattern(4096, block &* 31 &+ 11), "its own bytes at the end")
                }
            } catch {
                failures.add("thread \(thread): \(error)")
            }
        }
        try expect(failures.all.isEmpty, failures.all.joined(separator: "; "))
    }

    private func expect(_ isRight: @autoclosure () throws -> Bool, _ what: String) throws {
        if try !isRight() { throw Violation(description: "\(self): \(what)") }
    }

    private func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }
    private func pattern(_ count: Int, _ seed: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: ($0 &+ seed) &* 31 &+ ($0 >> 8)) } }

    private func read(_ device: any BlockDevice, _ offset: Int, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        try bytes.withUnsafeMutableBytes { try device.read(into: $0, at: UInt64(offset)) }
        return bytes
    }

    private func write(_ device: any BlockDevice, _ offset: Int, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try device.write($0, at: UInt64(offset)) }
    }
}
