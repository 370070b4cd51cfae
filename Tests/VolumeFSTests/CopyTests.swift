internal import BlockStorage
internal import PoolEngine
internal import TestSupport
internal import VolumeFS
import Testing

/// Copies of ranges between volumes, as copy_file_range(2) asks for them.
@Suite struct CopyTests {
    private let root = Caller(process: 1, uid: 0, gid: 0)
    private let block = 1024

    private func files(_ disk: SimulatedDisk = SimulatedDisk(size: 1 << 20)) throws -> VolumeFileSystem {
        VolumeFileSystem(pool: try Pool.makeTiny(on: disk), options: .init(now: { 5_000_000_000 }, pause: { _ in }))
    }

    private func make(_ files: VolumeFileSystem, _ name: String, _ bytes: [UInt8]) throws -> UInt64 {
        let id = try files.pool.createVolume(name, size: 0, attributes: .plain)
        try files.pool.write(id, at: 0, bytes, growing: true)
        return id
    }

    private func noise(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) | 1 }
    }

    /// Data, a hole inside a leaf, a hole of more than a leaf, and a part of a block at the end.
    private var source: [UInt8] {
        var bytes = noise(70_000, 3)
        for range in [3 * block..<5 * block, 20 * block + 100..<45 * block + 7, 60 * block..<61 * block] {
            bytes.replaceSubrange(range, with: repeatElement(0, count: range.count))
        }
        return bytes
    }

    /// Copies again and again, as a tool does, until nothing comes.
    private func copyAll(
        _ files: VolumeFileSystem, from: UInt64, at offset: Int, to: UInt64, at target: Int, count: Int
    ) throws -> Int {
        var done = 0
        while done < count {
            let step = try files.copy(
                from: .file(from), at: UInt64(offset + done), to: .file(to), at: UInt64(target + done), count: UInt64(count - done))
            if step == 0 { break }
            done += Int(step)
        }
        return done
    }

    private func copied(_ source: [UInt8], _ offset: Int, over old: [UInt8], _ target: Int, _ count: Int) -> [UInt8] {
        let part = source[min(offset, source.count)..<min(offset + count, source.count)]
        var new = old
        if part.isEmpty { return new }
        new += repeatElement(0, count: max(0, target + part.count - new.count))
        new.replaceSubrange(target..<target + part.count, with: part)
        return new
    }

    /// However the ranges lie within blocks, and whatever was there: the bytes are those of an array, and what is hole in the
    /// source is hole in the copy.
    @Test(arguments: [0, 1, 513, 1023])
    func everyAlignment(head: Int) throws {
        let files = try files(), pool = files.pool, bytes = source
        let from = try make(files, "source", bytes)
        try pool.checkpoint()
        let start = pool.usage().allocated
        for shift in [0, 1, 512, 1023] {
            for (first, count) in [(0, 1), (2, 511), (2, 1024), (2, 3000), (0, 5 * 1024), (14, 20_000), (19, 40_000), (0, 100_000), (68, 9000)] {
                for old in [[], noise(300, 5), noise(30_000, 6), noise(90_000, 7)] {
                    let offset = first * block + head, target = (first + 3) * block + (head + shift) % block
                    let to = try make(files, "copy", old)
                    let done = try copyAll(files, from: from, at: offset, to: to, at: target, count: count)
                    let expected = copied(bytes, offset, over: old, target, count)
                    #expect(done == max(0, min(count, bytes.count - offset)))
                    #expect(try pool.contents(to) == expected, "head \(head), shift \(shift), block \(first), count \(count), over \(old.count)")
                    for index in target / block + 1..<max(target / block + 1, (target + done) / block) {
                        let isZero = expected[index * block..<(index + 1) * block].allSatisfy { $0 == 0 }
                        #expect(try pool.extent(to, at: UInt64(index * block))?.isData == !isZero, "block \(index)")
                    }
                    try pool.delete(to)
                    try pool.finishReaping()
                }
            }
        }
        #expect(try pool.contents(from) == bytes)
        #expect(try pool.check(readingData: true).isClean)
        try pool.checkpoint()
        #expect(pool.usage().allocated == start)
        try pool.delete(from)
        try pool.finishReaping()
        #expect(pool.usage().allocated == 0)
    }

    /// Within one volume, both ways; ranges that overlap are refused.
    @Test func withinOneVolume() throws {
        let files = try files(), bytes = source
        let id = try make(files, "v", bytes)
        var model = bytes
        for (offset, target, count) in [(0, 80_000, 30_000), (50_001, 7, 20_001), (1024, 40_960, 10_240), (512, 100_000, 512)] {
            _ = try copyAll(files, from: id, at: offset, to: id, at: target, count: count)
            model = copied(model, offset, over: model, target, count)
            #expect(try files.pool.contents(id) == model)
        }
        for (offset, target, count) in [(0, 1024, 2048), (1024, 0, 2048), (7, 7, 1), (0, 999, 1000)] {
            #expect(throws: PoolError.invalid(.value)) {
                try files.copy(from: .file(id), at: UInt64(offset), to: .file(id), at: UInt64(target), count: UInt64(count))
            }
        }
        #expect(try files.pool.contents(id) == model)
    }

    /// Blocks that lie alike are shared: a copy takes room for its map, and both go their own ways afterwards.
    @Test func wholeBlocksAreShared() throws {
        let files = try files(), pool = files.pool, bytes = source
        let from = try make(files, "source", bytes)
        try pool.checkpoint()
        let before = pool.usage().allocated
        let to = try pool.createVolume("copy", size: 0, attributes: .plain)
        #expect(try files.copy(from: .file(from), at: 0, to: .file(to), at: 0, count: .max) == UInt64(bytes.count))
        try pool.checkpoint()
        let grown = pool.usage().allocated - before, statistics = pool.statistics()
        #expect(grown < 30 * 1024, "\(grown)")
        #expect(statistics.sharedBytes == (try pool.info(from).referenced) && statistics.shareTableSize > 0)
        try pool.write(from, at: 1000, noise(3000, 8))
        try pool.write(to, at: 30_000, noise(3000, 9))
        #expect(try pool.contents(from) == copied(noise(3000, 8), 0, over: bytes, 1000, 3000))
        #expect(try pool.contents(to) == copied(noise(3000, 9), 0, over: bytes, 30_000, 3000))
        try pool.delete(from)
        try pool.finishReaping()
        #expect(try pool.contents(to) == copied(noise(3000, 9), 0, over: bytes, 30_000, 3000))
        try pool.delete(to)
        try pool.finishReaping()
        #expect(pool.usage().allocated == 0 && pool.statistics().shareTableSize == 0)
    }

    /// What forbids a write forbids a copy, before it does anything, or ends it.
    @Test func limitsOfTheDestination() throws {
        let files = try files(), pool = files.pool, bytes = source
        let from = try make(files, "source", bytes)
        let snapshot = try pool.createSnapshot("s", of: from)
        let to = try make(files, "copy", noise(2000, 4))
        func copy(_ offset: UInt64 = 0, _ target: UInt64 = 0, _ count: UInt64 = 60_000) throws -> UInt64 {
            try files.copy(from: .file(snapshot), at: offset, to: .file(to), at: target, count: count)
        }
        #expect(throws: PoolError.readOnly) { try files.copy(from: .file(from), at: 0, to: .file(snapshot), at: 0, count: 1) }
        #expect(throws: PoolError.notSupported) { try files.copy(from: .statistics, at: 0, to: .file(to), at: 0, count: 1) }
        #expect(throws: PoolError.notSupported) { try files.copy(from: .file(from), at: 0, to: .poolSize, at: 0, count: 1) }
        #expect(try copy(70_000) == 0 && copy(.max) == 0 && copy(0, 0, 0) == 0)
        let most = pool.geometry.maximumVolumeSize
        #expect(throws: PoolError.tooLarge(size: most + 1, limit: most)) { try copy(0, most - 4, 5) }
        #expect(throws: PoolError.tooLarge(size: .max, limit: most)) { try copy(0, .max, 5) }
        try files.setAttribute(.file(to), "user.volfs.fixed", Array("on".utf8))
        #expect(throws: PoolError.refused(.fixed(size: 2000))) { try copy() }
        #expect(try pool.contents(to) == noise(2000, 4))
        #expect(try copy(1000, 1000, 1000) == 1000)
        try files.setAttribute(.file(to), "user.volfs.fixed", nil)
        try files.setAttribute(.file(to), "user.volfs.readonly", Array("on".utf8))
        #expect(throws: PoolError.refused(.volumeIsReadOnly)) { try copy() }
        try files.setAttribute(.file(to), "user.volfs.readonly", nil)

        // Of a quota of 30 blocks: as much as fits, then a refusal; holes and what is mapped already are free.
        try files.setAttribute(.file(to), "user.volfs.quota", Array("30720".utf8))
        var done: UInt64 = 0
        #expect(throws: PoolError.refused(.quota(limit: 30_720))) { while true { done += try copy(done, done, 60_000 - done) } }
        #expect(done >= 16_384 && done < 60_000 && done % 16_384 == 0)
        #expect(try pool.info(to).referenced <= 30_720)
        #expect(try pool.read(to, at: 0, count: Int(done)) == Array(bytes[..<Int(done)]))
        #expect(try copy(0, 0, 8192) == 8192)
        #expect(try copy(21 * 1024, 300_000, 20 * 1024) == 20 * 1024)
        #expect(try copy(513, 0, 5000) == 5000)
        #expect(throws: PoolError.refused(.quota(limit: 30_720))) { while true { done += try copy(513, done, 30_000) } }
        #expect(try pool.info(to).referenced <= 30_720)
    }

    /// A cancelled copy tells what it has done, and no more than that was done; with nothing done it is an error.
    @Test(arguments: [0, 512]) func cancelledBetweenSteps(shift: Int) throws {
        let bytes = noise(3 << 20, 1), disk = SimulatedDisk(size: 32 << 20)
        try Pool.format(disk, geometry: .standard(size: 32 << 20), environment: .simulated(seed: 1))
        let files = VolumeFileSystem(
            pool: try Pool(opening: disk, environment: .simulated(seed: 2)), options: .init(now: { 0 }, pause: { _ in }))
        let from = try make(files, "source", bytes), to = try files.pool.createVolume("copy", size: 0, attributes: .plain)
        #expect(throws: PoolError.cancelled) {
            try files.copy(from: .file(from), at: UInt64(shift), to: .file(to), at: 0, count: 3 << 20, isCancelled: { true })
        }
        #expect(try files.pool.size(to).bytes == 0)
        var questions = 0
        let done = try files.copy(from: .file(from), at: UInt64(shift), to: .file(to), at: 0, count: 3 << 20) {
            questions += 1
            return questions > 2
        }
        // What lies alike is one step; else a step is a mebibyte.
        #expect(done == (shift == 0 ? 3 << 20 : 2 << 20))
        #expect(try files.pool.contents(to) == Array(bytes[shift..<shift + Int(done)]))
    }

    /// Through a handle that was opened for it a copy is durable when it returns; through another it may be lost.
    @Test(arguments: [true, false]) func durableWhereAsked(isSynchronous: Bool) throws {
        let disk = SimulatedDisk(size: 1 << 20), files = try files(disk), bytes = source
        let from = try make(files, "source", bytes)
        let to = try files.pool.createVolume("copy", size: 0, attributes: .plain)
        try files.pool.checkpoint()
        let file = try files.open(.file(to), OpenRequest(writes: true, truncates: false, isSynchronous: isSynchronous), by: root)
        _ = try files.copy(from: .file(from), at: 0, to: .file(to), handle: file.handle, at: 0, count: 70_000)
        let again = try Pool.openTiny(SimulatedDisk(image: disk.durableImage))
        #expect(try again.contents(again.find("copy")) == (isSynchronous ? bytes : []))
    }
}
