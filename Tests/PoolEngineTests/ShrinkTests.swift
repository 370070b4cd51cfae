internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// A pool that is made smaller while it is used: everything behind the cut is moved, whoever shares it.
@Suite struct ShrinkTests {
    private func bytes(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
    }

    /// All names with their contents.
    private func contents(_ pool: Pool) throws -> [String: [UInt8]] {
        var found: [String: [UInt8]] = [:]
        for volume in pool.volumes() {
            found[volume.name] = try pool.contents(volume.id)
            for snapshot in pool.snapshots(of: volume.id) { found[snapshot.fullName] = try pool.contents(snapshot.id) }
        }
        return found
    }

    /// A pool of 1200 KiB with something in all of it: first a volume that fills it and goes, then what stays lies where it ends.
    private func makePool(_ geometry: Geometry = .tiny, verifiesAccounting: Bool = true) throws -> (pool: Pool, disk: SimulatedDisk) {
        let disk = SimulatedDisk(size: 1200 * 1024)
        try Pool.format(disk, geometry: geometry, environment: .simulated(seed: 1))
        var configuration = Pool.Configuration.tiny
        configuration.verifiesAccounting = verifiesAccounting
        let pool = try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: 2))
        let filler = try pool.createVolume("filler", size: 500_000, attributes: .plain)
        // In pieces, each of which is promised more than it takes.
        for at in stride(from: 0, to: 440_000, by: 40_000) { try pool.write(filler, at: UInt64(at), bytes(40_000, UInt64(at))) }
        let volume = try pool.createVolume("v", size: 120_000, attributes: .plain)
        try pool.write(volume, at: 0, bytes(80_000, 2))
        try pool.delete(filler)
        return (pool, disk)
    }

    /// Shrinks, and looks at the pool as it is, as opened again, and as grown again and filled.
    private func shrinks(_ pool: Pool, _ disk: SimulatedDisk, to size: Int = 500 * 1024) throws {
        let before = try contents(pool)
        try pool.shrink(to: UInt64(size))
        #expect(try disk.size <= UInt64(size) && pool.deviceSize == disk.size)
        #expect(try contents(pool) == before)
        #expect(try pool.check(readingData: true).isClean)
        let killed = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try contents(killed) == before)
        #expect(try killed.check(readingData: true).isClean)
        try pool.checkpoint()
        for zone in try killed.layout().zoneHeaders {
            let damaged = SimulatedDisk(image: disk.image)
            damaged.damage(at: Int(zone), [UInt8](repeating: 0x5a, count: 1024))
            let report = try Pool.repair(damaged, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true)
            #expect(report.losses.isEmpty, "\(report)")
            #expect(try contents(Pool.openTiny(damaged)) == before)
        }
        disk.grow(to: 1_000 * 1024)
        try pool.grow()
        let more = try pool.createVolume("more", size: 300_000, attributes: .plain)
        for at in stride(from: 0, to: 48_000, by: 6_000) { try pool.write(more, at: UInt64(at), bytes(6_000, 77)) }
        #expect(try pool.read(more, at: 42_000, count: 6_000) == bytes(6_000, 77))
        try pool.delete(more)
        #expect(try contents(pool) == before)
        #expect(try pool.check(readingData: true).isClean)
        for volume in pool.volumes() {
            for snapshot in pool.snapshots(of: volume.id) { try pool.delete(snapshot.id) }
            try pool.delete(volume.id)
        }
        try pool.finishReaping()
        #expect(pool.usage().allocated == 0)
    }

    @Test(arguments: [Geometry.tiny, .tinyZones]) func onePlainVolume(geometry: Geometry) throws {
        let (pool, disk) = try makePool(geometry)
        try shrinks(pool, disk)
    }

    /// Snapshots, clones of them and clones of volumes, each a little different from the others.
    @Test(arguments: [Geometry.tiny, .tinyZones]) func versionsThatShare(geometry: Geometry) throws {
        let (pool, disk) = try makePool(geometry)
        let volume = try pool.find("v")
        for index in 0..<4 {
            let snapshot = try pool.createSnapshot("s\(index)", of: volume)
            let clone = try pool.createClone("c\(index)", of: index % 2 == 0 ? snapshot : volume, attributes: .plain)
            try pool.write(volume, at: UInt64(index * 7_000), bytes(3_000, UInt64(10 + index)))
            try pool.write(clone, at: UInt64(90_000 - index * 9_000), bytes(2_000, UInt64(20 + index)))
        }
        try pool.rollback(volume, to: pool.find("v", snapshot: "s2"))
        try pool.delete(pool.find("v", snapshot: "s1"))
        #expect(pool.statistics().hidden > 0)
        try shrinks(pool, disk, to: 600 * 1024)
    }

    /// What has several references gets a block for each.
    @Test func sharedBlocks() throws {
        let (pool, disk) = try makePool()
        let volume = try pool.find("v")
        let copy = try pool.createVolume("copy", size: 0, attributes: .plain)
        #expect(try pool.share(from: volume, at: 0, to: copy, at: 0, count: 120_000) == 120_000)
        #expect(try pool.share(from: volume, at: 0, to: volume, at: 81_920, count: 8192) == 8192)
        _ = try pool.createSnapshot("s", of: copy)
        try shrinks(pool, disk)
    }

    /// A copy is not shared while a replay could not know the blocks, and is again when it can.
    @Test func sharingAfterwards() throws {
        let (pool, disk) = try makePool()
        try pool.shrink(to: 500 * 1024)
        let volume = try pool.find("v"), copy = try pool.createVolume("copy", size: 0, attributes: .plain)
        #expect(try pool.share(from: volume, at: 0, to: copy, at: 0, count: 80_000 / 1024 * 1024) > 0)
        let killed = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try killed.contents(copy) == pool.contents(copy))
        #expect(try killed.check(readingData: true).isClean)
    }

    /// A volume's promise is kept: its writes are not refused in the smaller pool, however full.
    @Test func reservedRanges() throws {
        let (pool, disk) = try makePool()
        let volume = try pool.find("v")
        try pool.reserve(volume, at: 0, count: 100_000)
        _ = try pool.createSnapshot("s", of: volume)
        try pool.shrink(to: 600 * 1024)
        let filler = try pool.createVolume("filler2", size: 4 << 20, attributes: .plain)
        var at: UInt64 = 0
        while (try? pool.write(filler, at: at, bytes(4096, 5))) != nil { at += 4096 }
        for start in stride(from: 0, to: 100_000, by: 10_000) { try pool.write(volume, at: UInt64(start), bytes(10_000, UInt64(start) + 9)) }
        #expect(try pool.check(readingData: true).isClean)
        #expect(try Pool.openTiny(SimulatedDisk(image: disk.image)).check(readingData: true).isClean)
    }

    /// A version half freed when it begins.
    @Test(arguments: [3, 10, 40]) func versionBeingFreed(budget: Int) throws {
        let (pool, disk) = try makePool()
        try pool.finishReaping()
        let volume = try pool.find("v")
        _ = try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 20_000, bytes(40_000, 8))
        try pool.checkpoint()
        try pool.delete(pool.find("v", snapshot: "s"))
        _ = try pool.reap(budget: budget)
        try pool.checkpoint()
        try shrinks(pool, disk)
    }

    /// Many versions and long properties: catalog and chains lie behind the cut too.
    @Test func catalogAndProperties() throws {
        let (pool, disk) = try makePool()
        for index in 0..<12 {
            let volume = try pool.createVolume("w\(index)", size: 9_000, attributes: .plain)
            try pool.setProperty(volume, "user.text", bytes(400, UInt64(index)))
        }
        try pool.checkpoint()
        try shrinks(pool, disk)
        #expect(pool.volumes().isEmpty)
    }

    /// What does not fit is refused with numbers, and nothing has changed: not the size, not what is free.
    @Test func tooMuchInUse() throws {
        let disk = SimulatedDisk(size: 900 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 4 << 20, attributes: .plain)
        for at in stride(from: 0, to: 400_000, by: 40_000) { try pool.write(volume, at: UInt64(at), bytes(40_000, UInt64(at))) }
        try pool.checkpoint()
        try pool.checkpoint()
        let usage = pool.usage()
        for size in [200 * 1024, 400 * 1024] as [UInt64] {
            #expect(throws: PoolError.self) { try pool.smallerSize(size) }
            do {
                try pool.shrink(to: size)
                Issue.record("shrank")
            } catch {
                guard case .outOfSpace(let needed, let free) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(needed > free && free <= size)
            }
        }
        var least: UInt64 = 0
        do { _ = try pool.smallerSize(0) } catch PoolError.refused(.poolTooSmall(let size)) { least = size }
        #expect(least > 60 * 1024 && least < 400 * 1024)
        for size in [0, 1000, 60 * 1024] as [UInt64] {
            #expect(throws: PoolError.refused(.poolTooSmall(least: least))) { try pool.shrink(to: size) }
            #expect(throws: PoolError.refused(.poolTooSmall(least: least))) { try pool.smallerSize(size) }
        }
        for size in [900 * 1024, 2 << 20] as [UInt64] {
            #expect(throws: PoolError.invalid(.size)) { try pool.shrink(to: size) }
        }
        #expect(pool.usage().available == usage.available && pool.usage().capacity == usage.capacity)
        #expect(try disk.size == 900 * 1024 && pool.smallerSize(800 * 1024) <= 800 * 1024)
        #expect(try pool.read(volume, at: 360_000, count: 40_000) == bytes(40_000, 360_000))
    }

    /// A block that is damaged is named, and the pool stays as it is.
    @Test func damagedBlockStops() throws {
        let (before, old) = try makePool()
        try before.finishReaping()
        try before.close()
        let disk = SimulatedDisk(image: old.image)
        let pool = try Pool.openTiny(disk)
        let place = try #require(try pool.layout().dataBlocks.last)
        #expect(place > 500 * 1024)
        disk.damage(at: Int(place), [1, 2, 3])
        let capacity = pool.usage().capacity
        #expect(throws: PoolError.corrupt(.data, position: place, .checksum)) { try pool.shrink(to: 500 * 1024) }
        #expect(try pool.usage().capacity == capacity && disk.size == 1200 * 1024)
    }

    @Test func cancelled() throws {
        let (pool, disk) = try makePool()
        let before = try contents(pool), control = JobControl()
        disk.setHook { offset in if offset > 510 * 1024 { control.cancel() } }
        #expect(throws: PoolError.cancelled) { try pool.shrink(to: 500 * 1024, control: control) }
        disk.setHook(nil)
        #expect(try contents(pool) == before && pool.check(readingData: true).isClean)
        #expect(try disk.size == 1200 * 1024)
        try shrinks(pool, disk)
    }

    /// Cut off at every operation, whatever is lost of what was not flushed; the header of the last zone may be torn.
    @Test(arguments: [Geometry.tiny, .tinyZones]) func everyCrash(geometry: Geometry) throws {
        let (pool, disk) = try makePool(geometry)
        let volume = try pool.find("v")
        _ = try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 10_000, bytes(9_000, 4))
        try pool.flush()
        let before = try contents(pool)
        disk.keepPoints(every: 1, seed: 1)
        try pool.shrink(to: 500 * 1024)
        disk.keepPoints(every: 0, seed: 1)
        var random = SeededRandom(seed: 5)
        var images = 0, small = 0
        for point in disk.takePoints() {
            for choice in point.sampledChoices(6, &random) {
                let copy = point.disk(choice)
                let again = try Pool.openTiny(copy)
                #expect(try contents(again) == before, "\(point.operation) \(choice.kind)")
                #expect(try again.check(readingData: true).isClean)
                images += 1
                if again.deviceSize < 600 * 1024 { small += 1 }
            }
        }
        #expect(images > 200 && small > 0 && small < images)
    }

    /// Readers and writers while it goes on: every block has what was written last, during the move and after it.
    @Test func whileUsed() throws {
        // That reads under the lock, where nobody else can do anything.
        let (pool, disk) = try makePool(verifiesAccounting: false)
        let volume = try pool.find("v")
        var expected = try pool.contents(volume)
        nonisolated(unsafe) var calls = 0
        nonisolated(unsafe) var isInside = false
        let content = expected
        nonisolated(unsafe) var current = content
        disk.setHook { offset in
            guard offset > 64 * 1024, !isInside else { return }
            isInside = true
            defer { isInside = false }
            calls += 1
            if pool.statistics().isStoring { return }
            let at = calls * 1_733 % 70_000
            let new = [UInt8](repeating: UInt8(calls % 251 + 1), count: 900)
            if (try? pool.write(volume, at: UInt64(at), new)) != nil { current.replaceSubrange(at..<at + 900, with: new) }
            if calls % 5 == 0 { #expect((try? pool.contents(volume)) == current) }
        }
        try pool.shrink(to: 500 * 1024)
        disk.setHook(nil)
        expected = current
        #expect(calls > 20)
        #expect(try pool.contents(volume) == expected)
        #expect(try pool.check(readingData: true).isClean)
    }
}
