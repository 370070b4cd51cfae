internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Deletions of several objects at one moment.
@Suite struct DeletionTests {
    /// Wherever the process or power ends, all of them are there or none; more than fit into one frame of the journal. Deleting one
    /// after another, as a comparison, leaves some.
    @Test(arguments: [true, false])
    func severalGoTogetherOrNot(atOnce: Bool) throws {
        let disk = SimulatedDisk(size: 1 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let volumes = try (0..<12).map { try pool.createVolume("volume-\($0)", size: 4096, attributes: .plain) }
        for volume in volumes { try pool.write(volume, at: 0, [1, 2, 3]) }
        try pool.createSnapshots("s", of: volumes)
        try pool.checkpoint()
        let snapshots = try volumes.map { try pool.find(snapshot: "s", of: $0) }
        disk.keepPoints(every: 1, seed: 1)
        if atOnce { try pool.delete(snapshots) } else { for snapshot in snapshots { try pool.delete(snapshot) } }
        disk.keepPoints(every: 0, seed: 1)
        var random = SeededRandom(seed: 5)
        var counts: Set<Int> = []
        for point in disk.takePoints() {
            for choice in point.allChoices(&random) {
                let again = try Pool.openTiny(point.disk(choice))
                counts.insert(again.volumes().reduce(0) { $0 + again.snapshots(of: $1.id).count })
                #expect(try again.check(readingData: true).isClean)
            }
        }
        #expect(atOnce ? counts.isSubset(of: [0, 12]) && counts.contains(12) : counts.count > 3, "\(counts.sorted())")
        let last = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(last.volumes().allSatisfy { last.snapshots(of: $0.id).isEmpty })
    }

    /// None goes if one may not.
    @Test func oneInTheWayKeepsAll() throws {
        let pool = try Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024))
        let first = try pool.createVolume("a", size: 4096, attributes: .plain), second = try pool.createVolume("b", size: 4096, attributes: .plain)
        let snapshot = try pool.createSnapshot("s", of: second)
        #expect(throws: PoolError.hasSnapshots(count: 1)) { try pool.delete([first, second]) }
        #expect(throws: PoolError.notFound) { try pool.delete([snapshot, 999]) }
        #expect(pool.volumes().count == 2 && pool.snapshots(of: second).count == 1)
        try pool.delete([])
    }
}
