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

    private func available(_ pool: Pool, _ volume: UInt64, _ offset: Int, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        let done = try bytes.withUnsafeMutableBytes { bytes throws in try pool.readAvailable(volume, at: UInt64(offset), into: bytes) }
        return Array(bytes[..<done])
    }
}
