internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Damage to a closed pool at rest.
@Suite struct DamageTests {
    /// A volume of three levels with a snapshot and a clone, and enough other volumes for a catalog of two levels.
    private func makePool() throws -> (image: [UInt8], contents: [String: [UInt8]]) {
        let disk = SimulatedDisk(size: 900 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 400_000, attributes: .plain)
        for step in 0..<20 { try pool.write(volume, at: UInt64(step * 19_000), [UInt8](repeating: UInt8(step + 1), count: 5000)) }
        let snapshot = try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 100_000, [UInt8](repeating: 77, count: 60_000))
        let clone = try pool.createClone("c", of: snapshot, attributes: .plain)
        try pool.write(clone, at: 5000, [UInt8](repeating: 88, count: 3000))
        for number in 0..<20 { try pool.createVolume("small\(number)", size: 3000, attributes: .plain) }
        var contents: [String: [UInt8]] = ["v": try pool.contents(volume), "v@s": try pool.contents(snapshot)]
        contents["c"] = try pool.contents(clone)
        try pool.close()
        return (disk.image, contents)
    }

    private func contents(_ pool: Pool) throws -> [String: [UInt8]] {
        let volume = try pool.find("v")
        return [
            "v": try pool.contents(volume), "v@s": try pool.contents(pool.find("v", snapshot: "s")),
            "c": try pool.contents(pool.find("c")),
        ]
    }

    /// Every node that has a copy, in turn: with either of the two destroyed the pool opens with all of its contents, and
    /// check names the damage.
    @Test func singleDamageToInteriorMetadataLosesNothing() throws {
        let (image, expected) = try makePool()
        let pairs = try Pool.openTiny(SimulatedDisk(image: image), mode: .readOnly).mirroredNodes()
        #expect(pairs.count > 10)
        for pair in pairs {
            for offset in [pair.node, pair.copy] {
                var damaged = image
                damaged.replaceSubrange(Int(offset)..<Int(offset) + 1024, with: [UInt8](repeating: 0xa5, count: 1024))
                let pool = try Pool.openTiny(SimulatedDisk(image: damaged))
                #expect(try contents(pool) == expected, "node at \(offset)")
                #expect(pool.volumes().count == 22)
                let report = try Pool.openTiny(SimulatedDisk(image: damaged), mode: .readOnly).check(readingData: true)
                #expect(report.problems.count == 1 && report.leakedBlocks == 0, "node at \(offset): \(report)")
                guard case .copy = report.problems.first else {
                    Issue.record("node at \(offset): \(report)")
                    continue
                }
            }
        }
    }
}
