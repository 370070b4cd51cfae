internal import BlockStorage
internal import Commands
internal import PoolEngine
internal import TestSupport
import Testing

@Suite struct ExtentSourceTests {
    /// A question about a whole large volume is answered for its beginning, by every context; one about less as far as it goes.
    @Test(arguments: [ExtentSource.allocation, ExtentSource.depth, ExtentSource.shared, ExtentSource.changes + "s"])
    func answersAreOfBoundedLength(context: String) throws {
        let disk = SimulatedDisk(size: 16 << 20)
        try Pool.format(disk, environment: .simulated(seed: 1))
        let pool = try Pool(opening: disk, environment: .simulated(seed: 2))
        let volume = try pool.createVolume("v", size: 1 << 40, attributes: .plain)
        try pool.write(volume, at: 1 << 20, [UInt8](repeating: 1, count: 4096))
        try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 2 << 20, [UInt8](repeating: 2, count: 4096))
        let source = ExtentSource(pool, volume, context)
        for (asked, told) in [(UInt64(1) << 40, ExtentSource.longest), (10 << 20, 10 << 20)] {
            var lengths: [UInt64] = [], flags: [UInt32] = []
            try source.extents(0..<asked) { length, flag in
                lengths.append(length)
                flags.append(flag)
                return true
            }
            #expect(lengths.reduce(0, +) == told && Set(flags).count > 1, "\(lengths) \(flags)")
        }
        var count = 0
        try source.extents(0..<1 << 40) { _, _ in
            count += 1
            return false
        }
        #expect(count == 1)
    }
}
