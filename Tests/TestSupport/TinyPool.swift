package import BlockStorage
package import PoolEngine
internal import Synchronization

extension Geometry {
    /// 1 KiB blocks in nodes of 16: three levels, wraps of the rings and a full pool within a few hundred operations.
    package static let tiny = Geometry(
        blockSize: 1024, fanout: 16, segmentBlocks: 16, ringSlots: 4, ringStride: 1024, journalFrames: 24, spaceLogFrames: 4)

    /// As `tiny`, in zones of at most four segments.
    package static var tinyZones: Geometry {
        var geometry = tiny
        geometry.zoneLimit = 4
        return geometry
    }
}

extension Pool.Environment {
    /// A clock that only moves when it is read, and randomness from a seed: the same run every time.
    package static func simulated(seed: UInt64) -> Pool.Environment {
        let clock = Mutex<UInt64>(1_000_000_000)
        let random = Mutex(SeededRandom(seed: seed))
        return Pool.Environment(
            now: {
                clock.withLock {
                    $0 += 1_000_000
                    return $0
                }
            },
            random: { random.withLock { $0.next() } }, pause: {})
    }
}

extension Pool.Configuration {
    /// Few cached nodes, so that most are read again, and checkpoints by size only.
    package static var tiny: Pool.Configuration {
        var configuration = Pool.Configuration()
        configuration.cacheSize = 64 * 1024
        configuration.dirtySize = 64 * 1024
        configuration.checkpointInterval = 100_000_000
        configuration.warmSegments = 0
        return configuration
    }
}

extension Attributes {
    package static let plain = Attributes(mode: 0o644, uid: 0, gid: 0)
}

extension Pool {
    /// Formats `disk` with the tiny geometry and opens it.
    package static func makeTiny(on disk: SimulatedDisk, seed: UInt64 = 1) throws(PoolError) -> Pool {
        try format(disk, geometry: .tiny, environment: .simulated(seed: seed))
        return try openTiny(disk, seed: seed &+ 1)
    }

    package static func openTiny(_ disk: SimulatedDisk, mode: Mode = .readWrite, seed: UInt64 = 2) throws(PoolError) -> Pool {
        try Pool(opening: disk, mode: mode, configuration: .tiny, environment: .simulated(seed: seed))
    }

    package func write(_ object: UInt64, at offset: UInt64, _ bytes: [UInt8], growing: Bool = false) throws(PoolError) {
        var failure: PoolError?
        bytes.withUnsafeBytes { raw in
            do throws(PoolError) { try write(object, at: offset, raw, growing: growing) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    package func read(_ object: UInt64, at offset: UInt64, count: Int) throws(PoolError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: count)
        var failure: PoolError?
        bytes.withUnsafeMutableBytes { raw in
            do throws(PoolError) { try read(object, at: offset, into: raw) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// All of an object's bytes.
    package func contents(_ object: UInt64) throws(PoolError) -> [UInt8] {
        try read(object, at: 0, count: Int(try info(object).size))
    }
}
