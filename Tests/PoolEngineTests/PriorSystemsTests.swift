internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Cases that the tests of earlier systems have: power failures of SPDK's blobstore (SPDK-PF1 to -PF5), and of a pool in
/// another language (POOL-02, POOL-10 to -15).
@Suite struct PriorSystemsTests {
    private static func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

    /// Runs `change` on copies of a pool whose device fails its n-th call, for n = 1, 2, … until it succeeds, and judges what
    /// loss of power leaves each time: `isDone` tells that the change was acknowledged.
    private func withPowerFailures(
        _ prepare: (Pool) throws -> Void, _ change: (Pool) throws -> Void, judge: (Pool, _ isDone: Bool) throws -> Void
    ) throws -> Int {
        var calls = 1
        while true {
            let disk = SimulatedDisk(size: 400 * 1024)
            let pool = try Pool.makeTiny(on: disk)
            try prepare(pool)
            disk.fail(after: calls)
            let isDone = (try? change(pool)) != nil
            // What the cache has and what the disk has.
            for image in [disk.image, disk.durableImage] {
                let again = try Pool.openTiny(SimulatedDisk(image: image))
                #expect(try again.check(readingData: true).isClean, "call \(calls)")
                try judge(again, isDone)
            }
            if isDone { return calls }
            calls += 1
        }
    }

