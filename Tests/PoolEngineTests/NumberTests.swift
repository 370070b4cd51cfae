internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Pools that have used up the numbers that their format has for versions.
@Suite struct NumberTests {
    private static let lastGeneration: UInt64 = 4_294_967_287, lastID: UInt64 = 1 << 48

    /// A pool of three volumes, a with a snapshot, which has `left` numbers left of one kind.
    private func makePool(left: UInt64, ofIDs: Bool) throws -> (SimulatedDisk, Pool) {
        let disk = SimulatedDisk(size: 640 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        for name in ["a", "b", "c"] { try pool.write(pool.createVolume(name, size: 8192, attributes: .plain), at: 0, [1, 2, 3]) }
        try pool.createSnapshot("s", of: pool.find("a"))
        var lines: [String] = []
        try pool.dump { lines.append($0) }
        try pool.close()
        let field = ofIDs ? "next_id" : "next_generation", value = ofIDs ? Self.lastID - 1 - left : Self.lastGeneration - left
        let text = lines.map { line -> Substring in
            guard line.hasPrefix("pool ") else { return line[...] }
            return line.split(separator: " ").map { $0.hasPrefix("\(field)=") ? "\(field)=\(value)" : "\($0)" }.joined(separator: " ")[...]
        }
        try Pool.restore(disk, from: text, configuration: .tiny, environment: .simulated(seed: 9))
        return (disk, try Pool.openTiny(disk))
    }

    /// With any few numbers left: what needs more is refused whole, the rest is done and outlives a crash, and with none left the pool
    /// still takes writes, other names and deletions.
    @Test(arguments: [false, true], 0..<5 as Range<UInt64>)
    func lastNumbers(ofIDs: Bool, left: UInt64) throws {
        let refusal = PoolError.refused(.noNumbersLeft)
        #expect(refusal.errno == 28)
        for kind in 0..<6 {
            let (disk, pool) = try makePool(left: left, ofIDs: ofIDs)
            let a = try pool.find("a"), b = try pool.find("b"), c = try pool.find("c"), s = try pool.find(snapshot: "s", of: a)
            let (needed, make): (UInt64, () throws -> Void) = switch kind {
            case 0: (1, { try pool.createVolume("new", size: 8192, attributes: .plain) })
            case 1: (3, { try pool.createSnapshots("all", of: [a, b, c]) })
            case 2: (2, { try pool.createClone("new", of: a, attributes: .plain) })
            case 3: (2, { try pool.rollback(a, to: s, keptAs: "kept") })
            case 4: (1, { try pool.createClone("new", of: s, attributes: .plain) })
            default: (1, { try pool.rollback(a, to: s) })
            }
            if needed <= left { try make() } else { #expect(throws: refusal) { try make() } }
            let count = pool.volumes().count + pool.volumes().reduce(0) { $0 + pool.snapshots(of: $1.id).count }
            #expect(count == 4 + (needed > left || kind == 5 ? 0 : kind == 1 ? 3 : 1))
            while (try? pool.createVolume("fill", size: 0, attributes: .plain)) != nil { try pool.delete(pool.find("fill")) }
            #expect(throws: refusal) { try pool.createSnapshot("t", of: b) }
            try pool.write(b, at: 4096, [4, 5, 6])
            try pool.rename(c, to: "renamed")
            try pool.resize(b, to: 16_384)
            try pool.delete(s)
            try pool.flush()
            let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
            #expect(try again.read(b, at: 4096, count: 3) == [4, 5, 6] && again.find("renamed") == c && again.info(b).size == 16_384)
            #expect(throws: PoolError.notFound) { try again.info(s) }
            #expect(throws: refusal) { try again.createSnapshot("t", of: b) }
            try again.finishReaping()
            #expect(try again.check(readingData: true).isClean)
        }
    }
}
