internal import BlockStorage
internal import NBD
internal import NBDProtocol
internal import Synchronization

/// One export named "disk" in memory, that fails as a test wants it to, and notes what is asked of it.
final class MemoryExports: ExportProvider, Export {
    struct State {
        var bytes: [UInt8]
        var users = 0
        var flushes = 0
        var discards: [Range<UInt64>] = []
        var readFailure: PoolError?
        var writeFailure: PoolError?
        var flushFailure: PoolError?
        var settleFailure: PoolError?
        /// Writes that no `settle` has followed.
        var unsettled = 0
        var discardFailure: PoolError?
        /// Flushes wait as long as this is set.
        var isFlushHeld = false
        var flushesWaiting = 0
        /// Writes wait as long as this is set.
        var isWriteHeld = false
        var writesWaiting = 0
        /// Reads from here wait as long as this is set.
        var heldRead: UInt64?
        var readsWaiting = 0
        /// The most writes that came in one call.
        var mostTogether = 0
        var isReadOnly = false
        var canTrim = true
    }

    let state: Mutex<State>

    init(size: Int) { state = Mutex(State(bytes: [UInt8](repeating: 0, count: size))) }

    private var description: ExportDescription {
        state.withLock {
            ExportDescription(name: "disk", text: "in memory", size: UInt64($0.bytes.count), isReadOnly: $0.isReadOnly, canTrim: $0.canTrim, preferredBlockSize: 4096)
        }
    }

    func list() -> [ExportDescription] { [description] }
    func contexts(of name: String) -> [String] { ["base:allocation", "test:wide"] }

    func describe(_ name: String) throws(OptionRefusal) -> ExportDescription {
        guard name == "disk" || name.isEmpty else { throw OptionRefusal(.unknown, "no such export") }
        return description
    }

    func open(_ name: String, by peer: Peer) throws(OptionRefusal) -> (description: ExportDescription, export: any Export) {
        let found = try describe(name)
        state.withLock { $0.users += 1 }
        return (found, self)
    }

    func close() { state.withLock { $0.users -= 1 } }

    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        if let failure = state.withLock({ $0.readFailure }) { throw failure }
        if state.withLock({ $0.heldRead }) == offset {
            state.withLock { $0.readsWaiting += 1 }
            while state.withLock({ $0.heldRead }) == offset { rest() }
            state.withLock { $0.readsWaiting -= 1 }
        }
        state.withLock { state in bytes.copyBytes(from: state.bytes[Int(offset)..<Int(offset) + bytes.count]) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        if let failure = state.withLock({ $0.writeFailure }) { throw failure }
        state.withLock { $0.writesWaiting += 1 }
        while state.withLock({ $0.isWriteHeld }) { rest() }
        state.withLock { state in
            state.writesWaiting -= 1
            state.unsettled += 1
            state.bytes.withUnsafeMutableBytes { $0.part(Int(offset)..<Int(offset) + bytes.count).copyMemory(from: bytes) }
        }
    }

    func write(_ pieces: [WritePiece]) -> [PoolError?] {
        state.withLock { $0.mostTogether = max($0.mostTogether, pieces.count) }
        return pieces.map { piece in
            do throws(PoolError) {
                try write(piece.bytes, at: piece.offset)
                return nil
            } catch {
                return error
            }
        }
    }

    func settle() throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            if let failure = state.settleFailure { throw failure }
            state.unsettled = 0
        }
    }

    func flush() throws(PoolError) {
        if let failure = state.withLock({ $0.flushFailure }) { throw failure }
        state.withLock { $0.flushesWaiting += 1 }
        while state.withLock({ $0.isFlushHeld }) { rest() }
        state.withLock { state in
            state.flushesWaiting -= 1
            state.flushes += 1
        }
    }

    func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        if let failure = state.withLock({ $0.discardFailure }) { throw failure }
        state.withLock { state in
            state.discards.append(offset..<offset + count)
            for index in Int(offset)..<Int(offset + count) { state.bytes[index] = 0 }
        }
    }

    func zero(at offset: UInt64, count: UInt64, keepsSpace: Bool, isFast: Bool) throws(PoolError) {
        if keepsSpace && isFast { throw .notSupported }
        try discard(at: offset, count: count)
    }

    func prefetch(at offset: UInt64, count: UInt64) throws(PoolError) {}

    /// Of "test:wide", an extent longer than 32 bits can say; else alternating blocks of 512.
    func extents(_ context: String, at offset: UInt64, count: UInt64, _ body: (UInt64, UInt32) -> Bool) throws(PoolError) {
        if context == "test:wide" {
            _ = body(5 << 32, 7)
            return
        }
        var at = offset
        while at < offset + count {
            let end = min(offset + count, at / 512 * 512 + 512)
            if !body(end - at, UInt32(at / 512 % 2) * 3) { return }
            at = end
        }
    }
}
