internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// What a client's own thread and those that call it do together. Any thread may call.
final class ClientCore: Sendable {
    let location: NBDLocation
    let security: ClientTLS?
    let best: ReplyStyle
    let notice: @Sendable (NBDClient.Notice) -> Void
    let state: Mutex<ClientState>
    let waits = WaitNotice()
    /// Wakes the keeper from its rest between attempts to connect.
    let keeperGate = Gate()
    static let second: UInt64 = 1_000_000_000

    init(_ location: NBDLocation, _ security: ClientTLS?, best: ReplyStyle, _ export: RemoteExport, notice: @escaping @Sendable (NBDClient.Notice) -> Void) {
        self.location = location
        self.security = security
        self.best = best
        self.notice = notice
        state = Mutex(ClientState(export: export))
    }

    /// Nanoseconds that an answer may take.
    var timeout: UInt64 { UInt64(location.timeout) * Self.second }

    // MARK: Requests

    /// Reads, of at most one request's size.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try perform { $0.begin(.read, at: offset, UInt64(bytes.count), into: bytes) }
    }

    /// Reads several pieces, each of at most one request's size, with so many requests under way together.
    func read(_ pieces: [ReadPiece]) throws(PoolError) {
        for start in stride(from: 0, to: pieces.count, by: Self.readsTogether) {
            var begun: [(ClientRequest, UInt64)] = [], problem: PoolError?
            for piece in pieces[start..<min(start + Self.readsTogether, pieces.count)] where problem == nil {
                do throws(PoolError) {
                    begun.append(try begin { $0.begin(.read, at: piece.offset, UInt64(piece.bytes.count), into: piece.bytes) })
                } catch {
                    problem = error
                }
            }
            // All of them, for each has memory of the caller's until it has ended.
            for (index, (request, deadline)) in begun.enumerated() {
                do throws(PoolError) {
                    // Those behind it are sent again with it when the connection breaks.
                    try finish(request, by: deadline) { for (other, limit) in begun[(index + 1)...] { _ = step(other, limit) } }
                } catch {
                    problem = problem ?? error
                }
            }
            if let problem { throw problem }
        }
    }

    private static let readsTogether = 16

    /// Writes, trims or zeroes, at most what one request can.
    func change(_ command: Command, at offset: UInt64, _ length: UInt64, _ data: UnsafeRawBufferPointer) throws(PoolError) {
        let change = UnflushedChange(command, at: offset, length: length, data)
        try perform { $0.begin(command, at: offset, length, change: change) }
    }

    func flush() throws(PoolError) { try perform { $0.begin(.flush, at: 0, 0) } }

    private func perform(_ prepare: (ClientRequest) -> Void) throws(PoolError) {
        let (request, deadline) = try begin(prepare)
        try finish(request, by: deadline)
    }

    /// Sends a request. Returns until when it has its outcome.
    private func begin(_ prepare: (ClientRequest) -> Void) throws(PoolError) -> (ClientRequest, UInt64) {
        let request = state.withLock { $0.idle.popLast() } ?? ClientRequest()
        prepare(request)
        let start = monotonicClock()
        let first = try state.withLock { state throws(PoolError) in
            do throws(PoolError) { try state.begin(request) } catch {
                state.keep(request)
                throw error
            }
            return state.toSend(request, at: start)
        }
        first?.send(request.wire, payload(request))
        return (request, start + timeout + UInt64(location.reconnect) * Self.second)
    }

    /// Waits for the outcome of a request that was sent. Calls `beforeWaiting` whenever it has looked at it.
    private func finish(_ request: ClientRequest, by deadline: UInt64, beforeWaiting: () -> Void = {}) throws(PoolError) {
        defer { state.withLock { $0.keep(request) } }
        // What a thread left behind is of no use to the next one, so the gate may be open already.
        while let wait = step(request, deadline) {
            beforeWaiting()
            waits.during { _ = request.gate.wait(until: wait) }
        }
        let outcome = state.withLock { _ in
            defer { (request.change, request.destination) = (nil, nil) }
            return request.outcome
        }
        switch outcome {
        case .success: return
        case .error(let number): throw .system(Self.call(request.command), errno: WireError.errno(number))
        case .failure(let error): throw error
        case nil: preconditionFailure("a thread leaves with an outcome")
        }
    }

    private func payload(_ request: ClientRequest) -> UnsafeRawBufferPointer {
        request.change?.bytes ?? UnsafeRawBufferPointer(start: nil, count: 0)
    }

    /// What a thread does when it wakes: sends again on another connection, gives a silent one up, or leaves. Nil when it has its
    /// outcome, else until when it waits.
    private func step(_ request: ClientRequest, _ deadline: UInt64) -> UInt64? {
        enum Turn { case leave, wait(UInt64), send(ClientConnection), giveUp(ClientConnection?, UInt64) }
        while true {
            let now = monotonicClock()
            let turn = state.withLock { state -> Turn in
                if request.outcome != nil { return .leave }
                if now >= deadline {
                    if request.isReceiving {
                        request.wantsOut = true
                        return .giveUp(state.connection, .max)
                    }
                    state.abandon(request, .remote(.timedOut))
                    return .giveUp(state.connection, 0)
                }
                if let connection = state.toSend(request, at: now) { return .send(connection) }
                guard let connection = state.connection else { return .wait(deadline) }
                let limit = request.sentAt + timeout
                if now < limit { return .wait(min(limit, deadline)) }
                return .giveUp(connection, deadline)
            }
            switch turn {
            case .leave: return nil
            case .wait(let limit): return limit
            case .send(let connection): connection.send(request.wire, payload(request))
            case .giveUp(let connection, let limit):
                connection?.giveUp()
                if limit > 0 { return limit }
            }
        }
    }

    private static func call(_ command: Command) -> PoolError.SystemCall {
        switch command {
        case .read, .cache, .blockStatus: .pread
        case .write: .pwrite
        case .flush, .disconnect: .fdatasync
        case .trim, .writeZeroes: .fallocate
        }
    }

    // MARK: Ending

    /// Nobody calls any more: the keeper is to end.
    func stop() {
        let (connection, cookie) = state.withLock { state in
            state.isStopping = true
            return (state.connection, state.nextCookie())
        }
        connection?.sayGoodbye(cookie: cookie)
        connection?.giveUp()
        keeperGate.open()
    }
}
