internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import NBD
internal import NBDProtocol
internal import Synchronization
internal import TestSupport
import Testing

/// The client against our own server, whole and behind a proxy that fails.
@Suite struct ClientTests {
    @Test(arguments: ReplyStyle.allCases, DeviceConformance.allCases) func conforms(best: ReplyStyle, check: DeviceConformance) throws {
        let fixture = try ClientFixture()
        let client = try fixture.client(best: best)
        #expect(client.style == best)
        try check.check(client)
    }

    /// NBD-21: whichever byte of what the server says is the last one, the caller has what it asked for, by way of another
    /// connection, and the disk has durably what was flushed.
    @Test(arguments: ReplyStyle.allCases) func nbd21CutAtEveryByteIsMended(best: ReplyStyle) throws {
        let fixture = try ClientFixture(size: 65_536)
        func conversation() throws -> Bool {
            let client = try fixture.client(best: best)
            try client.put([UInt8](repeating: 5, count: 512), 1024)
            try client.discard(at: 8192, count: 4096)
            try client.flush()
            return try client.bytes(1000, 600) == [UInt8](repeating: 0, count: 24) + [UInt8](repeating: 5, count: 512) + [UInt8](repeating: 0, count: 64)
        }
        #expect(try conversation())
        let length = fixture.proxy.passed
        var connected = 0
        for byte in 0..<length {
            fixture.proxy.cut(after: byte)
            do {
                let isRight = try conversation()
                connected += 1
                #expect(isRight, "byte \(byte)")
                #expect(fixture.disk.durableImage[1024..<1536].allSatisfy { $0 == 5 }, "byte \(byte)")
            } catch let error as PoolError {
                // Cut in the first handshake, which is the caller's to repeat.
                guard case .remote = error else { throw error }
                #expect(connected == 0, "byte \(byte): \(error)")
            }
            fixture.proxy.cut()
        }
        #expect(connected > 100)
    }

