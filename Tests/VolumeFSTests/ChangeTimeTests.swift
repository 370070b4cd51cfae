internal import BlockStorage
internal import PoolEngine
internal import Synchronization
internal import TestSupport
internal import VolumeFS
import Testing

/// ctime as backups read it: whatever of a volume changed, its bytes above all, moves it, and nothing sets it back.
@Suite struct ChangeTimeTests {
    private let root = Caller(process: 1, uid: 0, gid: 0)

    /// One clock for the pool and the mount, that moves with each look.
    private final class Clock: Sendable {
        private let time = Atomic<UInt64>(1_000_000_000_000)
        var now: UInt64 { time.wrappingAdd(1000, ordering: .relaxed).newValue }
        func setBack(_ nanoseconds: UInt64) { time.wrappingSubtract(nanoseconds, ordering: .relaxed) }
    }

    private func open(_ disk: SimulatedDisk, _ clock: Clock) throws -> VolumeFileSystem {
        let simulated = Pool.Environment.simulated(seed: 2)
        let environment = Pool.Environment(now: { clock.now }, random: simulated.random, pause: {})
        let pool = try Pool(opening: disk, configuration: .tiny, environment: environment)
        return VolumeFileSystem(pool: pool, options: .init(now: { clock.now }, pause: { _ in }))
    }

    private func touch(_ files: VolumeFileSystem, _ inode: Inode, _ time: UInt64) throws {
        var changes = AttributeChanges()
        changes.modified = time
        _ = try files.setAttributes(inode, changes, hasHandle: false)
    }

