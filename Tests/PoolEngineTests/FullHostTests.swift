internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// A pool on a sparse file whose host has no room left.
@Suite struct FullHostTests {
    private static func bytes(_ value: Int, _ count: Int) -> [UInt8] { [UInt8](repeating: UInt8(value % 250 + 1), count: count) }

    /// Writes to random places until the host is full. Whatever was written before is there, also after the end of the process
    /// and in a pool that is opened on the full host; nothing is suspended; what is deleted makes room, again and again.
    @Test(arguments: 0..<20) func nothingIsLostAndDeletingHelps(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let disk = SimulatedDisk(size: 4 << 20)
        var pool = try Pool.makeTiny(on: disk)
        try pool.close()
        disk.limitStorage((600 + Int(random.next() % 600)) * 1024, written: pool.geometry.dataOffset)
        pool = try Pool.openTiny(disk)
        var contents: [String: [Int: Int]] = [:], refusals = 0
        for round in 0..<6 {
            let name = "v\(round)"
            do {
                let volume = try pool.createVolume(name, size: 3 << 20, attributes: .plain)
                contents[name] = [:]
                for step in 0..<4000 {
                    let block = Int(random.next() % 3072)
                    try pool.write(volume, at: UInt64(block * 1024), Self.bytes(step, 1024))
                    contents[name]?[block] = step
                    if random.next() % 64 == 0 { try pool.maintain() }
                    if random.next() % 200 == 0 { _ = try pool.createSnapshot("s\(step)", of: volume) }
                }
            } catch {
                guard error.isHostFull else { throw error }
                refusals += 1
            }
            #expect(!pool.statistics().isSuspended)
            #expect((contents[name]?.count ?? 0) > 20, "nothing had room in round \(round)")
            // As after a kill, and after a close.
            if round % 2 == 0 { try pool.close() }
            pool = try Pool.openTiny(disk, seed: 7 + seed)
            for (name, blocks) in contents {
                let volume = try pool.find(name)
                for (block, step) in blocks {
                    #expect(try pool.read(volume, at: UInt64(block * 1024), count: 1024) == Self.bytes(step, 1024), "\(name) block \(block)")
                }
            }
            guard let victim = contents.keys.sorted().first else { continue }
            let volume = try pool.find(victim)
            for snapshot in pool.snapshots(of: volume) { try pool.delete(snapshot.id) }
            try pool.delete(volume)
            contents[victim] = nil
        }
        #expect(refusals > 1)
        #expect(try pool.check(readingData: true).isClean)
    }

    /// What a writer can still have is what the host can give, not what the pool could have.
    @Test func availableIsWhatTheHostHas() throws {
        let disk = SimulatedDisk(size: 4 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let free = pool.usage().available
        disk.limitStorage(100 * 1024, written: pool.geometry.dataOffset)
        let limited = pool.usage().available
        #expect(limited < free && limited <= 160 * 1024 && limited >= 100 * 1024, "\(limited) of \(free)")
    }
}
