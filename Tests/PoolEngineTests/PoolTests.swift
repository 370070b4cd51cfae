internal import BlockStorage
internal import PoolEngine
internal import Synchronization
internal import TestSupport
import Testing

/// What users are promised, one volume or two at a time.
@Suite struct PoolTests {
    private func pool(_ size: Int = 640 * 1024) throws -> (SimulatedDisk, Pool) {
        let disk = SimulatedDisk(size: size)
        return (disk, try Pool.makeTiny(on: disk))
    }

    private func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

    /// POOL-01, -03, -05, -16, -17, -18 of the acceptance list.
    @Test func snapshotsAndClonesAreIsolated() throws {
        let (disk, pool) = try pool()
        let golden = try pool.createVolume("golden", size: 65_536, attributes: .plain)
        try pool.write(golden, at: 8192, bytes(1, 5000))
        let snapshot = try pool.createSnapshot("v1", of: golden)
        let clone = try pool.createClone("vm", of: snapshot, attributes: .plain)
        let live = try pool.createClone("live", of: golden, attributes: .plain)
        try pool.write(golden, at: 8192, bytes(2, 5000))
        try pool.write(clone, at: 10_000, bytes(3, 100))
        #expect(try pool.read(golden, at: 8192, count: 5000) == bytes(2, 5000))
        #expect(try pool.read(snapshot, at: 8192, count: 5000) == bytes(1, 5000))
        #expect(try pool.read(live, at: 8192, count: 5000) == bytes(1, 5000))
        #expect(try pool.read(clone, at: 9999, count: 102) == [1] + bytes(3, 100) + [1])
        #expect(throws: PoolError.readOnly) { try pool.write(snapshot, at: 0, [1]) }
        #expect(throws: PoolError.outOfRange(offset: 65_530, count: 10, size: 65_536)) { try pool.write(golden, at: 65_530, bytes(9, 10)) }
        #expect(throws: PoolError.exists) { try pool.createSnapshot("v1", of: golden) }
        #expect(throws: PoolError.exists) { try pool.createClone("vm", of: snapshot, attributes: .plain) }
        #expect(throws: PoolError.notFound) { try pool.find("golden", snapshot: "v2") }
        #expect(throws: PoolError.hasSnapshots(count: 1)) { try pool.delete(golden) }
        #expect(try pool.info(clone).origin == "golden@v1")
        try pool.close()
        let again = try Pool.openTiny(disk)
        #expect(try again.read(again.find("golden"), at: 8192, count: 5000) == bytes(2, 5000))
        #expect(try again.read(again.find("golden", snapshot: "v1"), at: 8192, count: 5000) == bytes(1, 5000))
        #expect(try again.check(readingData: true).isClean)
    }

    /// A forgotten origin stays forgotten: from the journal after a crash, and from the catalog after a checkpoint.
    @Test func forgottenOriginStaysForgotten() throws {
        let (disk, pool) = try pool()
        let golden = try pool.createVolume("golden", size: 65_536, attributes: .plain)
        let snapshot = try pool.createSnapshot("v1", of: golden)
        let clone = try pool.createClone("vm", of: snapshot, attributes: .plain), live = try pool.createClone("live", of: golden, attributes: .plain)
        try pool.forgetOrigin(of: clone)
        try pool.forgetOrigin(of: golden)
        #expect(throws: PoolError.readOnly) { try pool.forgetOrigin(of: snapshot) }
        for _ in 0..<2 {
            let crashed = try Pool.openTiny(SimulatedDisk(image: disk.image))
            #expect(try crashed.info(clone).origin == nil && crashed.info(live).origin == "golden")
            #expect(try crashed.check(readingData: true).isClean)
            try pool.checkpoint()
        }
    }

