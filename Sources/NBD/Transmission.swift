internal import BlockStorage
internal import NBDProtocol

/// Executes the requests of one connection on its export. Any thread may call, several at once.
final class Transmission: Sendable {
    let session: Session
    private let export: any Export

    init(session: Session, export: any Export) {
        self.session = session
        self.export = export
    }

    deinit { export.close() }

    /// Makes what was written durable. The failure, if it fails.
    func flush() -> PoolError? {
        do throws(PoolError) {
            if !session.export.isReadOnly { try export.flush() }
            return nil
        } catch {
            return error
        }
    }

    /// Bytes of memory for the data of a request or its reply. The request has not been refused.
    func memory(for request: Request) -> Int {
        switch request.command {
        case .read, .write: Int(request.length)
        case .blockStatus: min(session.contexts.count * (44 + extentLimit * 16), Int(Limits.payload))
        default: 0
        }
    }

    /// Extents that one chunk has at the most.
    private var extentLimit: Int { max(1, Limits.extents / max(1, session.contexts.count)) }

    /// Whether others had better not wait for it.
    static func isSlow(_ request: Request) -> Bool {
        switch request.command {
        case .read, .write: request.length >= 128 << 10 || request.flags.contains(.fua)
        default: true
        }
    }

    /// Whether it takes a thread for long by itself: so many at a time that others always find a thread.
    static func isHeavy(_ request: Request) -> Bool {
        switch request.command {
        case .read, .write, .cache: request.length >= 512 << 10
        default: false
        }
    }

    /// Does what the request says and lays the reply out in its buffer.
    func execute(_ buffer: IOBuffer) {
        let writer = ReplyWriter(session.style, to: buffer.request)
        if let refusal = buffer.refusal { return fail(buffer, writer, refusal) }
        do throws(PoolError) {
            try perform(buffer, writer)
        } catch {
            fail(buffer, writer, WireError(errno: error.errno))
        }
    }

    /// Whether it is a short write, which is made together with others where there are some.
    static func isShortWrite(_ buffer: IOBuffer) -> Bool {
        let request = buffer.request
        return buffer.refusal == nil && request.command == .write && (1...UInt64(64 << 10)).contains(request.length) && !request.flags.contains(.fua)
    }

    /// As `execute`, for short writes.
    func write(_ buffers: [IOBuffer]) {
        let outcomes = export.write(buffers.map { WritePiece(of: UnsafeRawBufferPointer($0.data($0.payload)), at: $0.request.offset) })
        for (buffer, problem) in zip(buffers, outcomes) {
            let writer = ReplyWriter(session.style, to: buffer.request)
            if let problem { fail(buffer, writer, WireError(errno: problem.errno)) } else { wrote(buffer, writer) }
        }
    }

    private func wrote(_ buffer: IOBuffer, _ writer: ReplyWriter) {
        buffer.isUnsettled = true
        buffer.pieces.append(0..<writer.done(buffer.bytes))
    }

    /// What is executed may be answered once this has returned.
    func settle(_ buffers: [IOBuffer]) {
        guard buffers.contains(where: { $0.isUnsettled }) else { return }
        do throws(PoolError) {
            try export.settle()
        } catch {
            for buffer in buffers where buffer.isUnsettled { fail(buffer, ReplyWriter(session.style, to: buffer.request), WireError(errno: error.errno)) }
        }
    }

    private func fail(_ buffer: IOBuffer, _ writer: ReplyWriter, _ error: WireError) {
        buffer.pieces = [0..<writer.error(error, buffer.bytes)]
    }

    private func perform(_ buffer: IOBuffer, _ writer: ReplyWriter) throws(PoolError) {
        let request = buffer.request
        switch request.command {
        case .read: return try read(buffer, writer)
        case .blockStatus: return try blockStatus(buffer, writer)
        case .write:
            if request.length > 0 {
                try export.write(UnsafeRawBufferPointer(buffer.data(buffer.payload)), at: request.offset)
                buffer.isUnsettled = true
            }
        case .trim:
            if request.length > 0 { try export.discard(at: request.offset, count: request.length) }
        case .writeZeroes:
            if request.length > 0 {
                try export.zero(
                    at: request.offset, count: request.length, keepsSpace: request.flags.contains(.noHole),
                    isFast: request.flags.contains(.fastZero))
            }
        case .cache:
            if request.length > 0 { try export.prefetch(at: request.offset, count: request.length) }
        case .flush: try export.flush()
        case .disconnect, nil: preconditionFailure("refused, or not executed")
        }
        if request.flags.contains(.fua), request.command?.writes == true { try export.flush() }
        buffer.pieces.append(0..<writer.done(buffer.bytes))
    }

