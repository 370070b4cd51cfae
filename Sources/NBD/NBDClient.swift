public import BlockStorage
public import LinuxIO
package import NBDProtocol
internal import Synchronization

/// An export of an NBD server as a `BlockDevice`.
///
/// Threads that call at the same time share one connection, on which their requests are under way together. Every operation ends:
/// a server that does not answer within the location's `timeout` is given up, and after `reconnect` seconds more without another
/// connection the operation throws `.remote(.timedOut)`. Until then a connection that breaks is not seen by the caller: requests
/// are sent again on the next one, after everything that no flush had covered. A flush that the server refuses is final, as is a
/// change or a flush that was given up: nothing is written after it.
public final class NBDClient: WaitingDevice {
    private let core: ClientCore
    private let keeper: Mutex<JoinableThread?>
    /// Held while a part of one of the server's blocks is changed: it is read and written as a whole.
    private let partLock = Mutex<Void>(())
    /// Unflushed bytes that are kept at most; from half of that on they are flushed.
    public static let unflushedLimit = 64 << 20
    private let isTrimming = Atomic(false)
    /// Bytes that are kept now.
    package var unflushedBytes: Int { core.state.withLock { $0.log.total } }

    /// What happens without being asked for. Told on a thread of the client's.
    public enum Notice: Sendable {
        /// Why the server refuses to serve it, in its words. Told before `init` throws.
        case refused(words: String)
        case lost(isSilent: Bool)
        case back(rewritten: Int)
        /// Nothing can be done any more.
        case ended(PoolError)
    }

    public enum Mode: Sendable { case readOnly, readWrite }

    /// Connects, within the location's `timeout`. Throws `.remote` with what is wrong, `.readOnly` for a read-only export that is to
    /// be written, and what `.system(.open)` says of keys or certificates that cannot be used.
    public convenience init(connecting location: NBDLocation, mode: Mode, notice: @escaping @Sendable (Notice) -> Void = { _ in }) throws(PoolError) {
        try self.init(connecting: location, mode: mode, best: .extended, notice: notice)
    }

    /// `best` is the best style of replies that is asked for.
    package init(
        connecting location: NBDLocation, mode: Mode, best: ReplyStyle, notice: @escaping @Sendable (Notice) -> Void = { _ in }
    ) throws(PoolError) {
        let security = location.isEncrypted ? try ClientTLS(location) : nil
        let connection = try ClientNegotiation.connect(
            to: location, security, number: 1, best: best, deadline: monotonicClock() + UInt64(location.timeout) * ClientCore.second
        ) { words in if !words.isEmpty { notice(.refused(words: words)) } }
        let export = connection.export
        if mode == .readWrite {
            if export.isReadOnly { throw .readOnly }
            guard export.flags.contains(.flush) else { throw .remote(.hasNoFlush) }
        }
        let core = ClientCore(location, security, best: best, export, notice: notice)
        self.core = core
        isReadOnly = mode == .readOnly
        core.state.withLock { $0.connection = connection }
        keeper = Mutex(try JoinableThread { core.keep(connection) })
    }

    deinit {
        core.stop()
        keeper.withLock { $0.take() }?.join()
    }

    public let isReadOnly: Bool
    public var waits: WaitNotice { core.waits }
    private var export: RemoteExport { core.state.withLock { $0.export } }
    /// How the server frames its replies.
    package var style: ReplyStyle { export.style }

    /// Whole blocks of the server's.
    public var size: UInt64 { get throws(PoolError) { export.usableSize } }

    // MARK: Reading

