internal import BlockStorage
internal import PoolEngine
internal import Synchronization
internal import TestSupport
import Testing

@Suite struct WarmSegmentTests {
    /// A clock that a test sets.
    private final class Clock: Sendable {
        private let time = Atomic<UInt64>(100_000_000_000)
        func advance(milliseconds: UInt64) { time.add(milliseconds * 1_000_000, ordering: .relaxed) }
        var now: UInt64 { time.load(ordering: .relaxed) }
    }

    private static func pool(on disk: SimulatedDisk, _ clock: Clock, warmSegments: Int) throws -> Pool {
        try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
        return try open(disk, clock, warmSegments: warmSegments)
    }

    private static func open(_ disk: SimulatedDisk, _ clock: Clock, warmSegments: Int) throws -> Pool {
        var configuration = Pool.Configuration.tiny
        configuration.warmSegments = warmSegments
        let random = Pool.Environment.simulated(seed: 2).random
        return try Pool(opening: disk, configuration: configuration, environment: Pool.Environment(now: { clock.now }, random: random, pause: {}))
    }

    /// What writers free they write to next, so it keeps its storage while they are busy; when they rest the host has it back.
    @Test func freedSegmentsArePunchedWhenWritersRest() throws {
        let disk = SimulatedDisk(size: 2 << 20), clock = Clock(), pool = try Self.pool(on: disk, clock, warmSegments: 1)
        let volume = try pool.createVolume("v", size: 0, attributes: .plain)
        var contents: [UInt8] = []
        for round in 1...6 as ClosedRange<UInt8> {
            contents = [UInt8](repeating: round, count: 200 << 10)
            try pool.write(volume, at: 0, contents, growing: true)
            clock.advance(milliseconds: 200)
            try pool.maintain()
        }
        #expect(pool.statistics().punchedBytes == 0, "writers are busy")
        for _ in 0..<5 {
            clock.advance(milliseconds: 5000)
            try pool.maintain()
        }
        #expect(pool.statistics().punchedBytes >= 160 << 10, "one copy of the volume is nobody's any more")
        #expect(!pool.hasMaintenance)
        #expect(try pool.contents(volume) == contents)
        try pool.close()
        #expect(try Pool.openTiny(disk).contents(volume) == contents)
    }

    /// What was deleted is free, and but for what is kept for writers the host's, a while after nothing is asked any more: by one
    /// checkpoint that has no other cause, and no second one. What was kept is given back when the pool is closed.
    @Test func restingPoolFreesAllAndRests() throws {
        let disk = SimulatedDisk(size: 2 << 20), clock = Clock(), pool = try Self.pool(on: disk, clock, warmSegments: 4)
        let volume = try pool.createVolume("v", size: 0, attributes: .plain)
        try pool.write(volume, at: 0, [UInt8](repeating: 1, count: 200 << 10), growing: true)
        try pool.checkpoint()
        try pool.delete(volume)
        for _ in 0..<20 where pool.hasMaintenance {
            clock.advance(milliseconds: 5000)
            while try pool.maintain() {}
        }
        #expect(!pool.hasMaintenance && pool.usage().quarantined == 0)
        let rested = pool.statistics()
        #expect(rested.punchedBytes >= 100 << 10)
        clock.advance(milliseconds: 1_000_000)
        try pool.maintain()
        #expect(pool.statistics().checkpoints == rested.checkpoints)
        try pool.close()
        #expect(pool.statistics().punchedBytes - rested.punchedBytes >= 4 * 16 << 10, "what was kept for writers stays the pool's")
        #expect(try Pool.openTiny(disk).check(readingData: true).isClean)
    }