    // MARK: Read

    private func read(_ buffer: IOBuffer, _ writer: ReplyWriter) throws(PoolError) {
        let request = buffer.request
        let count = Int(request.length), start = IOBuffer.headroom
        guard count > 0 else { return buffer.pieces.append(0..<writer.done(buffer.bytes)) }
        let data = buffer.data(count)
        try export.read(into: data, at: request.offset)
        if session.style != .simple {
            if isZero(UnsafeRawBufferPointer(data)) {
                return buffer.pieces.append(0..<writer.hole(at: request.offset, count: count, buffer.bytes))
            }
            if count >= 2 * Self.holeSize, !request.flags.contains(.dontFragment), readWithHoles(buffer, writer, data) { return }
        }
        // Header and data in one piece.
        let prefix = writer.dataPrefix
        _ = writer.data(at: request.offset, count: count, buffer.bytes.part(start - prefix..<start))
        buffer.pieces.append(start - prefix..<start + count)
    }

    /// Zeros of at least that length are not sent.
    private static let holeSize = 32 << 10

    /// Chunks of data and of holes. False, having done nothing, if there is no hole.
    private func readWithHoles(_ buffer: IOBuffer, _ writer: ReplyWriter, _ data: UnsafeMutableRawBufferPointer) -> Bool {
        let step = Self.holeSize, offset = buffer.request.offset
        // As many headers as fit in front of the data; of a reply with more holes the last ones are sent as data.
        let most = IOBuffer.headroom / ReplyWriter.maximumFixed - 1
        var header = 0, from = 0, chunks = 0
        while from < data.count {
            let isHole = isZero(at: from, step, data) && chunks < most
            var end = min(from + step, data.count)
            while end < data.count, chunks == most || isZero(at: end, step, data) == isHole { end = min(end + step, data.count) }
            if from == 0 && end == data.count { return false }
            let place = offset + UInt64(from), isDone = end == data.count
            let room = buffer.bytes.part(header..<header + ReplyWriter.maximumFixed)
            let size = isHole
                ? writer.hole(at: place, count: end - from, isDone: isDone, room)
                : writer.data(at: place, count: end - from, isDone: isDone, room)
            buffer.pieces.append(header..<header + size)
            if !isHole { buffer.pieces.append(IOBuffer.headroom + from..<IOBuffer.headroom + end) }
            header += size
            chunks += 1
            from = end
        }
        return true
    }

    private func isZero(at from: Int, _ step: Int, _ data: UnsafeMutableRawBufferPointer) -> Bool {
        isZero(UnsafeRawBufferPointer(data.part(from..<min(from + step, data.count))))
    }

    private func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool { BlockStorage.isZero(bytes) }

    // MARK: Block status

    private func blockStatus(_ buffer: IOBuffer, _ writer: ReplyWriter) throws(PoolError) {
        let request = buffer.request
        let limit = request.flags.contains(.requestOne) ? 1 : extentLimit
        var at = IOBuffer.headroom
        for (index, context) in session.contexts.enumerated() {
            var list = ExtentList(writer, limit: limit, buffer.bytes.part(at + writer.statusPrefix..<buffer.bytes.count))
            try export.extents(context.name, at: request.offset, count: request.length) { length, flags in list.add(length, flags) }
            let (count, size) = list.finish()
            // An export has something to say of any range; without it the client would ask for ever.
            guard count > 0 else { throw .invalid(.value) }
            let isDone = index == session.contexts.count - 1
            _ = writer.status(context: context.id, count: count, isDone: isDone, buffer.bytes.part(at..<at + writer.statusPrefix))
            at += writer.statusPrefix + size
        }
        buffer.pieces.append(IOBuffer.headroom..<at)
    }
}