    public func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        let export = export
        try check(offset, UInt64(bytes.count), export)
        let unit = Int(export.minimumBlock)
        if bytes.count % unit == 0 && offset % UInt64(unit) == 0 { return try readWhole(bytes, at: offset, export) }
        let start = offset / UInt64(unit) * UInt64(unit), within = Int(offset - start)
        let buffer = AlignedBuffer(count: (within + bytes.count + unit - 1) / unit * unit)
        try readWhole(buffer.bytes, at: start, export)
        bytes.copyMemory(from: UnsafeRawBufferPointer(buffer.bytes.part(within..<within + bytes.count)))
    }

    public func read(_ pieces: UnsafeBufferPointer<ReadPiece>) throws(PoolError) {
        let export = export, unit = Int(export.minimumBlock)
        var requests: [ReadPiece] = []
        for piece in pieces {
            guard piece.bytes.count % unit == 0 && piece.offset % UInt64(unit) == 0 else {
                try read(into: piece.bytes, at: piece.offset)
                continue
            }
            try check(piece.offset, UInt64(piece.bytes.count), export)
            for start in stride(from: 0, to: piece.bytes.count, by: Int(export.maximumPayload)) {
                let part = piece.bytes.part(start..<min(start + Int(export.maximumPayload), piece.bytes.count))
                requests.append(ReadPiece(into: part, at: piece.offset + UInt64(start)))
            }
        }
        try core.read(requests)
    }

    private func readWhole(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64, _ export: RemoteExport) throws(PoolError) {
        var done = 0
        while done < bytes.count {
            let count = min(bytes.count - done, Int(export.maximumPayload))
            try core.read(into: bytes.part(done..<done + count), at: offset + UInt64(done))
            done += count
        }
    }

    // MARK: Writing

    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        if isReadOnly { throw .readOnly }
        let export = export
        try check(offset, UInt64(bytes.count), export)
        let unit = Int(export.minimumBlock)
        if bytes.count % unit == 0 && offset % UInt64(unit) == 0 { return try writeWhole(bytes, at: offset, export) }
        try partLock.withLock { _ throws(PoolError) in
            let start = offset / UInt64(unit) * UInt64(unit), within = Int(offset - start)
            let buffer = AlignedBuffer(count: (within + bytes.count + unit - 1) / unit * unit)
            try readWhole(buffer.bytes, at: start, export)
            buffer.bytes.part(within..<within + bytes.count).copyMemory(from: bytes)
            try writeWhole(UnsafeRawBufferPointer(buffer.bytes), at: start, export)
        }
    }

    private func writeWhole(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ export: RemoteExport) throws(PoolError) {
        var done = 0
        while done < bytes.count {
            // A piece is at most an eighth of what is kept, so that no piece alone is more than that.
            let count = min(bytes.count - done, Int(export.maximumPayload), Self.unflushedLimit / 8)
            try change(.write, at: offset + UInt64(done), UInt64(count), bytes.part(done..<done + count))
            done += count
        }
    }

    public func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        if isReadOnly { throw .readOnly }
        let export = export
        try check(offset, count, export)
        // Zeroes, for what is trimmed may still be read as it was.
        let command: Command
        if export.flags.contains(.writeZeroes) { command = .writeZeroes } else if export.flags.contains(.trim) { command = .trim } else { return }
        // Whole blocks of the server's; what of the range is none of them is written.
        let unit = UInt64(export.minimumBlock), end = offset + count
        let first = min(end, (offset + unit - 1) / unit * unit), last = max(first, end / unit * unit)
        try zero(offset..<first)
        try zero(last..<end)
        var at = first
        while at < last {
            let count = min(last - at, Self.longestTrim)
            try change(command, at: at, count, UnsafeRawBufferPointer(start: nil, count: 0))
            at += count
        }
    }

    /// The length of a request has 32 bits; and the longer one takes, the less can be said of whether it goes on.
    private static let longestTrim: UInt64 = 1 << 30

    private func zero(_ range: Range<UInt64>) throws(PoolError) {
        guard !range.isEmpty else { return }
        let zeros = AlignedBuffer(count: range.count)
        try write(UnsafeRawBufferPointer(zeros.bytes), at: range.lowerBound)
    }

    private func change(_ command: Command, at offset: UInt64, _ length: UInt64, _ data: UnsafeRawBufferPointer) throws(PoolError) {
        // Before the bytes are copied, and for this thread alone.
        while !core.state.withLock({ $0.log.reserve(data.count, limit: Self.unflushedLimit) }) { try core.flush() }
        try core.change(command, at: offset, length, data)
        // Early, by one thread, while the others go on. Which of them it is only the flag says: relaxed order is enough.
        guard core.state.withLock({ $0.log.total }) > Self.unflushedLimit / 2, !isTrimming.exchange(true, ordering: .relaxed) else { return }
        defer { isTrimming.store(false, ordering: .relaxed) }
        try core.flush()
    }

    /// Also of what was written on connections that are gone: it was written again on this one, or the flush fails.
    public func flush() throws(PoolError) { if !isReadOnly { try core.flush() } }

    /// A server's cache cannot be dropped from here.
    public func flushAndDropCache() throws(PoolError) { try flush() }

    /// Finds out how large the server's export has become: a connection keeps the size it began with.
    public func grow(to size: UInt64) throws(PoolError) {
        let connection = core.state.withLock { state -> ClientConnection? in
            guard state.export.size < size, let connection = state.connection else { return nil }
            state.isAskingAnew = true
            return connection
        }
        guard let connection else { return }
        connection.giveUp()
        let byte = AlignedBuffer(count: Int(connection.export.minimumBlock))
        while core.state.withLock({ $0.connection?.number == connection.number }) { pause(milliseconds: 1) }
        try core.read(into: byte.bytes, at: 0)
    }

    private func check(_ offset: UInt64, _ count: UInt64, _ export: RemoteExport) throws(PoolError) {
        let (end, overflow) = offset.addingReportingOverflow(count)
        guard !overflow, end <= export.usableSize else { throw .outOfRange(offset: offset, count: count, size: export.usableSize) }
    }
}
