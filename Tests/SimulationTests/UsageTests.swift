internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// The exact accounting, in random histories with snapshots, clones, rollbacks, shared blocks and freeing cut off anywhere.
@Suite(.serialized) struct UsageTests {
    private struct Wrong: Error { var text: String }

    /// Referenced, used, unique and written are what a count of everything finds, of volumes and of snapshots, while deleted versions
    /// are half freed and when they are gone; a checkpoint changes none of them; and deleting an object gives back exactly what was its own.
    @Test(arguments: 0..<30) func figuresAreExact(batch: UInt64) throws {
        var compared = 0, snapshots = 0, deleted = 0
        for seed in batch * 10..<batch * 10 + 10 {
            var options = Campaign.options(seed: seed, brokenRule: nil)
            options.steps = 40
            let simulation = try Simulation(seed: seed, options: options)
            var step = 0
            var random = SeededRandom(seed: seed ^ 0x05a6e)
            do {
                try simulation.run { pool, disk in
                    step += 1
                    guard step % 5 == 0 else { return }
                    try compareAcrossCheckpoint(pool)
                    for isReaped in [false, true] {
                        if isReaped { try pool.finishReaping() }
                        let found = try compare(pool)
                        compared += found.count
                        snapshots += found.count(where: \.isSnapshot)
                    }
                    let objects = objects(pool).filter { $0.isSnapshot || $0.snapshotCount == 0 }
                    guard let object = objects.randomElement(using: &random) else { return }
                    try compareWithDeleting([object], pool, SimulatedDisk(image: disk.image), seed)
                    try compareWithDeleting(several(pool, &random), pool, SimulatedDisk(image: disk.image), seed)
                    deleted += 1
                }
            } catch {
                let text = (error as? Wrong)?.text ?? "\(error)"
                Issue.record("seed \(seed), after step \(step): \(text)\n\(simulation.script.map(\.text).joined(separator: "\n"))")
                return
            }
        }
        // Else it compares nothing.
        #expect(compared > 200 && snapshots > 50 && deleted > 20, "\(compared) compared, \(snapshots) of them snapshots, \(deleted) deleted")
    }

    private func objects(_ pool: Pool) -> [ObjectInfo] { pool.volumes().flatMap { [$0] + pool.snapshots(of: $0.id) } }

    /// What is not stored yet counts as it will be.
    private func compareAcrossCheckpoint(_ pool: Pool) throws {
        let before = objects(pool), usages = try before.map { try pool.usage(of: $0.id) }
        try pool.checkpoint()
        for (object, old) in zip(objects(pool), zip(before, usages)) {
            let new = try pool.usage(of: object.id)
            if new != old.1 { throw Wrong(text: "\(object.fullName): \(old.1), and \(new) after a checkpoint") }
            if object.referenced != old.0.referenced {
                throw Wrong(text: "\(object.fullName): refers to \(old.0.referenced) bytes, and to \(object.referenced) after a checkpoint")
            }
        }
    }

    /// Returns what was compared.
    private func compare(_ pool: Pool) throws -> [ObjectInfo] {
        let oracle = try UsageOracle(pool), objects = objects(pool)
        for object in objects {
            if object.referenced != oracle.referenced(by: object.id) {
                throw Wrong(text: "\(object.fullName): refers to \(object.referenced) bytes, expected \(oracle.referenced(by: object.id) ?? 0)")
            }
            var found = try pool.usage(of: object.id)
            guard var expected = oracle.usage(of: object.id) else { throw Wrong(text: "\(object.fullName) is not in the dump") }
            // What is still being freed holds references too, and whether the last one goes is open.
            if oracle.isFreeing && oracle.hasShares { (found.unique, expected.unique) = (0, 0) }
            if found != expected { throw Wrong(text: "\(object.fullName): \(found), expected \(expected)") }
        }
        return objects
    }

    /// Some of the objects, and the snapshots of a volume among them, snapshots first.
    private func several(_ pool: Pool, _ random: inout SeededRandom) -> [ObjectInfo] {
        let all = objects(pool), chosen = Set((0..<3).compactMap { _ in all.randomElement(using: &random)?.id })
        let doomed = all.filter { chosen.contains($0.id) || chosen.contains($0.volume) }
        return doomed.filter(\.isSnapshot) + doomed.filter { !$0.isSnapshot }
    }

    /// On a copy of the disk. Blocks of catalog, properties and the table of shared blocks are nobody's.
    private func compareWithDeleting(_ objects: [ObjectInfo], _ pool: Pool, _ disk: SimulatedDisk, _ seed: UInt64) throws {
        let unique = objects.count == 1 ? try pool.usage(of: objects[0].id).unique : try pool.freed(byDeleting: objects.map(\.id))
        let copy = try Pool.openTiny(disk, seed: seed)
        let before = try mapped(copy)
        for object in objects { try copy.delete(object.id) }
        try copy.finishReaping()
        try copy.close()
        let freed = try before - mapped(copy)
        if freed != unique { throw Wrong(text: "deleting \(objects.map(\.fullName)) frees \(freed), \(unique) was promised") }
    }

    private func mapped(_ pool: Pool) throws -> UInt64 {
        let layout = try pool.layout()
        let pairs = layout.catalogLeaves.count + layout.catalogNodes.count + layout.shareNodes.count + layout.propertyNodes.count
        return pool.usage().allocated - UInt64(2 * pairs * layout.blockSize)
    }
}
