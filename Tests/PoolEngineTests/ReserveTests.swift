internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Reserved ranges: writes there are never refused, and nobody else can take their space.
@Suite struct ReserveTests {
    private static let size = 2 << 20
    private static let reserved = 300 * 1024

    private func makePool() throws -> (pool: Pool, disk: SimulatedDisk, volume: UInt64, other: UInt64) {
        let disk = SimulatedDisk(size: Self.size)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 600_000, attributes: .plain)
        let other = try pool.createVolume("other", size: 8 << 20, attributes: .plain)
        return (pool, disk, volume, other)
    }

    private func data(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
    }

    /// Writes to a volume until the pool refuses, large pieces first. Returns the bytes that went in.
    private func fill(_ pool: Pool, _ volume: UInt64, seed: UInt64) throws -> Int {
        var at = 0
        for piece in [16_384, 4096, 1024] {
            while at + piece <= 8 << 20 {
                do throws(PoolError) {
                    try pool.write(volume, at: UInt64(at), data(piece, seed &+ UInt64(at)))
                    at += piece
                } catch .outOfSpace { break }
            }
        }
        return at
    }

    /// The pool is filled to the last block by others, with snapshots, properties and deletions too; every byte of the reserved
    /// range can still be written, and overwritten again and again, in pieces of up to four leaves.
    @Test(arguments: 0..<6) func fullPoolKeepsItsPromise(seed: UInt64) throws {
        let (pool, disk, volume, other) = try makePool()
        var random = SeededRandom(seed: seed)
        if seed % 2 == 1 { try pool.write(volume, at: 50_000, data(100_000, 1)) }
        try pool.reserve(volume, at: 0, count: UInt64(Self.reserved))
        if seed % 3 == 2 { try pool.createSnapshot("s", of: volume) }
        #expect(try fill(pool, other, seed: seed) > 100_000)
        for number in 0..<20 {
            do throws(PoolError) {
                try pool.createSnapshot("o\(number)", of: other)
                try pool.setProperty(other, "user.p\(number)", data(400, 7))
            } catch .outOfSpace { break }
        }
        _ = try fill(pool, other, seed: seed &+ 9)
        var expected = [UInt8](repeating: 0, count: Self.reserved)
        expected = try pool.read(volume, at: 0, count: Self.reserved)
        for round in 0..<3 {
            var at = 0
            while at < Self.reserved {
                let count = min(Self.reserved - at, 1 + random.below(60_000))
                let bytes = data(count, seed &* 31 &+ UInt64(at &+ round))
                try pool.write(volume, at: UInt64(at), bytes)
                expected.replaceSubrange(at..<at + count, with: bytes)
                at += count
                if random.oneIn(4) { _ = try pool.maintain() }
                if random.oneIn(4) { _ = try? pool.write(other, at: UInt64(random.below(8 << 20) & ~1023), data(1024, 3)) }
            }
        }
        #expect(try pool.read(volume, at: 0, count: Self.reserved) == expected)
        #expect(try pool.check(readingData: true).isClean)
        let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try again.read(volume, at: 0, count: Self.reserved) == expected)
        #expect(try again.info(volume).reserved == UInt64(Self.reserved))
        #expect(throws: PoolError.self) { try fill(again, again.createVolume("third", size: 8 << 20, attributes: .plain), seed: 1) > 0 ? () : { throw PoolError.held }() }
    }

    /// What cannot be promised is refused, and has changed nothing; what a snapshot would need again, too.
    @Test func refusedPromiseChangesNothing() throws {
        let (pool, _, volume, other) = try makePool()
        #expect(throws: PoolError.self) { try pool.reserve(volume, at: 0, count: UInt64(Self.size)) }
        #expect(try pool.info(volume).reserved == 0)
        try pool.reserve(volume, at: 0, count: UInt64(Self.reserved))
        try pool.write(volume, at: 0, data(Self.reserved, 5))
        _ = try fill(pool, other, seed: 2)
        #expect(throws: PoolError.self) { try pool.createSnapshot("s", of: volume) }
        #expect(throws: PoolError.self) { try pool.createClone("c", of: volume, attributes: .plain) }
        #expect(throws: PoolError.self) { try pool.createSnapshots("g", of: [volume, other]) }
        #expect(pool.snapshots(of: volume).isEmpty && pool.snapshots(of: other).isEmpty)
        try pool.delete(other)
        try pool.finishReaping()
        try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 0, data(Self.reserved, 6))
    }

    /// Reserving what the volume has already needs next to nothing, and discarding takes nothing away from the promise.
    @Test func ownBlocksNeedNoPromise() throws {
        let (pool, _, volume, other) = try makePool()
        try pool.write(volume, at: 0, data(Self.reserved, 5))
        let left = try fill(pool, other, seed: 2)
        #expect(throws: PoolError.self) { try pool.reserve(volume, at: 0, count: UInt64(Self.reserved)) }
        try pool.discard(other, at: UInt64(left - 200_000), count: 200_000)
        try pool.checkpoint()
        try pool.checkpoint()
        try pool.reserve(volume, at: 0, count: UInt64(Self.reserved))
        try pool.discard(volume, at: 0, count: UInt64(Self.reserved))
        _ = try fill(pool, other, seed: 4)
        try pool.write(volume, at: 0, data(60_000, 8))
        try pool.write(volume, at: 200_000, data(60_000, 8))
    }

    /// All of a promise comes back: by taking it back, by a smaller size, by deleting the volume, and, of a deleted snapshot, by a
    /// count.
    @Test func promisesComeBack() throws {
        let (pool, _, volume, _) = try makePool()
        try pool.finishReaping()
        let available = pool.usage().available
        try pool.reserve(volume, at: 0, count: UInt64(Self.reserved))
        let reserved = pool.usage().available
        #expect(reserved + UInt64(Self.reserved) <= available)
        try pool.unreserve(volume, at: 0, count: UInt64(Self.reserved))
        for _ in 0..<4 { while try pool.maintain() {}; try pool.checkpoint() }
        #expect(try pool.info(volume).reserved == 0)
        #expect(pool.usage().available >= available - 16 * 1024)
        try pool.reserve(volume, at: 0, count: UInt64(Self.reserved))
        try pool.resize(volume, to: 50_000)
        #expect(try pool.info(volume).reserved == 50_176)
        try pool.reserve(volume, at: 0, count: UInt64(Self.reserved))
        try pool.write(volume, at: 0, data(50_000, 3))
        let before = pool.usage()
        let snapshot = try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 0, data(50_000, 4))
        try pool.delete(snapshot)
        for _ in 0..<4 { while try pool.maintain() {}; try pool.checkpoint() }
        let after = pool.usage()
        #expect(after.available >= before.available - 16 * 1024)
        #expect(throws: PoolError.notPermitted) { try pool.setProperty(volume, "volfs.reserved", [1]) }
        try pool.delete(volume)
        try pool.finishReaping()
        try pool.checkpoint()
        #expect(pool.usage().available >= available - 16 * 1024)
    }
}
