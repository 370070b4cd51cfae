internal import BlockStorage
internal import Foundation
internal import PoolEngine
internal import TestSupport
import Testing

/// The format on disk, and that pools of every format there was can be opened.
@Suite struct FormatTests {
    private static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")

    private static func fixture(_ version: String) throws -> [UInt8] {
        let text = try String(contentsOf: directory.appendingPathComponent("format-\(version).txt"), encoding: .utf8)
        return try #require(FixtureImage.decode(text))
    }

    /// The pool that every fixture holds: a volume with a write across blocks, a snapshot, a clone, a discard.
    private static func makePool(on disk: SimulatedDisk) throws {
        let pool = try Pool.makeTiny(on: disk, seed: 42)
        let volume = try pool.createVolume("root", size: 50_000, attributes: .plain)
        try pool.write(volume, at: 777, [UInt8](repeating: 9, count: 20_000))
        let snapshot = try pool.createSnapshot("v1", of: volume)
        _ = try pool.createClone("vm1", of: snapshot, attributes: .plain)
        try pool.discard(volume, at: 4096, count: 8192)
        try pool.close()
    }

    /// A seeded pool's image must not change from one build to the next. If it does, the format has changed, and needs a
    /// new version and a fixture of its own; or the same things are put in other places or with
    /// other times, and the image before is kept beside the new one. WRITE_FIXTURE=1 writes it.
    @Test func formatIsStable() throws {
        let disk = SimulatedDisk(size: 200 * 1024)
        try Self.makePool(on: disk)
        if ProcessInfo.processInfo.environment["WRITE_FIXTURE"] == "1" {
            let file = Self.directory.appendingPathComponent("format-\(Superblock.version).txt")
            try FixtureImage.encode(disk.image).write(to: file, atomically: true, encoding: .utf8)
        }
        let expected = try Self.fixture("\(Superblock.version)")
        let first = zip(disk.image, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        #expect(first == nil, "the first byte that differs")
    }

    /// Where a write noted the time of the bytes only, that of the change is taken over from it; else it stays as it was.
    @Test func timesOfBeforeAreTakenOver() throws {
        let disk = SimulatedDisk(image: try Self.fixture("3-one-time"))
        var lines: [String] = []
        // One clock for both openings, which is past all that the pool has.
        let environment = Pool.Environment.simulated(seed: 2)
        for _ in 0..<1000 { _ = environment.now() }
        let old = try Pool(opening: disk, configuration: .tiny, environment: environment)
        let root = try old.info(old.find("root")), clone = try old.info(old.find("vm1"))
        #expect(root.changed == root.modified && root.changed > root.created, "\(root.changed), created \(root.created)")
        #expect(clone.changed == clone.created)
        try old.createVolume("other", size: 4096, attributes: .plain)
        try old.dump { lines.append($0) }
        #expect(lines.contains { $0.hasPrefix("version ") && $0.contains(" modified=\(root.modified) changed=\(root.modified) ") && $0.hasSuffix(" name=root") })
        try old.close()
        let new = try Pool(opening: disk, configuration: .tiny, environment: environment)
        #expect(try new.info(new.find("root")).changed == root.changed)
        #expect(try new.info(new.find("vm1")).changed == clone.changed)
    }

    /// Pools of all earlier formats open with their contents, and are of the newest format after the first checkpoint.
    @Test(arguments: ["1", "2", "3-earlier", "3-one-time", "3"]) func opensEveryFormat(version: String) throws {
        var root = [UInt8](repeating: 0, count: 50_000)
        root.replaceSubrange(777..<20_777, with: [UInt8](repeating: 9, count: 20_000))
        let disk = SimulatedDisk(image: try Self.fixture(version))
        let pool = try Pool.openTiny(disk)
        let volume = try pool.find("root")
        #expect(try pool.contents(pool.find("root", snapshot: "v1")) == root)
        #expect(try pool.contents(pool.find("vm1")) == root)
        root.replaceSubrange(4096..<12_288, with: [UInt8](repeating: 0, count: 8192))
        #expect(try pool.contents(volume) == root)
        #expect(try pool.check(readingData: true).isClean)
        try pool.write(volume, at: 30_000, [UInt8](repeating: 4, count: 9000))
        root.replaceSubrange(30_000..<39_000, with: [UInt8](repeating: 4, count: 9000))
        try pool.close()
        let again = try Pool.openTiny(SimulatedDisk(image: disk.image))
        #expect(try again.contents(volume) == root)
        #expect(try again.check(readingData: true).isClean)
    }
}
