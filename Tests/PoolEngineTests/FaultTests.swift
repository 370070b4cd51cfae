internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Devices that fail, and images that are damaged.
@Suite struct FaultTests {
    private static func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

    /// A short history; returns how many steps were acknowledged as durable before the failure.
    private func history(_ pool: Pool) -> Int {
        var done = 0
        do {
            let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
            done = 1
            for step in 2...6 {
                try pool.write(volume, at: UInt64(step * 5000), Self.bytes(UInt8(step), 6000))
                try pool.flush(volume)
                done = step
                if step == 4 { try pool.createSnapshot("s", of: volume) }
                if step == 5 { try pool.checkpoint() }
            }
        } catch {}
        return done
    }

    /// The n-th call to the device fails, for every n until the history succeeds: what was acknowledged is there when the
    /// pool is opened again, and the failed pool accepts nothing it cannot keep.
    @Test(arguments: [.error(5), .error(28), .shortWrite, .lostFlush] as [SimulatedDisk.Fault])
    func everyDeviceCallFailing(fault: SimulatedDisk.Fault) throws {
        let whole = SimulatedDisk(size: 400 * 1024)
        let begin = try Pool.makeTiny(on: whole)
        let before = whole.operationCount
        #expect(history(begin) == 6)
        let count = whole.operationCount - before
        #expect(count > 30)
        for calls in 1...count {
            let disk = SimulatedDisk(size: 400 * 1024)
            let pool = try Pool.makeTiny(on: disk)
            disk.fail(after: calls, fault)
            let done = history(pool)
            disk.stopFailing()
            // Opened again on the same disk, whose cache may show what a failed flush has lost.
            let again = try Pool.openTiny(disk)
            #expect(try again.check(readingData: true).isClean, "call \(calls)")
            if done >= 1 {
                let volume = try again.find("v")
                for step in 2..<max(2, done + 1) {
                    #expect(try again.read(volume, at: UInt64(step * 5000), count: 5000) == Self.bytes(UInt8(step), 5000), "call \(calls), step \(step)")
                }
            }
        }
    }

    /// A flush fails and loses what it should have stored, as the kernel does; its pages still read as if it had. The pool
    /// opened again has what was durable, and not what the cache shows.
    @Test func lostFlushIsNotBelieved() throws {
        let disk = SimulatedDisk(size: 400 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        try pool.write(volume, at: 0, Self.bytes(1, 4096))
        try pool.flush(volume)
        try pool.write(volume, at: 0, Self.bytes(2, 4096))
        disk.fail(after: 1, .lostFlush)
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try pool.flush(volume) }
        #expect(disk.image != disk.durableImage)
        let again = try Pool.openTiny(disk)
        #expect(disk.image == disk.durableImage)
        #expect(try again.read(again.find("v"), at: 0, count: 4096) == Self.bytes(1, 4096))
    }