    /// A long write goes where much that was freed lies together, not into the first holes that there are.
    @Test func longWritesLieTogether() throws {
        let disk = SimulatedDisk(size: 2 << 20), pool = try Pool.makeTiny(on: disk)
        func volume(_ name: String) throws -> UInt64 { try pool.createVolume(name, size: 1 << 20, attributes: .plain) }
        let kept = try volume("kept"), holes = try volume("holes"), halves = try volume("halves")
        let block = [UInt8](repeating: 1, count: 1024), half = [UInt8](repeating: 2, count: 8192)
        for index: UInt64 in 0..<80 {
            try pool.write(kept, at: index * 1024, block)
            try pool.write(holes, at: index * 1024, block)
        }
        for index: UInt64 in 0..<10 {
            try pool.write(kept, at: 200 << 10 + index * 8192, half)
            try pool.write(halves, at: index * 8192, half)
        }
        try pool.delete(holes)
        try pool.delete(halves)
        while try pool.maintain() {}
        try pool.checkpoint()
        let new = try volume("new")
        let before = disk.operationCount
        try pool.write(new, at: 0, [UInt8](repeating: 3, count: 48 << 10))
        #expect(disk.operationCount - before <= 48 / 8 + 4)
        #expect(try pool.check(readingData: true).isClean)
    }

    /// After a recovery any free segment may have storage. Once that is given back, a look for more goes no further than what is in use
    /// and what is kept; and what is kept is given back in the end.
    @Test func looksGoNoFurtherThanNeeded() throws {
        let before = SimulatedDisk(size: 8 << 20), clock = Clock(), ended = try Self.pool(on: before, clock, warmSegments: 4)
        let volume = try ended.createVolume("v", size: 0, attributes: .plain)
        try ended.write(volume, at: 0, [UInt8](repeating: 1, count: 1 << 20), growing: true)
        try ended.checkpoint()
        try ended.delete(volume)
        try ended.finishReaping()
        try ended.checkpoint()
        func recovered() throws -> (disk: SimulatedDisk, pool: Pool) {
            let disk = SimulatedDisk(image: before.image)
            disk.limitStorage(8 << 20, written: ended.geometry.dataOffset)
            return (disk, try Self.open(disk, clock, warmSegments: 4))
        }
        func rest(_ pool: Pool) throws {
            for _ in 0..<20 where pool.hasMaintenance {
                clock.advance(milliseconds: 5000)
                while try pool.maintain() {}
            }
        }
        let (disk, pool) = try recovered()
        #expect(try pool.layout().segmentsToLookAt > 490)
        try rest(pool)
        let looked = try pool.layout().segmentsToLookAt, punched = pool.statistics().punchedBytes
        #expect(looked < 250 && punched > 7 << 20, "\(looked) segments, \(punched) bytes")
        let left = ended.geometry.dataOffset + 100 << 10
        try pool.close()
        #expect(disk.storage?.allocated ?? 0 < left)
        // What the host would not take once is looked for again.
        var refusals = 0
        for calls in 1..<60 {
            let (disk, pool) = try recovered()
            disk.fail(after: calls, .error(5))
            guard (try? rest(pool)) == nil, !pool.statistics().isSuspended else { continue }
            refusals += 1
            disk.stopFailing()
            try rest(pool)
            try pool.close()
            let stored = disk.storage?.allocated ?? 0
            #expect(stored < left, "\(stored) bytes of storage are left where call \(calls) failed")
        }
        #expect(refusals > 10)
    }

    /// Freed blocks that wait for a checkpoint cause one long before it is due by time.
    @Test func muchThatWaitsToBeFreeCausesACheckpoint() throws {
        let disk = SimulatedDisk(size: 2 << 20)
        try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
        var configuration = Pool.Configuration.tiny
        configuration.checkpointInterval = .max
        configuration.dirtySize = 1 << 20
        configuration.quarantineSize = 20 << 10
        let pool = try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: 2))
        let volume = try pool.createVolume("v", size: 0, attributes: .plain)
        let contents = [UInt8](repeating: 7, count: 24 << 10)
        try pool.write(volume, at: 0, contents, growing: true)
        let before = pool.statistics().checkpoints
        try pool.maintain()
        #expect(pool.statistics().checkpoints == before, "nothing was freed yet")
        try pool.write(volume, at: 0, contents.map { $0 + 1 })
        try pool.maintain()
        #expect(pool.statistics().checkpoints == before + 1)
    }
}
