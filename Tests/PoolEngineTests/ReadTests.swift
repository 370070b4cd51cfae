internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Reads of any range, beside what was written.
@Suite struct ReadTests {
    /// What is read up to the end of an object that is shorter than asked for: from any offset, also in the middle of a block, over
    /// holes and several leaves, and at and beyond the end nothing.
    @Test func readsWhatThereIs() throws {
        let disk = SimulatedDisk(size: 640 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let size = 70_001
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        var model = [UInt8](repeating: 0, count: size)
        var random = SeededRandom(seed: 7)
        for (offset, count) in [(0, 1024), (3000, 5000), (20_480, 1), (40_960, 20_480), (69_990, 11)] {
            for index in offset..<offset + count { model[index] = UInt8(truncatingIfNeeded: random.next()) | 1 }
            try pool.write(volume, at: UInt64(offset), Array(model[offset..<offset + count]))
        }
        for _ in 0..<2 {
            for _ in 0..<300 {
                let offset = Int(random.next() % UInt64(size + 3000)), count = Int(random.next() % 40_000)
                let want = offset < size ? Array(model[offset..<min(size, offset + count)]) : []
                #expect(try available(pool, volume, offset, count) == want, "\(count) bytes at \(offset)")
            }
            try pool.checkpoint()
        }
        #expect(try available(pool, volume, size, 10) == [] && available(pool, volume, size - 1, 0) == [])
        var nothing = [UInt8](repeating: 7, count: 8)
        let far = try nothing.withUnsafeMutableBytes { bytes throws in try pool.readAvailable(volume, at: UInt64.max - 3, into: bytes) }
        #expect(far == 0)
        #expect(throws: PoolError.outOfRange(offset: 69_999, count: 3, size: 70_001)) { try pool.read(volume, at: 69_999, count: 3) }
        #expect(throws: PoolError.self) { try pool.read(volume, at: UInt64.max - 3, count: 8) }
    }

    /// A volume of `size` bytes whose blocks lie in another order than they are read in, and its contents.
    private func scattered(_ pool: Pool, size: Int) throws -> (UInt64, [UInt8]) {
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        var contents = [UInt8](repeating: 0, count: size)
        let blocks = size / 1024
        for index in contents.indices { contents[index] = index % 2 == 0 ? UInt8(index / 1024 % 256) : UInt8(1 + index / 1024 / 256) }
        for index in 0..<blocks {
            let at = index * 37 % blocks * 1024
            try pool.write(volume, at: UInt64(at), Array(contents[at..<at + 1024]))
        }
        try pool.checkpoint()
        return (volume, contents)
    }

    /// What follows a read that follows another is told to a device that wants to know, every byte of it once and before it is read.
    @Test func whatFollowsIsForecast() throws {
        let disk = SimulatedDisk(size: 16 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let size = 5 << 20, step = 64 << 10
        let (volume, contents) = try scattered(pool, size: size)
        #expect(try pool.contents(volume) == contents && disk.takeForecasts() == [])
        var told = Set<UInt64>(), count = 0
        for offset in stride(from: 0, to: size, by: step) {
            #expect(try pool.read(volume, at: UInt64(offset), count: step) == Array(contents[offset..<offset + step]))
            for range in disk.takeForecasts() {
                count += range.count
                told.formUnion(stride(from: range.lowerBound, to: range.upperBound, by: 1024))
            }
            #expect(count <= offset + step + 2 << 20)
            #expect(count >= min(size - step, offset + 1 << 20), "at \(offset)")
        }
        #expect(count == size - step && told.count == count / 1024, "each once")
        for offset in [3 << 20, 1 << 20, 4 << 20] { _ = try pool.read(volume, at: UInt64(offset), count: step) }
        #expect(disk.takeForecasts() == [], "nothing follows another")
        for offset in 0..<64 { _ = try pool.read(volume, at: UInt64(offset * 1024), count: 1024) }
        #expect(disk.takeForecasts() == [], "short reads")
    }

    /// A read of many pieces of which the device fails one, or answers it with something else, is refused with that, and asked of the
    /// device no second time; never returned as data.
    @Test func everyPieceIsReadOrRefused() throws {
        let disk = SimulatedDisk(size: 1 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let (volume, contents) = try scattered(pool, size: 64 << 10)
        _ = try pool.contents(volume)
        let before = disk.readCount
        #expect(try pool.read(volume, at: 0, count: 16 << 10) == Array(contents[..<(16 << 10)]))
        let reads = disk.readCount - before
        #expect(reads >= 16)
        for number in 1...reads {
            disk.misread(after: number, .error(5))
            let failed = disk.readCount
            #expect(throws: PoolError.system(.pread, errno: 5)) { try pool.read(volume, at: 0, count: 16 << 10) }
            #expect(disk.readCount == failed + number, "asked once")
            disk.misread(after: number, .flippedBit)
            #expect(throws: PoolError.self) { try pool.read(volume, at: 0, count: 16 << 10) }
        }
        let image = disk.image
        let place = try #require(stride(from: 0, to: image.count, by: 1024).first { image[$0..<$0 + 1024].elementsEqual(contents[1024..<2048]) })
        disk.damage(at: place, [0xff])
        #expect(throws: PoolError.self) { try pool.read(volume, at: 0, count: 16 << 10) }
        #expect(try pool.read(volume, at: 2048, count: 14 << 10) == Array(contents[2048..<(16 << 10)]))
    }

    private func available(_ pool: Pool, _ volume: UInt64, _ offset: Int, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        let done = try bytes.withUnsafeMutableBytes { bytes throws in try pool.readAvailable(volume, at: UInt64(offset), into: bytes) }
        return Array(bytes[..<done])
    }
}
