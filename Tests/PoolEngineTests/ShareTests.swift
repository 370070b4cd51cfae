internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Blocks shared by copying ranges: one place on the device, several references.
@Suite struct ShareTests {
    private func bytes(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
    }

    private func makePool(size: Int = 1 << 20) throws -> (pool: Pool, disk: SimulatedDisk, source: UInt64) {
        let disk = SimulatedDisk(size: size)
        let pool = try Pool.makeTiny(on: disk)
        let source = try pool.createVolume("source", size: 200_000, attributes: .plain)
        try pool.write(source, at: 0, bytes(60_000, 1))
        try pool.write(source, at: 150_000, bytes(50_000, 2))
        return (pool, disk, source)
    }

    /// A whole volume, with its hole: the same bytes, no data block more, and the holes are holes.
    @Test func wholeVolumeTakesNoData() throws {
        let (pool, disk, source) = try makePool()
        try pool.checkpoint()
        let before = try Pool.openTiny(SimulatedDisk(image: disk.image)).layout().dataBlocks
        #expect(!before.isEmpty)
        let copy = try pool.createVolume("copy", size: 0, attributes: .plain)
        #expect(try pool.share(from: source, at: 0, to: copy, at: 0, count: 200_000) == 200_000)
        #expect(try pool.contents(copy) == pool.contents(source))
        #expect(try pool.info(copy).referenced == pool.info(source).referenced)
        #expect(try pool.extent(copy, at: 61_000)?.isData == false)
        try pool.close()
        let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try again.layout().dataBlocks == before)
        #expect(try again.contents(copy) == pool.contents(source))
        #expect(try again.check(readingData: true).isClean)
    }

    /// Each of the references is ended in turn, in every order and by every means; the blocks go with the last, exactly.
    @Test(arguments: 0..<6) func lastReferenceFrees(order: Int) throws {
        let (pool, disk, source) = try makePool()
        try pool.finishReaping()
        let copy = try pool.createVolume("copy", size: 0, attributes: .plain)
        _ = try pool.share(from: source, at: 0, to: copy, at: 0, count: 200_000)
        _ = try pool.share(from: source, at: 0, to: source, at: 69_632, count: 40_960)
        let snapshot = try pool.createSnapshot("s", of: copy)
        var ends: [() throws -> Void] = [
            { try pool.discard(source, at: 0, count: 200_000) },
            { try pool.write(copy, at: 0, bytes(200_000, 9)) },
            { try pool.delete(snapshot) },
        ]
        let permutation = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][order]
        ends = permutation.map { ends[$0] }
        for end in ends {
            try end()
            try pool.finishReaping()
            #expect(try pool.check(readingData: true).isClean)
            let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
            #expect(try again.check(readingData: true).isClean)
        }
        try pool.delete(copy)
        try pool.delete(source)
        try pool.finishReaping()
        #expect(pool.usage().allocated == 0)
    }

    /// What cannot be shared is left to the caller; what is wrong is refused.
    @Test func limits() throws {
        let (pool, _, source) = try makePool()
        let copy = try pool.createVolume("copy", size: 100_000, attributes: .plain)
        #expect(try pool.share(from: source, at: 5, to: copy, at: 5, count: 5000) == 0)
        #expect(try pool.share(from: source, at: 1024, to: copy, at: 0, count: 2500) == 2048)
        #expect(throws: PoolError.self) { try pool.share(from: source, at: 199_000, to: copy, at: 0, count: 2000) }
        #expect(throws: PoolError.invalid(.value)) { try pool.share(from: source, at: 0, to: source, at: 1024, count: 4096) }
        let snapshot = try pool.createSnapshot("s", of: source)
        #expect(throws: PoolError.readOnly) { try pool.share(from: source, at: 0, to: snapshot, at: 0, count: 4096) }
        // The source's last block is partial: into the middle of a larger volume it would bring zeros along.
        #expect(try pool.share(from: source, at: 199_680, to: copy, at: 0, count: 320) == 0)
        #expect(try pool.share(from: source, at: 199_680, to: copy, at: 99_328, count: 320) == 0)
        #expect(try pool.share(from: source, at: 199_680, to: copy, at: 102_400, count: 320) == 320)
        #expect(try pool.info(copy).size == 102_720)
    }

    /// The same ranges again change nothing and cost nothing.
    @Test func sharingAgainIsFree() throws {
        let (pool, _, source) = try makePool()
        let copy = try pool.createVolume("copy", size: 0, attributes: .plain)
        _ = try pool.share(from: source, at: 0, to: copy, at: 0, count: 200_000)
        try pool.checkpoint()
        let epoch = pool.statistics().epoch
        _ = try pool.share(from: source, at: 0, to: copy, at: 0, count: 200_000)
        try pool.checkpoint()
        #expect(pool.statistics().epoch == epoch)
    }

    /// Dump and restore keep every reference; a repair counts them anew when the table is gone.
    @Test func dumpAndRepairCountReferences() throws {
        let (pool, disk, source) = try makePool()
        let copy = try pool.createVolume("copy", size: 0, attributes: .plain)
        _ = try pool.share(from: source, at: 0, to: copy, at: 0, count: 200_000)
        let contents = try pool.contents(source)
        try pool.close()
        var lines: [String] = []
        try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).dump { lines.append($0) }
        let restored = SimulatedDisk(image: disk.image)
        try Pool.restore(restored, from: lines.map { $0[...] }, configuration: .tiny, environment: .simulated(seed: 9))

        let damaged = SimulatedDisk(image: disk.image)
        let table = try Pool.openTiny(SimulatedDisk(image: disk.image)).layout().shareNodes
        #expect(!table.isEmpty)
        for node in table { for position in [node.node, node.copy] { damaged.damage(at: Int(position), [UInt8](repeating: 0xa5, count: 1024)) } }
        #expect(throws: PoolError.self) { try Pool.openTiny(damaged) }
        let report = try Pool.repair(damaged, configuration: .tiny, environment: .simulated(seed: 9), isDryRun: false, givesUpVolumes: true)
        #expect(report.losses.isEmpty && !report.findings.isEmpty)

        for disk in [restored, damaged] {
            let pool = try Pool.openTiny(disk)
            #expect(try pool.contents(source) == contents && pool.contents(copy) == contents)
            #expect(try pool.check(readingData: true).isClean)
            try pool.delete(source)
            try pool.finishReaping()
            #expect(try pool.contents(copy) == contents)
            #expect(try pool.check(readingData: true).isClean)
            try pool.delete(copy)
            try pool.finishReaping()
            #expect(pool.usage().allocated == 0)
        }
    }
}
