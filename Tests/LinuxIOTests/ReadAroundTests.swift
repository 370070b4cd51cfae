internal import BlockStorage
internal import Foundation
internal import LinuxIO
import TestSupport
import Testing

@Suite struct ReadAroundTests {
    /// Reads blocks of 4 KiB as a device does that remembers all it reads; tells how many were missing, and for how many of those
    /// windows were read.
    private struct Disk {
        let around = ReadAround()
        var memory: Set<UInt64> = []
        var misses = 0, windows = 0

        mutating func read(_ block: UInt64, isCrowded: Bool) {
            let offset = block * 4096
            let isBefore = around.isWanted(before: offset, 4096, isCrowded: isCrowded)
            if isBefore { fetch(offset) }
            if memory.contains(block) && !isBefore { return }
            misses += isBefore ? 0 : 1
            if !isBefore && around.isWanted(afterMissAt: offset, 4096) { fetch(offset) }
            memory.insert(block)
        }

        private mutating func fetch(_ offset: UInt64) {
            windows += 1
            let first = offset / ReadAround.window * (ReadAround.window / 4096)
            for block in first..<first + ReadAround.window / 4096 { memory.insert(block) }
        }

        /// Whole windows' share of what was missing since the last call.
        mutating func share() -> Double {
            defer { (misses, windows) = (0, 0) }
            return Double(windows) / Double(max(misses, windows))
        }
    }

    /// All of a small area comes with a read a window, by whichever door, and what is in memory then asks for nothing more.
    @Test(arguments: [false, true]) func smallAreaComesByWindows(isCrowded: Bool) {
        var disk = Disk()
        var random = SeededRandom(seed: 1)
        for _ in 0..<200_000 { disk.read(random.next() % 16_384, isCrowded: isCrowded) }
        #expect(disk.memory.count == 16_384 && disk.windows == 1024)
        let before = disk.windows
        for _ in 0..<1000 { disk.read(random.next() % 16_384, isCrowded: isCrowded) }
        #expect(disk.windows == before)
        #expect(!disk.around.isWanted(before: 1 << 40, 4096, isCrowded: true), "nothing was missing for long")
    }

    /// Where no neighbour is ever asked for, only samples are read; where one is again, that shows.
    @Test func uselessReadingEnds() {
        var disk = Disk()
        var random = SeededRandom(seed: 2)
        let area: UInt64 = 1 << 30
        for _ in 0..<60_000 { disk.read(random.next() % area, isCrowded: false) }
        _ = disk.share()
        for _ in 0..<20_000 { disk.read(random.next() % area, isCrowded: false) }
        #expect(disk.share() < 0.08)
        for _ in 0..<20_000 {
            let start = random.next() % area
            for block in start..<start + 8 { disk.read(block, isCrowded: false) }
        }
        _ = disk.share()
        for _ in 0..<2000 {
            let start = random.next() % area
            for block in start..<start + 8 { disk.read(block, isCrowded: false) }
        }
        #expect(disk.share() > 0.9)
    }

    /// What memory has lost is read again by windows: all that is as old is taken for lost too.
    @Test func lostMemoryIsNoticed() {
        var disk = Disk()
        for block: UInt64 in 0..<16_384 { disk.read(block, isCrowded: true) }
        disk.memory = []
        _ = disk.share()
        var random = SeededRandom(seed: 3)
        for _ in 0..<100_000 { disk.read(random.next() % 16_384, isCrowded: true) }
        #expect(disk.memory.count == 16_384 && disk.windows == 1024 && disk.misses < disk.windows / 4)
    }

    @Test func onlyShortReadsWithinAWindowAreConcerned() {
        #expect(ReadAround.concerns(0, 4096) && ReadAround.concerns(65_536 - 4096, 4096) && ReadAround.concerns(49_152, 16_384))
        #expect(!ReadAround.concerns(65_536 - 4096, 8192) && !ReadAround.concerns(0, 32_768) && !ReadAround.concerns(0, 0))
    }

    /// After a block of a file that is not in memory was read, so are soon its neighbours, and those of no other window.
    @Test func neighboursComeIntoMemory() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString)").path
        defer { unlink(path) }
        let device = try FileDevice(creating: path, size: 64 << 20)
        let all = AlignedBuffer(count: 1 << 20)
        memset(all.bytes.baseAddress!, 7, 1 << 20)
        for part: UInt64 in 0..<64 { try device.write(UnsafeRawBufferPointer(all.bytes), at: part << 20) }
        try device.flushAndDropCache()
        let block = AlignedBuffer(count: 4096)
        try device.read(into: block.bytes, at: 32 << 20 + 20_480)
        #expect(block.bytes.allSatisfy { $0 == 7 })
        let descriptor = open(path, O_RDONLY)
        defer { close(descriptor) }
        let map = mmap(nil, 64 << 20, PROT_READ, MAP_SHARED, descriptor, 0)!
        defer { munmap(map, 64 << 20) }
        var resident = [UInt8](repeating: 0, count: 16_384)
        let window = 8192..<8208
        let end = monotonicClock() + 20_000_000_000
        repeat { mincore(map, 64 << 20, &resident) } while !window.allSatisfy { resident[$0] & 1 == 1 } && monotonicClock() < end
        #expect(window.allSatisfy { resident[$0] & 1 == 1 })
        #expect(resident.indices.filter { resident[$0] & 1 == 1 }.allSatisfy { window.contains($0) })
    }
}
