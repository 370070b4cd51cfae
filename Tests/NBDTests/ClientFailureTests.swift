internal import BlockStorage
internal import LinuxIO
internal import NBD
internal import Synchronization
internal import TestSupport
import Testing

/// What a client does with failures while others of its requests are under way.
@Suite struct ClientFailureTests {
    private static func waitUntil(_ condition: () -> Bool) {
        for _ in 0..<20_000 where !condition() { rest() }
        #expect(condition())
    }

    /// What another thread gets from an operation.
    private final class Operation: Sendable {
        private let error = Mutex<PoolError?>(nil)
        private let gate = Gate()

        init(_ body: @escaping @Sendable () throws -> Void) throws {
            try JoinableThread { [self] in
                do { try body() } catch { self.error.withLock { $0 = error as? PoolError } }
                gate.open()
            }.detach()
        }

        func wait() -> PoolError? {
            #expect(gate.wait(until: monotonicClock() + 60_000_000_000))
            return error.withLock { $0 }
        }
    }

    /// A client that goes away while its keeper writes again what a server may have lost does not wait for ever.
    @Test func endsInTheMiddleOfAReplay() throws {
        let fixture = try ServerFixture(size: 65_536)
        let proxy = try FaultProxy(to: fixture.path)
        let holder = Mutex<NBDClient?>(try NBDClient(connecting: ClientFixture.location(proxy.path), mode: .readWrite))
        try holder.withLock { try $0?.put([1], 0) }
        fixture.exports.state.withLock { $0.isWriteHeld = true }
        proxy.cut()
        Self.waitUntil { fixture.exports.state.withLock { $0.writesWaiting } == 1 }
        let last = Mutex(holder.withLock { $0.take() }), gate = Gate()
        try JoinableThread {
            _ = last.withLock { $0.take() }
            gate.open()
        }.detach()
        // For the thread to get into the client's `deinit`. If it does not, this shows nothing, but does not fail either.
        pause(milliseconds: 200)
        fixture.exports.state.withLock { $0.isWriteHeld = false }
        #expect(gate.wait(until: monotonicClock() + 20_000_000_000))
    }

    /// After a failed flush the changes that were under way with it fail like all that come, once their connection is gone.
    @Test func changeUnderWayFailsWithTheFlush() throws {
        let fixture = try ServerFixture(size: 65_536)
        let proxy = try FaultProxy(to: fixture.path)
        let client = try NBDClient(connecting: ClientFixture.location(proxy.path, "timeout=3&reconnect=3"), mode: .readWrite)
        fixture.exports.state.withLock { $0.isWriteHeld = true }
        let operation = try Operation { try client.put([2], 4096) }
        Self.waitUntil { fixture.exports.state.withLock { $0.writesWaiting } == 1 }
        fixture.exports.state.withLock { $0.flushFailure = .system(.fdatasync, errno: 5) }
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try client.flush() }
        proxy.cut()
        #expect(operation.wait() == .system(.fdatasync, errno: 5))
        // The server lets nobody begin while what a broken connection had asked for is under way.
        fixture.exports.state.withLock { $0.isWriteHeld = false }
        #expect(try client.bytes(0, 1) == [0])
    }

    /// Of flushes that are under way together none succeeds after one has failed: the failed one may have covered the same writes.
    @Test func flushUnderWayFailsWithTheOther() throws {
        let fixture = try ServerFixture(size: 65_536)
        let client = try NBDClient(connecting: ClientFixture.location(fixture.path), mode: .readWrite)
        try client.put([1], 0)
        fixture.exports.state.withLock { $0.isFlushHeld = true }
        let operation = try Operation { try client.flush() }
        Self.waitUntil { fixture.exports.state.withLock { $0.flushesWaiting } == 1 }
        fixture.exports.state.withLock { $0.flushFailure = .system(.fdatasync, errno: 5) }
        #expect(throws: PoolError.system(.fdatasync, errno: 5)) { try client.flush() }
        fixture.exports.state.withLock { $0.isFlushHeld = false }
        #expect(operation.wait() == .system(.fdatasync, errno: 5))
    }

    /// A write that failed may be there in part: what it was written over does not tell the server from another, until it is
    /// overwritten.
    @Test func failedWriteIsNoWitness() throws {
        let fixture = try ClientFixture()
        let client = try fixture.client()
        try client.put([UInt8](repeating: 1, count: 1024), 0)
        fixture.disk.fail(after: 1, .shortWrite)
        #expect(throws: PoolError.self) { try client.put([UInt8](repeating: 2, count: 1024), 0) }
        fixture.disk.stopFailing()
        try client.flush()
        fixture.proxy.cut()
        #expect(try client.bytes(0, 1024).prefix(1) == [2])
        try client.put([UInt8](repeating: 3, count: 1024), 0)
        try client.flush()
        try fixture.losePower([UInt8](repeating: 0, count: DeviceConformance.size))
        #expect(throws: PoolError.remote(.isAnother)) { try client.bytes(0, 1) }
    }

    /// However many threads write at once, no more than the limit is kept of what they write.
    @Test func unflushedBytesOfManyThreadsAreBounded() throws {
        let fixture = try ServerFixture(size: 8 << 20)
        let client = try NBDClient(connecting: ClientFixture.location(fixture.path), mode: .readWrite)
        let piece = NBDClient.unflushedLimit / 8
        fixture.exports.state.withLock { $0.isWriteHeld = true }
        let operations = try (0..<12).map { _ in try Operation { try client.put([UInt8](repeating: 4, count: piece), 0) } }
        Self.waitUntil { client.unflushedBytes > 6 * piece }
        var most = 0
        for _ in 0..<200 {
            most = max(most, client.unflushedBytes)
            rest()
        }
        fixture.exports.state.withLock { $0.isWriteHeld = false }
        for operation in operations { #expect(operation.wait() == nil) }
        #expect(most <= NBDClient.unflushedLimit)
        try client.flush()
        #expect(client.unflushedBytes == 0)
    }
}
