internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Metadata as text, and back.
@Suite struct DumpTests {
    /// A pool with everything in it: levels, shared nodes, a half freed version, holes, zeros, a lost block.
    private func makePool() throws -> SimulatedDisk {
        let disk = SimulatedDisk(size: 1 << 20)
        try Pool.format(disk, geometry: .tinyZones, environment: .simulated(seed: 1))
        let pool = try Pool.openTiny(disk)
        let volume = try pool.createVolume("v", size: 400_000, attributes: Attributes(mode: 0o640, uid: 5, gid: 6))
        for step in 0..<20 { try pool.write(volume, at: UInt64(step * 19_000), [UInt8](repeating: UInt8(step + 1), count: 5000)) }
        let old = try pool.createSnapshot("old", of: volume)
        try pool.write(volume, at: 100_000, [UInt8](repeating: 77, count: 60_000))
        let snapshot = try pool.createSnapshot("s", of: volume)
        _ = try pool.createClone("c", of: snapshot, attributes: .plain)
        try pool.discard(volume, at: 30_000, count: 90_000)
        try pool.delete(old)
        try pool.checkpoint()
        _ = try pool.reap(budget: 3)
        try pool.createVolume("empty", size: 0, attributes: .plain)
        try pool.close()
        return disk
    }

    private func lines(_ pool: Pool) throws -> [String] {
        var lines: [String] = []
        try pool.dump { lines.append($0) }
        return lines
    }

    /// The metadata is destroyed, all of it; from the dump comes a pool with the same contents, and the same dump but for
    /// where nodes are.
    @Test func restoredPoolIsTheSame() throws {
        let disk = try makePool()
        let pool = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly)
        let text = try lines(pool)
        let layout = try pool.layout()
        var image = disk.image
        let keep = Set(layout.dataBlocks)
        for position in stride(from: 0, to: image.count, by: 1024) where !keep.contains(UInt64(position)) {
            for index in position..<position + 1024 { image[index] = 0x5a }
        }
        let broken = SimulatedDisk(image: image)
        #expect(throws: PoolError.self) { try Pool.openTiny(broken) }
        try Pool.restore(broken, from: text.map { $0[...] }, configuration: .tiny, environment: .simulated(seed: 9))
        let again = try Pool.openTiny(broken)
        for object in pool.volumes() + pool.snapshots(of: try pool.find("v")) {
            #expect(try again.contents(object.id) == pool.contents(object.id), "\(object.fullName)")
            var (now, before) = (try again.info(object.id), object)
            (now.origin, before.origin) = (nil, nil)
            #expect(now == before)
        }
        #expect(try again.check(readingData: true).isClean)
        try again.finishReaping()
        #expect(try again.check(readingData: true).isClean)
    }

    /// A block that cannot be read does not keep the others from telling whose data it is; on another pool's they do not tell it.
    @Test func unreadableBlocksArePassed() throws {
        let disk = try makePool()
        let text = try lines(try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly)).map { $0[...] }
        let target = SimulatedDisk(image: disk.image), other = SimulatedDisk(size: disk.image.count)
        for device in [target, other] { device.misread(after: 1, .error(5)) }
        try Pool.restore(target, from: text, configuration: .tiny, environment: .simulated(seed: 9), needsData: true)
        #expect(try Pool.openTiny(target).check(readingData: true).isClean)
        #expect(throws: PoolError.refused(.dataIsElsewhere)) {
            try Pool.restore(other, from: text, configuration: .tiny, environment: .simulated(seed: 9), needsData: true)
        }
    }

    /// Each line in turn left out, or with one word changed: refused with its line or restored to something sound, never a
    /// trap; what is refused has written nothing.
    @Test func wrongLinesAreNamed() throws {
        let disk = try makePool()
        let text = try lines(try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly))
        var refused = 0
        for index in text.indices {
            for change in 0..<3 {
                var wrong = text
                switch change {
                case 0: wrong.remove(at: index)
                case 1: wrong[index] += "9"
                default: wrong[index] = wrong[index].replacing("=", with: " ").replacing("node", with: "data")
                }
                let target = SimulatedDisk(image: disk.image)
                do {
                    try Pool.restore(target, from: wrong.map { $0[...] }, configuration: .tiny, environment: .simulated(seed: 9))
                    let pool = try Pool.openTiny(target)
                    _ = try pool.check()
                } catch PoolError.malformed(let line) {
                    refused += 1
                    #expect(line > 0 && line <= text.count + 1)
                    #expect(target.image == disk.image, "line \(index): refused after writing")
                } catch {}
            }
        }
        #expect(refused > text.count)
    }

    /// What the pool had been on may be larger now, not smaller, and nothing is written then.
    @Test func smallerDevicesAreRefused() throws {
        let disk = try makePool()
        let text = try lines(try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly)).map { $0[...] }
        let size = UInt64(disk.image.count), small = SimulatedDisk(size: disk.image.count - 4096), large = SimulatedDisk(image: disk.image + [UInt8](repeating: 0, count: 4096))
        #expect(throws: PoolError.truncated(size: size - 4096, expected: size)) {
            try Pool.restore(small, from: text, configuration: .tiny, environment: .simulated(seed: 9))
        }
        #expect(small.image.allSatisfy { $0 == 0 })
        try Pool.restore(large, from: text, configuration: .tiny, environment: .simulated(seed: 9))
        #expect(try Pool.openTiny(large).check(readingData: true).isClean)
    }

    /// A pool that was killed is dumped with what only its journal has; one opened for reading refuses.
    @Test func killedPoolIsDumpedWhole() throws {
        let disk = try makePool()
        let pool = try Pool.openTiny(disk)
        let volume = try pool.find("v")
        try pool.write(volume, at: 0, [UInt8](repeating: 42, count: 200_000))
        let fresh = try pool.createVolume("fresh", size: 90_000, attributes: .plain)
        try pool.write(fresh, at: 5000, [UInt8](repeating: 43, count: 60_000))
        try pool.flush()
        let killed = disk.image
        let reader = try Pool.openTiny(SimulatedDisk(image: killed), mode: .readOnly)
        #expect(throws: PoolError.readOnly) { try reader.dump { _ in } }
        let copy = SimulatedDisk(image: killed)
        let text = try lines(try Pool.openTiny(copy))
        try Pool.restore(copy, from: text.map { $0[...] }, configuration: .tiny, environment: .simulated(seed: 9))
        let again = try Pool.openTiny(copy)
        #expect(try again.contents(volume) == pool.contents(volume))
        #expect(try again.contents(fresh) == pool.contents(fresh))
        #expect(try again.check(readingData: true).isClean)
    }
}
