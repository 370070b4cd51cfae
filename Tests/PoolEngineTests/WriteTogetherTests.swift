internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Several writes that are asked for at once.
@Suite struct WriteTogetherTests {
    private func data(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
    }

    /// Writes each piece of `contents` to its place, all at once.
    private func write(_ pool: Pool, _ volume: UInt64, _ places: [Range<Int>], of contents: [UInt8]) throws -> [PoolError?] {
        let outcomes = contents.withUnsafeBytes { bytes in
            pool.write(volume, places.map { WritePiece(of: bytes.part($0), at: UInt64($0.lowerBound)) })
        }
        try pool.settleWrites()
        return outcomes
    }

    /// Whole blocks and parts of blocks, short and long, of data and of zeros, in any order: each is there afterwards, and after the
    /// process has ended, and nothing else has changed.
    @Test(arguments: 0..<12) func eachIsMade(seed: UInt64) throws {
        let disk = SimulatedDisk(size: 1 << 20), size = 200_000
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        var model = [UInt8](repeating: 0, count: size), random = SeededRandom(seed: seed)
        for round in 0..<30 as Range<UInt64> {
            var places: [Range<Int>] = [], contents = [UInt8](repeating: 0, count: size), at = 0
            while places.count < 40 {
                at += random.oneIn(2) ? random.below(12_000) : 1024
                if !random.oneIn(4) { at = (at + 1023) / 1024 * 1024 }
                let count = random.oneIn(3) ? 1 + random.below(30_000) : 1024 * (1 + random.below(4))
                if at + count > size { break }
                places.append(at..<at + count)
                if !random.oneIn(8) { contents.replaceSubrange(at..<at + count, with: data(count, seed &* 999 &+ round &* 77 &+ UInt64(at))) }
                at += count
            }
            places.shuffle(using: &random)
            #expect(try write(pool, volume, places, of: contents).allSatisfy { $0 == nil })
            for place in places { model.replaceSubrange(place, with: contents[place]) }
            #expect(try pool.contents(volume) == model)
        }
        #expect(disk.jointWriteCount > 0)
        let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try again.contents(volume) == model)
    }

    /// Blocks that lie apart in the volume go to the device with one call, and the journal with another.
    @Test func blocksThatLieApartAreOneWrite() throws {
        let disk = SimulatedDisk(size: 1 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 200 * 1024, attributes: .plain)
        try pool.checkpoint()
        let places = (0..<10).map { $0 * 19_456..<$0 * 19_456 + 1024 }
        let contents = data(200 * 1024, 5)
        #expect(try write(pool, volume, places, of: contents).allSatisfy { $0 == nil })
        #expect(disk.jointWriteCount == 1)
        for place in places { #expect(try pool.read(volume, at: UInt64(place.lowerBound), count: 1024) == Array(contents[place])) }
    }

    /// One that cannot be made takes none of the others with it.
    @Test func refusalsAreEachTheirOwn() throws {
        let disk = SimulatedDisk(size: 1 << 20), size = 100 * 1024
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        let contents = data(size + 2048, 5)
        let outcomes = try write(pool, volume, [0..<1024, size..<size + 1024, 5120..<6144, size - 1024..<size + 1024], of: contents)
        #expect(outcomes[0] == nil && outcomes[2] == nil)
        #expect(outcomes[1] == .outOfRange(offset: UInt64(size), count: 1024, size: UInt64(size)))
        #expect(outcomes[3] == .outOfRange(offset: UInt64(size - 1024), count: 2048, size: UInt64(size)))
        #expect(try pool.read(volume, at: 0, count: 1024) == Array(contents[..<1024]))
        #expect(try pool.read(volume, at: UInt64(size - 1024), count: 1024) == [UInt8](repeating: 0, count: 1024))
        let snapshot = try pool.createSnapshot("s", of: volume)
        #expect(try write(pool, snapshot, [0..<1024, 2048..<3072], of: contents) == [.readOnly, .readOnly])
    }

    /// Where the one call for all fails, each has one of its own; no space is lost.
    @Test func failedCallIsMadeUpFor() throws {
        let disk = SimulatedDisk(size: 1 << 20), size = 100 * 1024
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        let places = (0..<8).map { $0 * 4096..<$0 * 4096 + 1024 }
        var model = data(size, 3)
        try pool.write(volume, at: 0, model)
        try pool.checkpoint()
        let free = pool.usage().available, contents = data(size, 9)
        disk.fail(after: 3)
        #expect(try write(pool, volume, places, of: contents).allSatisfy { $0 == nil })
        for place in places { model.replaceSubrange(place, with: contents[place]) }
        #expect(try pool.contents(volume) == model)
        try pool.checkpoint()
        #expect(pool.usage().available == free)
        // One that fails alone as well has failed, and has changed nothing.
        let before = try pool.contents(volume)
        disk.fail(after: 1)
        #expect(try write(pool, volume, [1000..<3000], of: contents) == [.system(.pwrite, errno: 5)])
        #expect(try pool.contents(volume) == before)
    }

    /// On a full pool each is made wholly or not at all, and what was refused may be asked for again once there is room.
    @Test(arguments: 0..<4) func fullPoolTakesEachOrNone(seed: UInt64) throws {
        let disk = SimulatedDisk(size: 512 * 1024), size = 2 << 20
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: UInt64(size), attributes: .plain)
        var random = SeededRandom(seed: seed), model = [UInt8](repeating: 0, count: size), refused = 0
        for round in 0..<120 as Range<UInt64> {
            let contents = data(size, seed &+ round &* 13)
            let places = (0..<10).map { index in
                let at = (index * 200 + random.below(190)) * 1024
                return at..<at + 1024 * (1 + random.below(5))
            }
            for (place, outcome) in zip(places, try write(pool, volume, places, of: contents)) {
                if let outcome {
                    guard case .outOfSpace = outcome else { throw outcome }
                    refused += 1
                } else {
                    model.replaceSubrange(place, with: contents[place])
                }
            }
        }
        #expect(refused > 0)
        #expect(try pool.contents(volume) == model)
        try pool.discard(volume, at: 0, count: UInt64(size))
        let contents = data(size, 1), places = (0..<10).map { $0 * 8192..<$0 * 8192 + 1024 }
        #expect(try write(pool, volume, places, of: contents).allSatisfy { $0 == nil })
    }

    /// The room in the journal is enough also where somebody else flushes between any two of them, each of which then begins a frame:
    /// the ring is as full as a writer leaves it, and each write first reads a leaf.
    @Test func roomIsEnoughForFlushesBetweenThem() throws {
        var geometry = Geometry.tiny
        geometry.journalFrames = 40
        let disk = SimulatedDisk(size: 2 << 20), leaf = geometry.fanout * geometry.blockSize, size = 18 * leaf
        try Pool.format(disk, geometry: geometry, environment: .simulated(seed: 1))
        var configuration = Pool.Configuration.tiny
        configuration.dirtySize = 1 << 20
        let first = try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: 2))
        let volume = try first.createVolume("v", size: UInt64(size), attributes: .plain)
        try first.write(volume, at: 0, data(size, 1))
        try first.close()
        for used in 10..<36 {
            let copy = SimulatedDisk(image: disk.image)
            let pool = try Pool(opening: copy, configuration: configuration, environment: .simulated(seed: 3))
            while pool.statistics().journalUsedFrames < used {
                try pool.write(volume, at: UInt64(17 * leaf), data(1024, UInt64(used)))
                try pool.flush()
            }
            // What is read and written of the volume is behind the journal.
            let start = geometry.dataOffset
            copy.setHook { offset in if offset >= start { try? pool.flush() } }
            let contents = data(size, 4), places = (0..<16).map { $0 * leaf..<$0 * leaf + 1024 }
            #expect(try write(pool, volume, places, of: contents).allSatisfy { $0 == nil }, "\(used) frames")
            copy.setHook(nil)
            for place in places { #expect(try pool.read(volume, at: UInt64(place.lowerBound), count: 1024) == Array(contents[place])) }
        }
    }

    /// More of them than the journal holds beside what is in it are made all the same.
    @Test(arguments: 0..<20) func journalIsNeverTooFull(used: Int) throws {
        let disk = SimulatedDisk(size: 1 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 200 * 1024, attributes: .plain)
        try pool.checkpoint()
        while pool.statistics().journalUsedFrames < used {
            try pool.write(volume, at: 0, data(1024, 9))
            try pool.flush()
        }
        let contents = data(200 * 1024, 3)
        #expect(try write(pool, volume, (0..<40).map { $0 * 2048..<$0 * 2048 + 1024 }, of: contents).allSatisfy { $0 == nil })
    }
}