    /// NBD-21 and NBD-24: without another connection every byte that is missing is an error for all who wait and all who come,
    /// at once.
    @Test(arguments: ReplyStyle.allCases) func nbd24CutAtEveryByteIsAnError(best: ReplyStyle) throws {
        let fixture = try ClientFixture(size: 65_536)
        let before = fixture.proxy.passed
        do { _ = try fixture.client("timeout=20&reconnect=0", best: best).bytes(0, 512) }
        let length = fixture.proxy.passed - before
        for byte in 0..<length {
            fixture.proxy.cut(after: byte)
            #expect(throws: PoolError.self, "byte \(byte)") {
                let client = try fixture.client("timeout=20&reconnect=0", best: best)
                do {
                    _ = try client.bytes(0, 512)
                } catch {
                    #expect(throws: PoolError.remote(.hungUp)) { try client.put([1], 0) }
                    #expect(throws: PoolError.remote(.hungUp)) { try client.flush() }
                    throw error
                }
            }
        }
    }

    /// NBD-22: sixteen threads while connections break again and again: nobody gets another's data.
    @Test func nbd22ManyThreadsOverManyConnections() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        let isDone = Flag()
        let gate = Gate()
        try JoinableThread {
            var random = SeededRandom(seed: 7)
            while !isDone.isSet {
                fixture.proxy.cut(after: random.below(40_000))
                pause(milliseconds: 20)
            }
            gate.open()
        }.detach()
        defer {
            isDone.set()
            gate.wait(until: .max)
        }
        for _ in 0..<3 { try DeviceConformance.readsWhatOtherThreadsWrote.check(client) }
        #expect(fixture.proxy.connections > 1)
    }

    /// The server loses power at any moment, with what was not flushed or some of it: what a flush had covered is durable,
    /// and what was written is read, as if nothing had happened.
    @Test(arguments: 0..<12 as Range<UInt64>) func lossOfPowerOfTheServerLosesNothing(seed: UInt64) throws {
        let fixture = try ClientFixture(size: 256 << 10)
        let client = try fixture.client()
        var random = SeededRandom(seed: seed)
        var expected = [UInt8](repeating: 0, count: 256 << 10)
        for step in 0..<400 {
            let offset = random.below(expected.count - 9000), count = 1 + random.below(9000)
            switch random.below(10) {
            case 0..<6:
                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: step + 1), count: count)
                try client.put(bytes, offset)
                expected.replaceSubrange(offset..<offset + count, with: bytes)
            case 6:
                try client.discard(at: UInt64(offset), count: UInt64(count))
                expected.replaceSubrange(offset..<offset + count, with: [UInt8](repeating: 0, count: count))
            case 7:
                try client.flush()
                let isDurable = fixture.disk.durableImage == expected
                #expect(isDurable, "step \(step)")
            case 8:
                let isRight = try client.bytes(offset, count) == Array(expected[offset..<offset + count])
                #expect(isRight, "step \(step)")
            default: try random.oneIn(2) ? fixture.losePower() : fixture.proxy.cut(after: random.below(100))
            }
        }
        let isRight = try client.bytes(0, expected.count) == expected
        try client.flush()
        let isDurable = fixture.disk.durableImage == expected
        #expect(isRight && isDurable)
        #expect(fixture.proxy.connections > 5)
    }

    /// What is written again puts nothing back that a later write has changed: whoever is killed in the middle of it leaves what was there.
    @Test func whatIsWrittenAgainIsNeverOlder() throws {
        let fixture = try ClientFixture(), client = try fixture.client()
        var expected = [UInt8](repeating: 1, count: 8192)
        try client.put(expected, 0)
        for (offset, byte) in [(1024, 2), (3072, 3), (1024, 4), (7168, 5)] as [(Int, UInt8)] {
            expected.replaceSubrange(offset..<offset + 1024, with: [UInt8](repeating: byte, count: 1024))
            try client.put(Array(expected[offset..<offset + 1024]), offset)
        }
        let seen = Mutex<(count: Int, isOlder: Bool)>((0, false)), disk = fixture.disk, wanted = expected
        disk.setHook { _ in
            let isOlder = Array(disk.image.prefix(8192)) != wanted
            seen.withLock { $0 = ($0.count + 1, $0.isOlder || isOlder) }
        }
        fixture.proxy.cut()
        #expect(try client.bytes(0, 8192) == expected)
        disk.setHook(nil)
        // Three parts of the first write are left, and of the others each but the second; then comes the read.
        #expect(seen.withLock { $0 } == (6 + 1, false))
        // It is all written again, should the server have lost it.
        try fixture.losePower()
        #expect(try client.bytes(0, 8192) == expected)
    }

    /// Who answers after a break and does not have what was durable is not the same server, and gets nothing.
    @Test func anotherDiskIsNotTakenForTheSame() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try client.put([1, 2, 3], 4096)
        try client.flush()
        try client.put([4], 0)
        try fixture.losePower([UInt8](repeating: 0, count: DeviceConformance.size))
        #expect(throws: PoolError.remote(.isAnother)) { try client.flush() }
        #expect(throws: PoolError.remote(.isAnother)) { try client.bytes(0, 1) }
        #expect(fixture.disk.image.allSatisfy { $0 == 0 })
    }

    @Test func smallerDiskIsNotTakenForTheSame() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try fixture.losePower([UInt8](repeating: 0, count: DeviceConformance.size / 2))
        #expect(throws: PoolError.remote(.isAnother)) { try client.bytes(0, 1) }
    }

    /// What was answered, is lost and cannot be written again is a failed flush, not a success.
    @Test func whatCannotBeWrittenAgainFailsTheFlush() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try client.put([1, 2, 3], 4096)
        try fixture.losePower(failing: .error(28))
        #expect(throws: PoolError.remote(.lostWrites(errno: 28))) { try client.flush() }
        #expect(throws: PoolError.remote(.lostWrites(errno: 28))) { try client.put([1], 0) }
    }

    /// A failed flush is final, and reading goes on.
    @Test func failedFlushIsFinal() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try client.put([1], 0)
        fixture.disk.fail(after: 1, .error(5))
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try client.flush() }
        fixture.disk.stopFailing()
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try client.flush() }
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try client.put([2], 0) }
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try client.discard(at: 0, count: 4096) }
        #expect(try client.bytes(0, 1) == [1])
    }

    /// No space is not an input/output error, and neither ends the device.
    @Test func errorsKeepTheirNumbers() throws {
        let fixture = try ServerFixture(size: 65_536)
        let client = try NBDClient(connecting: ClientFixture.location(fixture.path), mode: .readWrite)
        for errno: Int32 in [28, 5, 12, 95] {
            fixture.exports.state.withLock {
                $0.writeFailure = .system(.pwrite, errno: errno)
                $0.readFailure = .system(.pread, errno: errno)
                $0.discardFailure = .system(.fallocate, errno: errno)
            }
            #expect(throws: PoolError.system(.pwrite, errno: errno)) { try client.put([1], 0) }
            #expect(throws: PoolError.system(.pread, errno: errno)) { try client.bytes(0, 1) }
            #expect(throws: PoolError.system(.fallocate, errno: errno)) { try client.discard(at: 0, count: 512) }
        }
        fixture.exports.state.withLock { ($0.writeFailure, $0.readFailure, $0.discardFailure) = (nil, nil, nil) }
        try client.put([7], 9)
        try client.flush()
        #expect(try client.bytes(9, 1) == [7])
    }

    /// NBD-25.
    @Test func nbd25WhatIsOutsideIsNotAsked() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client(), size = UInt64(DeviceConformance.size), byte = [UInt8](repeating: 1, count: 1)
        #expect(throws: PoolError.outOfRange(offset: size, count: 1, size: size)) { try client.put(byte, Int(size)) }
        #expect(throws: PoolError.outOfRange(offset: .max, count: 1, size: size)) { try byte.withUnsafeBytes { try client.write($0, at: .max) } }
        #expect(throws: PoolError.outOfRange(offset: 4096, count: size, size: size)) { try client.discard(at: 4096, count: size) }
        #expect(throws: PoolError.outOfRange(offset: .max - 1, count: 4, size: size)) { try client.discard(at: .max - 1, count: 4) }
    }

    /// A server that says nothing is given up in time, reading and writing, however long one would wait.
    @Test func silentServerIsGivenUp() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client("timeout=1&reconnect=1")
        try client.put([1], 0)
        fixture.proxy.setSilent(true)
        #expect(throws: PoolError.remote(.timedOut)) { try client.bytes(0, 1) }
        #expect(throws: PoolError.remote(.timedOut)) { try client.put([2], 0) }
        // Whether that was written nobody knows: nothing may follow it.
        #expect(throws: PoolError.remote(.timedOut)) { try client.flush() }
        fixture.proxy.setSilent(false)
        fixture.proxy.cut()
        #expect(throws: PoolError.remote(.timedOut)) { try client.flush() }
        #expect(try client.bytes(1, 1) == [0])
    }

    /// A server that says nothing once is asked again over another connection.
    @Test func silentConnectionIsReplaced() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client("timeout=1&reconnect=60")
        try client.put([1], 0)
        fixture.proxy.setSilent(true)
        let helper = try JoinableThread {
            pause(milliseconds: 1500)
            fixture.proxy.setSilent(false)
        }
        try client.put([2], 1)
        try client.flush()
        helper.join()
        #expect(fixture.disk.durableImage[0..<2] == [1, 2])
    }

    @Test func serverThatEndsIsWaitedFor() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try client.put([1], 0)
        let old = fixture.server
        // It answers ESHUTDOWN, or ends the connection: neither is for the caller.
        old.stop()
        try fixture.losePower(fixture.disk.image)
        try client.put([2], 1)
        try client.flush()
        #expect(fixture.disk.durableImage[0..<2] == [1, 2])
    }

    @Test func whatCannotBeOpened() throws {
        let fixture = try ServerFixture(size: 4096)
        func open(_ uri: String, _ mode: NBDClient.Mode = .readWrite) throws -> NBDClient { try NBDClient(connecting: NBDLocation(parsing: uri), mode: mode) }
        #expect(throws: PoolError.remote(.noExport)) { try open("nbd+unix:///other?socket=\(fixture.path)") }
        #expect(throws: PoolError.remote(.hasNoTLS)) { try open("nbds+unix:///disk?socket=\(fixture.path)") }
        #expect(throws: PoolError.remote(.unreachable(errno: 2))) { try open("nbd+unix:///disk?socket=\(fixture.path).not") }
        fixture.exports.state.withLock { $0.isReadOnly = true }
        #expect(throws: PoolError.readOnly) { try open("nbd+unix:///disk?socket=\(fixture.path)") }
        let client = try open("nbd+unix:///disk?socket=\(fixture.path)", .readOnly)
        #expect(try client.bytes(0, 512) == [UInt8](repeating: 0, count: 512))
        #expect(throws: PoolError.readOnly) { try client.put([1], 0) }
        #expect(throws: PoolError.readOnly) { try client.discard(at: 0, count: 1) }
        try client.flush()
    }

    /// More than may be kept without a flush: it is flushed on the way, and never more is kept.
    @Test func unflushedBytesAreBounded() throws {
        let fixture = try ServerFixture(size: 8 << 20)
        let client = try NBDClient(connecting: ClientFixture.location(fixture.path), mode: .readWrite)
        let bytes = [UInt8](repeating: 3, count: 1 << 20)
        for index in 0..<160 { try client.put(bytes, (index % 8) << 20) }
        #expect(fixture.exports.state.withLock { $0.flushes } >= 3)
        try client.flush()
        let isRight = try client.bytes(5 << 20, 1 << 20) == bytes
        #expect(isRight)
    }

    /// NBD-W7: what 32 bits cannot say is said in pieces.
    @Test(arguments: ReplyStyle.allCases) func hugeRangesAreSplit(best: ReplyStyle) throws {
        let exports = HugeExports(size: 20 << 30)
        let (server, path) = try ClientFixture.serve(exports)
        defer { server.stop() }
        let client = try NBDClient(connecting: ClientFixture.location(path), mode: .readWrite, best: best)
        try client.discard(at: 4096, count: 17 << 30)
        let ranges = exports.zeroed.withLock { $0 }
        #expect(ranges.first?.lowerBound == 4096 && ranges.last?.upperBound == 4096 + 17 << 30)
        #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound } && ranges.allSatisfy { $0.count <= 1 << 30 })
    }

    /// An export that has become larger is so for a client that asks.
    @Test func growsWithTheExport() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try client.put([9], 100)
        fixture.disk.grow(to: 2 << 20)
        #expect(try client.size == 1 << 20)
        try client.grow(to: 2 << 20)
        #expect(try client.size == 2 << 20)
        try client.put([8], (2 << 20) - 1)
        try client.flush()
        #expect(fixture.disk.durableImage[100] == 9 && fixture.disk.durableImage[(2 << 20) - 1] == 8)
    }

    /// What is left of a client is nothing: no thread, no socket, no user at the server.
    @Test func leavesNothingBehind() throws {
        let fixture = try ServerFixture(size: 4096)
        for _ in 0..<50 {
            let client = try NBDClient(connecting: ClientFixture.location(fixture.path), mode: .readWrite)
            try client.put([1], 0)
        }
        fixture.expectNoClients()
    }
}

/// Set once, and watched by another thread.
private final class Flag: Sendable {
    private let value = Mutex(false)
    func set() { value.withLock { $0 = true } }
    var isSet: Bool { value.withLock { $0 } }
}
