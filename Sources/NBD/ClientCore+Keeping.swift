internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// The client's own thread: it receives, and connects again.
extension ClientCore {
    /// How long a server that says nothing more is given to end a connection, before its requests are sent on another.
    private static let settling: UInt64 = 5 * second
    private static let longestRest: UInt64 = 2 * second

    /// Runs until `stop`, or until nothing can be done any more.
    func keep(_ first: ClientConnection) {
        var connection = first
        while true {
            let why = receive(connection)
            let (isStopping, isLost, isClean) = state.withLock { state in
                defer { state.isAskingAnew = false }
                state.connection = nil
                for request in state.pending.values { request.startOver() }
                return (state.isStopping, !state.isAskingAnew, state.changesFailure == nil)
            }
            // Who stops waits for nothing any more, but for a change that was given up.
            if isStopping && isClean { connection.leave() } else { settle(connection) }
            if isStopping { return }
            if isLost { notice(.lost(isSilent: why == .silent)) }
            guard location.reconnect > 0 || !isLost else { return end(.remote(.hungUp)) }
            guard let next = reconnect(after: connection, isLost) else { return }
            connection = next
        }
    }

    private func settle(_ connection: ClientConnection) { connection.settle(until: monotonicClock() + min(Self.settling, timeout)) }

    private func end(_ failure: PoolError) {
        for request in state.withLock({ $0.end(failure) }) { request.gate.open() }
        notice(.ended(failure))
    }

    // MARK: Receiving

    /// Takes replies until the connection is of no more use.
    private func receive(_ connection: ClientConnection) -> ClientConnection.Failure {
        do throws(ClientConnection.Failure) {
            while true { try take(try connection.next(), from: connection) }
        } catch {
            return error
        }
    }

    private enum Taking { case nothing, done(ClientRequest), data(ClientRequest, UnsafeMutableRawBufferPointer), zeros(ClientRequest, UnsafeMutableRawBufferPointer) }

    private func take(_ part: ReplyPart, from connection: ClientConnection) throws(ClientConnection.Failure) {
        let taking = try state.withLock { state throws(ClientConnection.Failure) in try Self.take(part, connection, &state) }
        switch taking {
        case .nothing: return
        case .done(let request): return request.gate.open()
        case .zeros(let request, let bytes):
            bytes.clear()
            try didReceive(request, part, isWhole: true)
        case .data(let request, let bytes):
            do throws(ClientConnection.Failure) {
                try connection.take(into: bytes)
            } catch {
                try didReceive(request, part, isWhole: false)
                throw error
            }
            try didReceive(request, part, isWhole: true)
        }
    }

    private static func take(_ part: ReplyPart, _ connection: ClientConnection, _ state: inout ClientState) throws(ClientConnection.Failure) -> Taking {
        guard let request = state.pending[part.cookie], request.sentOn == connection.number else { throw .malformed }
        let isRead = request.command == .read
        switch part.body {
        // It ends, and has not done it: whoever comes after it will.
        case .simple(WireError.shutdown.rawValue), .error(WireError.shutdown.rawValue): throw .ended
        case .simple(let error):
            guard error == 0, isRead else {
                state.finish(request, error: error)
                return .done(request)
            }
            guard connection.export.style == .simple, let bytes = request.destination else { throw .malformed }
            return .data(request, try place(request, request.offset, UInt64(bytes.count)))
        case .none: break
        case .error(let number): if request.problem == 0 { request.problem = number }
        case .data(let offset, let count):
            guard isRead else { throw .malformed }
            return .data(request, try place(request, offset, count))
        case .hole(let offset, let count):
            guard isRead else { throw .malformed }
            return .zeros(request, try place(request, offset, count))
        }
        guard part.isDone else { return .nothing }
        try finish(request, &state)
        return .done(request)
    }

    /// Where a part of a read goes.
    private static func place(_ request: ClientRequest, _ offset: UInt64, _ count: UInt64) throws(ClientConnection.Failure) -> UnsafeMutableRawBufferPointer {
        guard let bytes = request.destination, request.coverage.add(offset, count) else { throw .malformed }
        request.isReceiving = true
        let start = Int(offset - request.offset)
        return bytes.part(start..<start + Int(count))
    }

    private static func finish(_ request: ClientRequest, _ state: inout ClientState) throws(ClientConnection.Failure) {
        guard request.problem != 0 || request.command != .read || request.coverage.isWhole else { throw .malformed }
        state.finish(request, error: request.problem)
    }

    private func didReceive(_ request: ClientRequest, _ part: ReplyPart, isWhole: Bool) throws(ClientConnection.Failure) {
        let (isWanted, failure) = state.withLock { state -> (Bool, ClientConnection.Failure?) in
            var failure: ClientConnection.Failure?
            request.isReceiving = false
            if isWhole && part.isDone { do throws(ClientConnection.Failure) { try Self.finish(request, &state) } catch { failure = error } }
            return (request.outcome != nil || request.wantsOut, failure)
        }
        // Also when the reply is no use: who has waited for its bytes only may leave now.
        if isWanted { request.gate.open() }
        if let failure { throw failure }
    }

    // MARK: Connecting again

    /// Nil when it is to end, or nothing can be done any more.
    private func reconnect(after old: ClientConnection, _ isLost: Bool) -> ClientConnection? {
        var rest: UInt64 = 20_000_000, number = old.number
        while !state.withLock({ $0.isStopping }) {
            number += 1
            do throws(PoolError) {
                let connection = try ClientNegotiation.connect(
                    to: location, security, number: number, best: best, deadline: monotonicClock() + timeout, words: { _ in })
                guard let count = try resume(connection) else { return nil }
                if isLost { notice(.back(rewritten: count)) }
                return connection
            } catch {
                switch error {
                case .remote(.isAnother), .remote(.lostWrites):
                    end(error)
                    return nil
                default: break
                }
            }
            keeperGate.wait(until: monotonicClock() + rest)
            rest = min(2 * rest, Self.longestRest)
        }
        return nil
    }

    /// Goes on where the connection before ended: what the server may have lost is written again, in its order, before anything
    /// else is asked. Returns how many changes that were; nil when it is to end.
    private func resume(_ connection: ClientConnection) throws(PoolError) -> Int? {
        let count: Int
        do throws(PoolError) {
            let (known, witness) = state.withLock { ($0.export, $0.witness) }
            guard Self.isSame(connection.export, known) else { throw .remote(.isAnother) }
            if let witness { try look(for: witness, on: connection) }
            count = try replay(on: connection)
        } catch {
            // A part of the replay may be under way, and it is written once more on the next connection.
            settle(connection)
            throw error
        }
        let waiting = state.withLock { state -> [ClientRequest]? in
            // `stop` has found no connection to give up, so that this one would be kept for ever.
            if state.isStopping { return nil }
            state.connection = connection
            state.export = connection.export
            let waiting = Array(state.pending.values)
            state.failChanges()
            return waiting
        }
        guard let waiting else {
            settle(connection)
            return nil
        }
        for request in waiting { request.gate.open() }
        return count
    }
}