    /// SPDK-PF1: a snapshot cut off at any write is there whole, or not at all; the volume has its blocks either way.
    @Test func spdkPF1SnapshotCreation() throws {
        var states: Set<Bool> = []
        let calls = try withPowerFailures { pool in
            let volume = try pool.createVolume("v", size: 10_240, attributes: .plain)
            try pool.write(volume, at: 0, Self.bytes(1, 10_240))
            try pool.flush()
        } _: { pool in
            try pool.createSnapshot("s", of: try pool.find("v"))
            try pool.checkpoint()
        } judge: { pool, isDone in
            let volume = try pool.find("v")
            #expect(try pool.contents(volume) == Self.bytes(1, 10_240))
            let snapshots = pool.snapshots(of: volume)
            states.insert(!snapshots.isEmpty)
            if isDone { #expect(snapshots.count == 1) }
            for snapshot in snapshots { #expect(try pool.contents(snapshot.id) == Self.bytes(1, 10_240)) }
        }
        #expect(calls > 5 && states == [true, false])
    }

    /// SPDK-PF2: a snapshot with a clone, deleted and cut off at any write, is there whole, or gone and the clone has it all.
    @Test func spdkPF2SnapshotDeletion() throws {
        var states: Set<Bool> = []
        let calls = try withPowerFailures { pool in
            let volume = try pool.createVolume("v", size: 10_240, attributes: .plain)
            try pool.write(volume, at: 0, Self.bytes(1, 10_240))
            let snapshot = try pool.createSnapshot("s", of: volume)
            _ = try pool.createClone("c", of: snapshot, attributes: .plain)
            try pool.write(volume, at: 0, Self.bytes(2, 4096))
        } _: { pool in
            try pool.delete(try pool.find("v", snapshot: "s"))
            try pool.finishReaping()
        } judge: { pool, isDone in
            #expect(try pool.contents(pool.find("c")) == Self.bytes(1, 10_240))
            let snapshots = pool.snapshots(of: try pool.find("v"))
            states.insert(snapshots.isEmpty)
            if isDone { #expect(snapshots.isEmpty) }
            for snapshot in snapshots { #expect(try pool.contents(snapshot.id) == Self.bytes(1, 10_240)) }
        }
        #expect(calls > 5 && states == [true, false])
    }

    /// SPDK-PF3: closing fails at any write: the next opening recovers, and has the same contents.
    @Test func spdkPF3CleanFlag() throws {
        let calls = try withPowerFailures { pool in
            let volume = try pool.createVolume("v", size: 20_000, attributes: .plain)
            try pool.write(volume, at: 5, Self.bytes(3, 9000))
            try pool.flush()
        } _: { pool in
            try pool.close()
        } judge: { pool, _ in
            let found = try pool.read(pool.find("v"), at: 5, count: 9000)
            #expect(found == Self.bytes(3, 9000))
        }
        #expect(calls > 5)
    }

    /// SPDK-PF4: loss of power right after each administrative call: what it did is there, and no block is lost.
    @Test func spdkPF4UncleanShutdown() throws {
        let disk = SimulatedDisk(size: 400 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        func afterPowerLoss() throws -> Pool {
            let again = try Pool.openTiny(SimulatedDisk(image: disk.durableImage))
            #expect(try again.check().isClean)
            return again
        }
        let volume = try pool.createVolume("v", size: 5000, attributes: .plain)
        #expect(try afterPowerLoss().info(volume).size == 5000)
        try pool.setAttributes(volume, Attributes(mode: 0o600, uid: 7, gid: 8))
        #expect(try afterPowerLoss().info(volume).attributes == Attributes(mode: 0o600, uid: 7, gid: 8))
        try pool.resize(volume, to: 90_000)
        #expect(try afterPowerLoss().info(volume).size == 90_000)
        try pool.write(volume, at: 0, Self.bytes(1, 50_000))
        // Not flushed: absent.
        #expect(try afterPowerLoss().read(volume, at: 0, count: 50_000) == Self.bytes(0, 50_000))
        try pool.delete(volume)
        let empty = try afterPowerLoss()
        #expect(empty.volumes().isEmpty)
        try empty.finishReaping()
        #expect(empty.usage().allocated == 0)
    }

    /// SPDK-PF5: the catalog grows by a level, cut off at any write: all of the old or all of the new, never a mix.
    @Test func spdkPF5MetadataGrowth() throws {
        let calls = try withPowerFailures { pool in
            for number in 0..<14 { try pool.createVolume("v\(number)", size: 3000, attributes: .plain) }
            try pool.checkpoint()
        } _: { pool in
            for number in 14..<20 { try pool.createVolume("v\(number)", size: 3000, attributes: .plain) }
            try pool.checkpoint()
        } judge: { pool, isDone in
            let names = Set(pool.volumes().map(\.name))
            #expect(names == Set((0..<names.count).map { "v\($0)" }) && names.count >= (isDone ? 20 : 14))
        }
        #expect(calls > 20)
    }

    /// POOL-02: a volume is overwritten under its snapshot until the pool is full; the snapshot stays, also after reopening.
    @Test func pool02FullUnderSnapshot() throws {
        let disk = SimulatedDisk(size: 160 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 65_536, attributes: .plain)
        try pool.write(volume, at: 0, Self.bytes(0xa, 2048))
        let snapshot = try pool.createSnapshot("s", of: volume)
        var isFull = false
        for block in 0..<64 where !isFull {
            do { try pool.write(volume, at: UInt64(block * 1024), Self.bytes(0xb, 1024)) } catch PoolError.outOfSpace { isFull = true }
        }
        #expect(isFull)
        #expect(try pool.read(snapshot, at: 0, count: 2048) == Self.bytes(0xa, 2048))
        try pool.close()
        let again = try Pool.openTiny(disk)
        #expect(try again.read(again.find("v", snapshot: "s"), at: 0, count: 2048) == Self.bytes(0xa, 2048))
        #expect(try again.check(readingData: true).isClean)
    }

    /// POOL-10: a device that fails while a pool is made: the error comes back, and the device can be used again.
    @Test func pool10FormatFails() throws {
        var calls = 1
        while true {
            let disk = SimulatedDisk(size: 200 * 1024)
            disk.fail(after: calls, .error(28))
            do {
                try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
                break
            } catch {
                #expect(error.errno == 28)
                if let pool = try? Pool.openTiny(SimulatedDisk(image: disk.image)) { #expect(pool.volumes().isEmpty) }
                _ = try Pool.makeTiny(on: disk)
            }
            calls += 1
        }
        #expect(calls > 4)
    }

    /// POOL-11: any read that fails while a pool is opened is an error that says so.
    @Test func pool11OpeningReadFails() throws {
        let disk = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        try pool.createVolume("v", size: 5000, attributes: .plain)
        try pool.close()
        let copy = SimulatedDisk(image: disk.image)
        _ = try Pool.openTiny(copy, mode: .readOnly)
        for read in 1...copy.readCount {
            let failing = SimulatedDisk(image: disk.image)
            failing.misread(after: read, .error(5))
            // A catalog node is read from its copy then: that is no failure.
            do { _ = try Pool.openTiny(failing, mode: .readOnly) } catch { #expect(error == .system(.pread, errno: 5), "read \(read)") }
        }
    }

    private func forged(_ change: (UnsafeMutableRawBufferPointer) -> Void) throws -> SimulatedDisk {
        let disk = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        try pool.createVolume("v", size: 5000, attributes: .plain)
        try pool.close()
        let layout = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).layout()
        var image = disk.image
        image.withUnsafeMutableBytes { bytes in
            // All superblocks, so that none before the newest is left.
            for slot in 0..<8 {
                let block = bytes.part(slot * 1024..<(slot + 1) * 1024)
                if layout.superblocks.contains(UInt64(slot * 1024)) { change(block) } else { block.clear() }
            }
        }
        return SimulatedDisk(image: image)
    }

    /// POOL-12: another magic, another version.
    @Test func pool12ForeignHeader() throws {
        let foreign = try forged { $0.store(UInt32(0x4c4f_5651), at: 0) }
        // Another program's header on what is a pool behind it; and on what is none.
        #expect(throws: PoolError.corrupt(.superblock, position: 0, .missing)) { try Pool.openTiny(foreign) }
        var header = [UInt8](repeating: 0, count: 64 * 1024)
        header.replaceSubrange(0..<4, with: [0x51, 0x56, 0x4f, 0x4c])
        #expect(throws: PoolError.notAPool) { try Pool.openTiny(SimulatedDisk(image: header)) }
        let newer = try forged {
            $0.store(UInt32(99), at: 8)
            FormatDecoder.superblock.seal($0)
        }
        #expect(throws: PoolError.unsupportedFormat(version: 99, features: 0)) { try Pool.openTiny(newer) }
    }

    /// POOL-13 and -14: the catalog's root past the end of the device, and where there are zeros.
    @Test(arguments: [1 << 30, 16 + 150] as [UInt64]) func pool13And14RootElsewhere(address: UInt64) throws {
        let disk = try forged {
            $0.store(address, at: 136)
            FormatDecoder.superblock.seal($0)
        }
        do {
            _ = try Pool.openTiny(disk)
            Issue.record("opened")
        } catch {
            guard case .corrupt = error else { Issue.record("\(error)"); return }
        }
    }

    /// POOL-15: a count of blocks that is one too high.
    @Test func pool15WrongCount() throws {
        let disk = try forged {
            $0.store($0.integer(at: 240, as: UInt64.self) + 1, at: 240)
            FormatDecoder.superblock.seal($0)
        }
        do {
            _ = try Pool.openTiny(disk)
            Issue.record("opened")
        } catch {
            guard case .corrupt(.bitmap, _, .accounting) = error else { Issue.record("\(error)"); return }
        }
    }
}