    /// Anything is deleted in any order, and at the end every block is free.
    @Test(arguments: 0..<24) func deletesInAnyOrder(order: Int) throws {
        let (_, pool) = try pool()
        let golden = try pool.createVolume("golden", size: 65_536, attributes: .plain)
        try pool.write(golden, at: 0, bytes(1, 40_000))
        let first = try pool.createSnapshot("a", of: golden)
        try pool.write(golden, at: 10_000, bytes(2, 10_000))
        let second = try pool.createSnapshot("b", of: golden)
        let clone = try pool.createClone("clone", of: first, attributes: .plain)
        try pool.write(clone, at: 20_000, bytes(3, 10_000))
        try pool.write(golden, at: 0, bytes(4, 5000))
        var doomed = [first, second, clone]
        var number = order
        while !doomed.isEmpty {
            let object = doomed.remove(at: number % doomed.count)
            number /= 2
            try pool.delete(object)
            if number % 3 == 0 { try pool.finishReaping() } else { try pool.reap(budget: 5) }
            #expect(try pool.read(golden, at: 0, count: 5000) == bytes(4, 5000))
            if doomed.contains(clone) { #expect(try pool.read(clone, at: 20_000, count: 10_000) == bytes(3, 10_000)) }
            #expect(try pool.check().isClean)
        }
        try pool.delete(golden)
        try pool.finishReaping()
        #expect(pool.usage().allocated == 0)
        #expect(try pool.check().isClean)
    }

    /// Whoever deletes something from a full pool can write at once: the space is freed for the write, not before a refusal.
    @Test func writersTakeWhatWasDeleted() throws {
        let (_, pool) = try pool(200 * 1024)
        var filled = 0
        for round in 0..<4 {
            let volume = try pool.createVolume("v\(round)", size: 16 << 20, attributes: .plain)
            var count = 0
            do {
                while true {
                    try pool.write(volume, at: UInt64(count * 1024), bytes(UInt8(round + 1), 1024))
                    count += 1
                }
            } catch PoolError.outOfSpace {}
            if round == 0 { filled = count }
            #expect(count > 40 && count >= filled - 2, "\(count) blocks in round \(round), \(filled) in the first")
            try pool.delete(volume)
        }
        try pool.finishReaping()
        #expect(try pool.check().isClean)
    }

    /// A write for which there is not room in full changes nothing at all, and the snapshot survives reopening (POOL-02).
    @Test func fullPoolAppliesAllOrNothing() throws {
        let (disk, pool) = try pool(200 * 1024)
        let keep = try pool.createVolume("keep", size: 8192, attributes: .plain)
        try pool.write(keep, at: 0, bytes(1, 2048))
        let snapshot = try pool.createSnapshot("s", of: keep)
        let big = try pool.createVolume("big", size: 16 << 20, attributes: .plain)
        var offset: UInt64 = 0
        var refusals = 0
        var length = 64 * 1024
        while length >= 1024 {
            do {
                try pool.write(big, at: offset, bytes(5, length))
                offset += UInt64(length)
            } catch PoolError.outOfSpace {
                refusals += 1
                let hole = try pool.extent(big, at: offset)
                #expect(hole?.isData == false && (hole?.end ?? 0) >= offset + UInt64(length), "part of a refused write is there")
                length /= 2
            }
        }
        #expect(refusals > 3 && offset > 32 * 1024)
        // Six blocks with room for five or fewer.
        #expect(throws: PoolError.self) { try pool.write(big, at: offset, bytes(6, 6 * 1024)) }
        #expect(try pool.extent(big, at: offset)?.isData == false)
        // Overwriting what it owns goes on, as each write gives a block back.
        for round in 0..<100 { try pool.write(big, at: UInt64(round % 8 * 1024), bytes(UInt8(round + 1), 1024)) }
        #expect(try pool.read(snapshot, at: 0, count: 2048) == bytes(1, 2048))
        try pool.discard(big, at: 0, count: 4096)
        try pool.delete(snapshot)
        try pool.finishReaping()
        try pool.close()
        let again = try Pool.openTiny(disk)
        #expect(try again.check(readingData: true).isClean)
        try again.delete(again.find("big"))
        try again.finishReaping()
        #expect(throws: Never.self) { try again.write(again.find("keep"), at: 0, bytes(7, 8192)) }
    }

    @Test func discardFreesAtOnceAndReadsZero() throws {
        let (_, pool) = try pool()
        let volume = try pool.createVolume("v", size: 300_000, attributes: .plain)
        try pool.write(volume, at: 0, bytes(1, 200_000))
        let before = pool.usage().allocated
        try pool.discard(volume, at: 10_000, count: 150_000)
        #expect(pool.usage().allocated <= before - 145 * 1024)
        #expect(try pool.read(volume, at: 9990, count: 20) == bytes(1, 10) + bytes(0, 10))
        #expect(try pool.read(volume, at: 159_990, count: 20) == bytes(0, 10) + bytes(1, 10))
        #expect(try pool.info(volume).referenced <= 52 * 1024)
        #expect(try pool.extent(volume, at: 20_000) == Extent(isData: false, end: 159_744))
        // What is not there costs nothing to discard.
        let records = pool.statistics().journalUsedFrames
        try pool.discard(volume, at: 0, count: 300_000)
        try pool.discard(volume, at: 0, count: 300_000)
        #expect(pool.statistics().journalUsedFrames <= records + 1)
        #expect(try pool.check().isClean)
    }

    @Test func zerosTakeNoSpace() throws {
        let (_, pool) = try pool()
        let volume = try pool.createVolume("v", size: 100_000, attributes: .plain)
        try pool.write(volume, at: 0, bytes(0, 100_000))
        #expect(try pool.info(volume).referenced == 0)
        try pool.write(volume, at: 0, bytes(1, 8192))
        try pool.write(volume, at: 0, bytes(0, 4096))
        #expect(try pool.info(volume).referenced == 4096)
        #expect(try pool.read(volume, at: 4000, count: 200) == bytes(0, 96) + bytes(1, 104))
    }

    @Test func shrunkAndRegrownReadsZero() throws {
        let (_, pool) = try pool()
        let volume = try pool.createVolume("v", size: 50_000, attributes: .plain)
        try pool.write(volume, at: 0, bytes(1, 50_000))
        let snapshot = try pool.createSnapshot("s", of: volume)
        try pool.resize(volume, to: 1500)
        try pool.resize(volume, to: 400_000)
        #expect(try pool.read(volume, at: 1400, count: 200) == bytes(1, 100) + bytes(0, 100))
        #expect(try pool.read(volume, at: 40_000, count: 100) == bytes(0, 100))
        #expect(try pool.contents(snapshot) == bytes(1, 50_000))
        try pool.rollback(volume, to: snapshot)
        #expect(try pool.contents(volume) == bytes(1, 50_000))
        #expect(try pool.check().isClean)
    }

    @Test func volumesUpToSixteenTebibytes() throws {
        let disk = SimulatedDisk(size: 64 << 20)
        try Pool.format(disk, geometry: .standard(size: 64 << 20), environment: .simulated(seed: 1))
        let pool = try Pool(opening: disk, environment: .simulated(seed: 2))
        let size: UInt64 = 16 << 40
        let volume = try pool.createVolume("large", size: size, attributes: .plain)
        try pool.write(volume, at: size - 100, bytes(1, 100))
        #expect(try pool.read(volume, at: size - 101, count: 101) == [0] + bytes(1, 100))
        #expect(throws: PoolError.tooLarge(size: size + 1, limit: size)) { try pool.resize(volume, to: size + 1) }
        #expect(throws: PoolError.self) { try pool.write(volume, at: .max - 5, bytes(1, 10), growing: true) }
        try pool.discard(volume, at: 0, count: size)
        #expect(try pool.info(volume).referenced == 0)
        #expect(try pool.check().isClean)
    }

    /// Four threads write, snapshot, clone and delete while checkpoints and the reaper run.
    @Test func threadsShareAPool() async throws {
        let disk = SimulatedDisk(size: 8 << 20)
        let pool = try Pool.makeTiny(on: disk)
        await withTaskGroup(of: Void.self) { group in
            for me in 0..<4 {
                group.addTask {
                    do {
                        let volume = try pool.createVolume("v\(me)", size: 100_000, attributes: .plain)
                        for round in 1...60 {
                            let value = UInt8(round)
                            try pool.write(volume, at: UInt64(round * 997 % 90_000), self.bytes(value, 3000))
                            if round % 10 == 0 {
                                let snapshot = try pool.createSnapshot("s\(round)", of: volume)
                                let clone = try pool.createClone("c\(me)-\(round)", of: snapshot, attributes: .plain)
                                let expected = try pool.contents(volume)
                                try pool.write(volume, at: 0, self.bytes(99, 5000))
                                #expect(try pool.contents(snapshot) == expected)
                                #expect(try pool.contents(clone) == expected)
                                try pool.delete(snapshot)
                                try pool.delete(clone)
                            }
                            if round % 7 == 0 { try pool.flush(volume) }
                            #expect(try pool.read(volume, at: UInt64(round * 997 % 90_000 + 2999), count: 1) != [0])
                        }
                    } catch { Issue.record("\(error)") }
                }
            }
            group.addTask {
                for _ in 0..<40 { do { _ = try pool.maintain(); try pool.checkpoint() } catch { Issue.record("\(error)") } }
            }
        }
        try pool.finishReaping()
        #expect(try pool.check(readingData: true).isClean)
        for volume in pool.volumes() { try pool.delete(volume.id) }
        try pool.finishReaping()
        #expect(pool.usage().allocated == 0)
    }

    /// While a volume is being cut, another thread's write beyond the new end is refused: it would come back when the volume
    /// grows again.
    @Test func writeIntoWhatIsCutIsRefused() throws {
        let disk = SimulatedDisk(size: 400 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        try pool.write(volume, at: 0, [UInt8](repeating: 1, count: 60_000))
        let results = Mutex<[PoolError]>([])
        let start = Geometry.tiny.dataOffset
        disk.setHook { offset in
            guard offset >= start, results.withLock({ $0.isEmpty }) else { return }
            disk.setHook(nil)
            do throws(PoolError) {
                try pool.write(volume, at: 40_000, [UInt8](repeating: 2, count: 1000))
            } catch { results.withLock { $0.append(error) } }
            do throws(PoolError) { try pool.resize(volume, to: 70_000) } catch { results.withLock { $0.append(error) } }
        }
        try pool.resize(volume, to: 3000)
        #expect(results.withLock { $0 } == [.inUse, .inUse])
        try pool.resize(volume, to: 60_000)
        #expect(try pool.contents(volume) == [UInt8](repeating: 1, count: 3000) + [UInt8](repeating: 0, count: 57_000))
    }

    /// Runs end where zones do: a write over many small zones is read back, also after reopening, and all zones stay whole.
    @Test func writesAcrossZones() throws {
        let disk = SimulatedDisk(size: 1600 * 1024)
        try Pool.format(disk, geometry: .tinyZones, environment: .simulated(seed: 3))
        var pool = try Pool.openTiny(disk)
        let volume = try pool.createVolume("v", size: 400_000, attributes: .plain)
        let bytes = (0..<400_000).map { UInt8(truncatingIfNeeded: $0 / 1024 + 1) }
        try pool.write(volume, at: 0, bytes)
        #expect(try pool.contents(volume) == bytes)
        #expect(try pool.layout().zoneHeaders.count > 6)
        try pool.close()
        pool = try Pool.openTiny(disk)
        #expect(try pool.contents(volume) == bytes)
        #expect(try pool.check(readingData: true).isClean)
    }

    /// A full pool on a disk that has grown takes the new space in while it is open, crashes at any operation of that
    /// included, and is the same after reopening.
    @Test func growsWhileUsed() throws {
        func full() throws -> (SimulatedDisk, Pool, UInt64) {
            let disk = SimulatedDisk(size: 300 * 1024)
            try Pool.format(disk, geometry: .tinyZones, environment: .simulated(seed: 3))
            let pool = try Pool.openTiny(disk)
            let volume = try pool.createVolume("v", size: 4 << 20, attributes: .plain)
            var at: UInt64 = 0
            while (try? pool.write(volume, at: at, [UInt8](repeating: 7, count: 4096))) != nil { at += 4096 }
            try pool.flush()
            disk.grow(to: 900 * 1024)
            return (disk, pool, at)
        }
        let (disk, pool, end) = try full()
        #expect(throws: PoolError.self) { try pool.write(pool.find("v"), at: end, [UInt8](repeating: 7, count: 8192)) }
        let before = pool.usage().capacity
        disk.keepPoints(every: 1, seed: 1)
        try pool.grow()
        disk.keepPoints(every: 0, seed: 1)
        #expect(pool.usage().capacity > 2 * before)
        var random = SeededRandom(seed: 5)
        var images = 0
        for point in disk.takePoints() {
            for choice in point.allChoices(&random) {
                let again = try Pool.openTiny(point.disk(choice))
                #expect(try again.check(readingData: true).isClean)
                #expect(try again.read(again.find("v"), at: 0, count: Int(end)) == [UInt8](repeating: 7, count: Int(end)))
                images += 1
            }
        }
        #expect(images > 20)
        let volume = try pool.find("v")
        try pool.write(volume, at: end, [UInt8](repeating: 8, count: 200_000))
        #expect(try pool.check(readingData: true).isClean)
        #expect(throws: PoolError.self) { try pool.grow() }
        // Killed, not closed: the journal names blocks of the new zones.
        let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try again.read(volume, at: end, count: 200_000) == [UInt8](repeating: 8, count: 200_000))
        #expect(try again.check(readingData: true).isClean)
    }
}