    /// Each of them, one after the other, also behind times that touch(1) has set, and after the end of the process.
    @Test func everyChangeMovesIt() throws {
        let disk = SimulatedDisk(size: 640 * 1024), clock = Clock()
        try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
        var files = try open(disk, clock)
        let made = try files.create(.root, "v", mode: 0o644, OpenRequest(writes: true, truncates: false), by: root)
        let volume = made.inode
        files.release(volume, handle: made.file.handle)
        _ = try files.create(.root, "w", mode: 0o644, OpenRequest(writes: true, truncates: false), by: root)
        let other = try files.lookup(.root, "w")
        try [UInt8](repeating: 9, count: 8192).withUnsafeBytes { try files.write(other, at: 0, $0) }
        var fill: UInt8 = 0
        func write() throws {
            fill += 1
            try [UInt8](repeating: fill, count: 8192).withUnsafeBytes { try files.write(volume, at: 0, $0) }
        }
        var before = try files.attributes(volume).changed
        /// Looks at it before and after, which takes time.
        func moves(_ what: String, isData: Bool = true, _ body: () throws -> Void) throws {
            let start = clock.now
            try body()
            let now = try files.attributes(volume), end = clock.now
            #expect(now.changed > before && now.changed > start && now.changed < end, "\(what): \(before), then \(now.changed)")
            if isData { #expect(now.modified > start && now.modified < end, "mtime after \(what)") }
            #expect(try files.attributes(volume).changed == now.changed, "\(what): it moves by itself")
            before = now.changed
        }
        let future: UInt64 = 4_000_000_000_000_000_000
        try moves("a first write") { try write() }
        try moves("a write") { try write() }
        try moves("a hole") { try files.allocate(volume, mode: 3, at: 0, count: 2048) }
        try moves("a copy") { _ = try files.copy(from: other, at: 0, to: volume, at: 0, count: 4096) }
        try moves("a touch into the past", isData: false) { try touch(files, volume, 5) }
        #expect(try files.attributes(volume).modified == 5)
        try moves("a write behind that") { try write() }
        try moves("a touch into the future", isData: false) { try touch(files, volume, future) }
        #expect(try files.attributes(volume).modified == future)
        try moves("a chmod behind that", isData: false) {
            var changes = AttributeChanges()
            changes.mode = 0o600
            _ = try files.setAttributes(volume, changes, hasHandle: false)
        }
        #expect(try files.attributes(volume).modified == future)
        try moves("a write behind that") { try write() }
        try moves("a size") {
            var changes = AttributeChanges()
            changes.size = 100_000
            _ = try files.setAttributes(volume, changes, hasHandle: false)
        }
        // A snapshot's stays.
        _ = try files.makeDirectory(files.lookup(.snapshotDirectories, "v"), "s", by: root)
        let snapshot = try files.lookup(.root, "v@s"), taken = try files.attributes(snapshot)
        try moves("a write beside a snapshot") { try write() }
        #expect(try files.attributes(snapshot).changed == taken.changed && files.attributes(snapshot).modified == taken.modified)
        // What a checkpoint has is there again as it was; what only the journal has must not seem to be older than it is.
        try files.pool.checkpoint()
        files = try open(SimulatedDisk(image: disk.image), clock)
        #expect(try files.attributes(volume).changed == before && files.attributes(snapshot).changed == taken.changed)
        for kind in ["write", "hole", "copy"] {
            let image = SimulatedDisk(image: disk.image)
            files = try open(image, clock)
            before = try files.attributes(volume).changed
            switch kind {
            case "write": try write()
            case "hole": try files.allocate(volume, mode: 3, at: 0, count: 8192)
            default: _ = try files.copy(from: other, at: 0, to: volume, at: 0, count: 8192)
            }
            let last = try files.attributes(volume).changed
            #expect(last > before)
            files = try open(SimulatedDisk(image: image.image), clock)
            #expect(try files.attributes(volume).changed > last, "after the end of the process with a \(kind)")
        }
    }

    /// What only the journal has of a write is not older, after the end of the process and with the clock behind, than the last checkpoint
    /// or the last record that has a time.
    @Test(arguments: [false, true]) func clockThatIsBehindAtRecovery(hasRecord: Bool) throws {
        let disk = SimulatedDisk(size: 640 * 1024), clock = Clock()
        try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
        var files = try open(disk, clock)
        let made = try files.create(.root, "v", mode: 0o644, OpenRequest(writes: true, truncates: false), by: root)
        func write(_ byte: UInt8) throws { try [UInt8](repeating: byte, count: 4096).withUnsafeBytes { try files.write(made.inode, at: 0, $0) } }
        try write(1)
        clock.setBack(0 &- 1_000_000_000)
        let before = clock.now
        try files.pool.checkpoint()
        try write(2)
        let written = try files.attributes(made.inode).changed
        if hasRecord { _ = try files.create(.root, "w", mode: 0o644, OpenRequest(writes: true, truncates: false), by: root) }
        try files.pool.flush()
        clock.setBack(500_000_000_000)
        files = try open(SimulatedDisk(image: disk.image), clock)
        let now = try files.attributes(made.inode)
        #expect(now.changed > (hasRecord ? written : before) && now.modified > (hasRecord ? written : before), "\(now), before \(before), written \(written)")
    }

    /// A clock that is set back sets none of them back, and hides no change of the bytes.
    @Test func clockSetBackHidesNothing() throws {
        let disk = SimulatedDisk(size: 640 * 1024), clock = Clock()
        try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
        var files = try open(disk, clock)
        for name in ["v", "w"] {
            let made = try files.create(.root, name, mode: 0o644, OpenRequest(writes: true, truncates: false), by: root)
            try [UInt8](repeating: 9, count: 8192).withUnsafeBytes { try files.write(made.inode, at: 0, $0) }
            files.release(made.inode, handle: made.file.handle)
        }
        let volume = try files.lookup(.root, "v"), other = try files.lookup(.root, "w")
        func change(_ body: (inout AttributeChanges) -> Void) throws {
            var changes = AttributeChanges()
            body(&changes)
            _ = try files.setAttributes(volume, changes, hasHandle: false)
        }
        _ = try files.makeDirectory(files.lookup(.snapshotDirectories, "v"), "s", by: root)
        var fill: UInt8 = 9
        let steps: [(String, () throws -> Void)] = [
            ("a write", {
                fill += 1
                try [UInt8](repeating: fill, count: 8192).withUnsafeBytes { try files.write(volume, at: 0, $0) }
            }),
            ("a hole", { try files.allocate(volume, mode: 3, at: 0, count: 2048) }),
            ("a copy", { _ = try files.copy(from: other, at: 0, to: volume, at: 0, count: 4096) }),
            ("a touch", { try touch(files, volume, 5) }),
            ("a chmod", { try change { $0.mode = 0o600 } }),
            ("a size", { try change { $0.size = 100_000 } }),
            ("a property", { try files.setAttribute(volume, "user.volfs.comment", Array("\(fill)".utf8)) }),
            ("a rename", { try files.rename(.root, "v", to: .root, "x", by: root) }),
            ("a rollback", { try files.pool.rollback(files.pool.find("x"), to: files.pool.find("x", snapshot: "s")) }),
        ]
        for (what, step) in steps {
            let before = try files.attributes(volume).changed
            clock.setBack(3_600_000_000)
            #expect(try files.attributes(volume).changed == before, "the clock alone changes nothing")
            try step()
            let after = try files.attributes(volume).changed
            #expect(after > before, "\(what): \(before), then \(after)")
            try files.pool.checkpoint()
            files = try open(SimulatedDisk(image: disk.image), clock)
            #expect(try files.attributes(volume).changed == after, "\(what), after the end of the process")
            files = try open(disk, clock)
        }
    }
}