    /// Every read in turn returns something wrong: other bytes, old bytes, a flipped bit, an error. What comes back is what
    /// was written, or an error.
    @Test(arguments: [.misdirected, .stale, .flippedBit, .error(5)] as [SimulatedDisk.ReadFault])
    func wrongReadIsNeverReturnedAsData(fault: SimulatedDisk.ReadFault) throws {
        let source = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: source)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        for step in 0..<12 { try pool.write(volume, at: UInt64(step * 5000), Self.bytes(UInt8(step + 1), 5000)) }
        let expected = try pool.contents(volume)
        try pool.close()
        var read = 1, errors = 0
        while true {
            // Not flushed yet, so that stale bytes are zeros.
            let disk = SimulatedDisk(current: source.image, durable: [UInt8](repeating: 0, count: 200 * 1024), window: [])
            disk.misread(after: read, fault)
            do {
                let again = try Pool.openTiny(disk, mode: .readOnly)
                #expect(try again.contents(again.find("v")) == expected, "read \(read)")
            } catch { errors += 1 }
            if disk.readCount < read { break }
            read += 1
        }
        #expect(read > 20 && errors > 10, "\(errors) errors in \(read) reads")
    }

    /// After a failed barrier nothing is known: no retry, everything that writes is refused, reads go on.
    @Test func failedFlushSuspendsThePool() throws {
        let disk = SimulatedDisk(size: 400 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        try pool.write(volume, at: 0, Self.bytes(1, 4096))
        // The record is written already, so the next call is the barrier.
        disk.fail(after: 1)
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try pool.flush(volume) }
        #expect(throws: PoolError.suspended) { try pool.flush(volume) }
        #expect(throws: PoolError.suspended) { try pool.write(volume, at: 0, [1]) }
        #expect(throws: PoolError.suspended) { try pool.createSnapshot("s", of: volume) }
        #expect(throws: PoolError.suspended) { try pool.checkpoint() }
        #expect(pool.statistics().isSuspended)
        #expect(try pool.read(volume, at: 0, count: 4096) == Self.bytes(1, 4096))
    }

    /// One damaged byte anywhere in a closed pool: nothing wrong is ever returned as data. Either the pool is refused, or
    /// a read says so, or the byte did not matter.
    @Test func damagedByteIsNeverReturnedAsData() throws {
        let disk = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        for step in 0..<12 { try pool.write(volume, at: UInt64(step * 5000), Self.bytes(UInt8(step + 1), 5000)) }
        try pool.createSnapshot("s", of: volume)
        try pool.close()
        let image = disk.image
        let expected = try pool.contents(volume)
        var refused = 0, unreadable = 0, found = 0
        for position in stride(from: 5, to: image.count, by: 173) {
            var damaged = image
            damaged[position] ^= 0x10
            do {
                let again = try Pool.openTiny(SimulatedDisk(image: damaged), mode: .readOnly)
                if try !again.check(readingData: true).isClean { found += 1 }
                #expect(try again.contents(again.find("v")) == expected, "byte \(position)")
            } catch PoolError.corrupt(.node, _, _), PoolError.corrupt(.data, _, _) {
                unreadable += 1
            } catch {
                refused += 1
            }
        }
        #expect(unreadable > 20 && found >= 0 && refused >= 1, "\(refused) refused, \(unreadable) unreadable, \(found) found")
    }

    /// One bit of any superblock copy, or of all but one: the pool opens as it was closed.
    @Test func oneSuperblockCopyIsEnough() throws {
        let disk = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 6000, attributes: .plain)
        try pool.write(volume, at: 0, Self.bytes(3, 6000))
        try pool.close()
        for ring in 0..<2 {
            var image = disk.image
            for slot in 0..<4 { image[(ring * 4 + slot) * 1024 + 100] ^= 1 }
            let again = try Pool.openTiny(SimulatedDisk(image: image))
            #expect(try again.contents(again.find("v")) == Self.bytes(3, 6000))
        }
    }

    /// If both copies of the newest superblock are lost, the older state is not passed off as the newest.
    @Test func lostSuperblockIsNotFallenBackFrom() throws {
        let disk = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 6000, attributes: .plain)
        try pool.checkpoint()
        let epoch = Int(pool.statistics().epoch)
        try pool.write(volume, at: 0, Self.bytes(3, 6000))
        try pool.flush(volume)
        var image = disk.image
        for ring in 0..<2 { image[(ring * 4 + epoch % 4) * 1024 + 100] ^= 1 }
        #expect(throws: PoolError.self) { try Pool.openTiny(SimulatedDisk(image: image)) }
    }

    /// A damaged frame in the middle of the journal is not taken for its end: later frames prove that more was durable.
    @Test func damagedJournalFrameIsNotTheEnd() throws {
        let disk = SimulatedDisk(size: 200 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        for step in 0..<6 {
            try pool.write(volume, at: UInt64(step * 3000), Self.bytes(UInt8(step + 1), 3000))
            try pool.flush(volume)
        }
        // The journal begins behind two rings of four superblocks; the second epoch's tail is frame 1.
        let intact = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly)
        #expect(try intact.read(intact.find("v"), at: 15_000, count: 3000) == Self.bytes(6, 3000))
        for frame in 2..<6 {
            var image = disk.image
            image[8 * 1024 + frame * 1024 + 200] ^= 1
            #expect(throws: PoolError.self, "frame \(frame)") { try Pool.openTiny(SimulatedDisk(image: image)) }
        }
    }

    /// POOL-11 to -15: what is no pool, or not whole, is refused with the error that says so.
    @Test func refusesWhatIsNoPool() throws {
        #expect(throws: PoolError.notAPool) { try Pool.openTiny(SimulatedDisk(size: 100_000)) }
        let random = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        #expect(throws: PoolError.notAPool) { try Pool.openTiny(SimulatedDisk(image: random)) }
        let disk = SimulatedDisk(size: 200 * 1024)
        try Pool.makeTiny(on: disk).close()
        #expect(throws: PoolError.truncated(size: 102_400, expected: 204_800)) {
            try Pool.openTiny(SimulatedDisk(image: Array(disk.image[..<102_400])))
        }
        #expect(throws: PoolError.invalid(.size)) {
            try Pool.format(SimulatedDisk(size: 20_000), geometry: .tiny, environment: .simulated(seed: 1))
        }
    }
}
