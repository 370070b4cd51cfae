internal import BlockStorage
internal import LinuxIO
internal import PoolEngine
internal import Synchronization
internal import TestSupport
import Testing

/// What counting costs, and that it stands being disturbed. That its figures are right is for the simulations to show.
@Suite struct UsageFigureTests {
    private func makePool(size: Int) throws -> (pool: Pool, disk: SimulatedDisk, volume: UInt64) {
        let disk = SimulatedDisk(size: 4 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        for offset in stride(from: 0, to: size, by: 16_384) {
            try pool.write(volume, at: UInt64(offset), [UInt8](repeating: UInt8(offset >> 14 & 127) + 1, count: min(16_384, size - offset)))
        }
        try pool.checkpoint()
        return (pool, disk, volume)
    }

    /// 64 leaves below 4 nodes below a root: the leaves are not read, and of a volume that shares all it has nothing is.
    @Test func readsInteriorNodesOnly() throws {
        let (pool, disk, volume) = try makePool(size: 1 << 20)
        let snapshot = try pool.createSnapshot("s", of: try pool.createClone("c", of: volume, attributes: .plain))
        try pool.close()
        let data: UInt64 = 1 << 20
        let map: UInt64 = data + 64 * 1024 + 5 * 2048
        func expect(_ object: UInt64, _ expected: ObjectUsage, reads: Int) throws {
            let pool = try Pool.openTiny(SimulatedDisk(image: disk.image))
            let before = (pool.device as? SimulatedDisk)?.readCount ?? 0
            #expect(try pool.usage(of: object) == expected)
            #expect(((pool.device as? SimulatedDisk)?.readCount ?? 0) - before == reads)
        }
        try expect(volume, ObjectUsage(used: 0, unique: 0, written: 0), reads: 0)
        try expect(snapshot, ObjectUsage(used: 0, unique: 0, written: 0), reads: 0)
        // Alone, the clone owns everything.
        let again = try Pool.openTiny(disk)
        try again.delete(volume)
        try again.delete(snapshot)
        try again.finishReaping()
        try again.close()
        let clone = try again.find("c")
        try expect(clone, ObjectUsage(used: map, unique: map, written: data), reads: 5)
    }

    /// More clones than the cache has room for the nodes of, each with a root and a leaf of its own.
    @Test func manyClonesAndSmallCache() throws {
        let (pool, _, volume) = try makePool(size: 200 * 1024)
        let snapshot = try pool.createSnapshot("s", of: volume)
        try pool.write(volume, at: 3000, [9])
        for index in 0..<50 {
            let clone = try pool.createClone("c\(index)", of: snapshot, attributes: .plain)
            try pool.write(clone, at: 3000, [UInt8(index + 10)])
            #expect(try pool.usage(of: clone) == ObjectUsage(used: 4096, unique: 4096, written: 1024))
            if index == 0 { #expect(try pool.usage(of: snapshot) == ObjectUsage(used: 4096, unique: 0, written: 200 * 1024)) }
        }
        try pool.checkpoint()
        #expect(try pool.usage(of: snapshot) == ObjectUsage(used: 4096, unique: 0, written: 200 * 1024))
        // One that still has the block, and it is used no more.
        try pool.createClone("last", of: snapshot, attributes: .plain)
        #expect(try pool.usage(of: snapshot).used == 0)
    }

    @Test func canBeCancelledAndRefuses() throws {
        let (pool, _, volume) = try makePool(size: 100 * 1024)
        let control = JobControl()
        control.cancel()
        #expect(throws: PoolError.cancelled) { try pool.usage(of: volume, control: control) }
        try pool.delete(volume)
        #expect(throws: PoolError.notFound) { try pool.usage(of: volume) }
    }

    private final class Shared: Sendable {
        let isDone = Atomic(false)
        let failure = Mutex<PoolError?>(nil)
    }

    /// Another thread writes, makes snapshots, deletes and frees all the while: no count fails but for an object that is gone,
    /// and none is more than the pool has.
    @Test func othersGoOn() throws {
        let (pool, _, volume) = try makePool(size: 400 * 1024)
        let shared = Shared()
        let thread = try JoinableThread {
            var random = SeededRandom(seed: 5)
            do throws(PoolError) {
                for round in 0..<150 {
                    let snapshot = try pool.createSnapshot("s\(round)", of: volume)
                    for _ in 0..<6 { try pool.write(volume, at: UInt64(random.below(380_000)), [UInt8](repeating: UInt8(round), count: 3000)) }
                    _ = try pool.reap(budget: 9)
                    if round % 2 == 0 { try pool.delete(snapshot) } else if round % 5 == 0 { try pool.checkpoint() }
                    if round > 20, round % 2 == 0 { try? pool.delete(pool.find("v", snapshot: "s\(round - 19)")) }
                    try pool.maintain()
                }
            } catch {
                shared.failure.withLock { $0 = error }
            }
            shared.isDone.store(true, ordering: .releasing)
        }
        var counted = 0
        repeat {
            for object in pool.volumes() + pool.snapshots(of: volume) {
                do throws(PoolError) {
                    let usage = try pool.usage(of: object.id)
                    #expect(usage.used <= pool.usage().capacity && usage.unique <= pool.usage().capacity)
                    counted += 1
                } catch {
                    #expect(error == .notFound || error == .inUse)
                }
            }
        } while !shared.isDone.load(ordering: .acquiring)
        thread.join()
        #expect(shared.failure.withLock { $0 } == nil && counted > 10)
    }
}
