internal import BlockStorage
internal import LinuxIO
internal import PoolEngine
internal import Synchronization
internal import TestSupport
import Testing

/// Scrubbing and checking a pool that is used.
@Suite(.timeLimit(.minutes(5))) struct OnlineTests {
    private static func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

    private static func makePool(_ disk: SimulatedDisk) throws -> Pool {
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 300_000, attributes: .plain)
        for step in 0..<20 { try pool.write(volume, at: UInt64(step * 14_000), bytes(UInt8(step + 1), 6000)) }
        try pool.createSnapshot("s", of: volume)
        try pool.checkpoint()
        return pool
    }

    /// A damaged copy of any node is made whole by a scrub, and check is content afterwards.
    @Test func scrubHealsCopies() throws {
        let disk = SimulatedDisk(size: 900 * 1024)
        let pool = try Self.makePool(disk)
        let layout = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).layout()
        let pairs = layout.interiorNodes + layout.catalogLeaves + layout.catalogNodes
        for (index, pair) in pairs.enumerated() { disk.damage(at: Int(index % 2 == 0 ? pair.node : pair.copy) + 300, [1, 2, 3, 4, 5]) }
        let places = [layout.superblocks[1], layout.zoneHeaders[0]]
        for place in places { disk.damage(at: Int(place) + 40, [1, 2, 3, 4, 5]) }
        let problems = try pool.checkWhileUsed().problems
        #expect(problems.contains(.superblockCopy(position: places[0])) && problems.contains(.zoneHeader(position: places[1])), "\(problems)")
        let report = try pool.scrub(JobControl())
        #expect(report.isClean && report.healedCopies == pairs.count + 2 && pairs.count > 3, "\(report)")
        #expect(try pool.check(readingData: true).isClean)
        let again = try pool.scrub(JobControl())
        #expect(again.healedCopies == 0 && again.checkedBlocks == report.checkedBlocks)
    }

    /// Damaged data and leaves are reported with the volume and its bytes.
    @Test func scrubReportsWhatIsLost() throws {
        let disk = SimulatedDisk(size: 900 * 1024)
        var pool = try Self.makePool(disk)
        try pool.close()
        let layout = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).layout()
        disk.damage(at: Int(layout.dataBlocks[5]), [0xff])
        disk.damage(at: Int(layout.leaves[2]) + 300, [1, 2, 3, 4, 5])
        pool = try Pool.openTiny(disk)
        let report = try pool.scrub(JobControl())
        let objects = Set(report.problems.map(\.object))
        #expect(objects == ["v"] || objects == ["v", "v@s"], "\(report)")
        for problem in report.problems where problem.object == "v" {
            #expect(throws: PoolError.self) { try pool.read(pool.find("v"), at: problem.offset, count: 1024) }
        }
        #expect(report.problems.filter { $0.object == "v" }.count == 2, "\(report)")
    }

    /// Check and scrub find nothing wrong while four threads write, discard, snapshot, clone and delete.
    @Test func checkAndScrubWhileUsed() throws {
        let disk = SimulatedDisk(size: 4 << 20)
        let pool = try Self.makePool(disk)
        for number in 0..<4 { try pool.createVolume("w\(number)", size: 200_000, attributes: .plain) }
        let isDone = Mutex(false)
        let failures = Mutex<[String]>([])
        var threads: [JoinedThread] = []
        for number in 0..<4 {
            threads.append(JoinedThread {
                var random = SeededRandom(seed: UInt64(number))
                do {
                    let volume = try pool.find("w\(number)")
                    while !isDone.withLock({ $0 }) {
                        do {
                            try pool.write(volume, at: UInt64(random.below(190_000)), Self.bytes(UInt8(random.below(255) + 1), 1 + random.below(9000)))
                            if random.oneIn(5) { try pool.discard(volume, at: UInt64(random.below(190_000)), count: 20_000) }
                            if random.oneIn(9) { try pool.createSnapshot("s\(random.next())", of: volume) }
                            if random.oneIn(6), let old = pool.snapshots(of: volume).first { try pool.delete(old.id) }
                            if random.oneIn(20) { try pool.delete(pool.createClone("c\(random.next())", of: volume, attributes: .plain)) }
                        } catch PoolError.outOfSpace {}
                        if number == 0 { _ = try pool.maintain() }
                    }
                } catch {
                    failures.withLock { $0.append("writer \(number): \(error)") }
                }
            })
        }
        var checks = 0, scrubs = 0
        for _ in 0..<100 {
            do {
                let report = try pool.checkWhileUsed(readingData: true)
                #expect(report.isClean, "\(report)")
                checks += 1
            } catch PoolError.outOfSpace {}
            let report = try pool.scrub(JobControl())
            #expect(report.isClean && report.healedCopies == 0, "\(report)")
            scrubs += 1
        }
        isDone.withLock { $0 = true }
        for thread in threads { thread.join() }
        #expect(failures.withLock { $0 } == [])
        #expect(checks > 0 && scrubs == 100)
        try pool.finishReaping()
        #expect(try pool.check(readingData: true).isClean)
    }

    /// A full pool makes its device larger, as far as there is room, before it refuses a write; what was written is all there.
    @Test(arguments: [0, 500, 2000], [true, false]) func fullPoolGrowsByItself(kibibytes: UInt64, isMadeSo: Bool) throws {
        var geometry = Geometry.tiny
        geometry.segmentBlocks = 64
        let disk = SimulatedDisk(size: 600 * 1024)
        try Pool.format(disk, geometry: geometry, autogrow: isMadeSo ? 200 * 1024 : 7, environment: .simulated(seed: 3))
        var configuration = Pool.Configuration.tiny
        if !isMadeSo { configuration.autogrow = 200 * 1024 }
        var pool = try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: 4))
        disk.setRoom(kibibytes * 1024)
        let volume = try pool.createVolume("v", size: 4 << 20, attributes: .plain)
        try pool.checkpoint()
        var written = 0
        while true {
            do {
                try pool.write(volume, at: UInt64(written * 4096), Self.bytes(UInt8(written % 255 + 1), 4096))
            } catch PoolError.outOfSpace {
                break
            }
            written += 1
        }
        let size = try disk.size, gained = size - 600 * 1024
        #expect(gained <= kibibytes * 1024 && gained + 192 * 1024 > kibibytes * 1024)
        #expect(UInt64(written) * 4096 > gained / 2 + 100 * 1024)
        // As after a kill.
        pool = try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: 5))
        for index in 0..<written { #expect(try pool.read(volume, at: UInt64(index * 4096), count: 4096) == Self.bytes(UInt8(index % 255 + 1), 4096)) }
        #expect(try pool.check(readingData: true).isClean)
    }

    /// While a pool is opened it tells how far its recovery is.
    @Test func recoveryTellsItsProgress() throws {
        let disk = SimulatedDisk(size: 900 * 1024)
        let pool = try Self.makePool(disk)
        let volume = try pool.find("v")
        for step in 0..<10 { try pool.write(volume, at: UInt64(step * 9000), Self.bytes(9, 100)) }
        let heard = Mutex<[[Int]]>([])
        var environment = Pool.Environment.simulated(seed: 9)
        environment.recovering = { done, total in heard.withLock { $0.append([done, total]) } }
        _ = try Pool(opening: SimulatedDisk(image: disk.image), configuration: .tiny, environment: environment)
        #expect(heard.withLock { $0 } == (0..<10).map { [$0, 10] })
    }

    /// A cancelled scrub ends at once.
    @Test func cancelledScrubStops() throws {
        let pool = try Self.makePool(SimulatedDisk(size: 900 * 1024))
        let control = JobControl()
        control.cancel()
        #expect(throws: PoolError.cancelled) { try pool.scrub(control) }
        #expect(throws: PoolError.cancelled) { try pool.checkWhileUsed(control: control) }
        // What it pinned is free again.
        #expect(try pool.checkWhileUsed().isClean)
    }
}

/// A thread that an array can hold.
private final class JoinedThread {
    private var thread: JoinableThread?
    init(_ body: @escaping @Sendable () -> Void) { thread = try? JoinableThread(body) }
    func join() { thread.take()?.join() }
}
