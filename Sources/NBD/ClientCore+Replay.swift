internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// What a server may have lost with a connection is written again.
///
/// A flush says nothing of what another connection to a server that has since begun anew had written: the server can have lost
/// it, and cannot know. So every change is kept until a flush has covered it. On a new connection all that are kept come first,
/// those that were answered and those that were not, overlapping ones in their order; only then may anything be read or flushed. What a
/// later one has changed, and was answered, is left out of an earlier one.
extension ClientCore {
    /// Whether an export can stand in for the one before: as large or larger, and taking all that may be under way.
    static func isSame(_ new: RemoteExport, _ old: RemoteExport) -> Bool {
        let matters: TransmissionFlags = [.readOnly, .flush, .trim, .writeZeroes]
        return new.size >= old.size && new.flags.intersection(matters) == old.flags.intersection(matters)
            && new.minimumBlock <= old.minimumBlock && new.maximumPayload >= old.maximumPayload
    }

    /// Reads something that was durable. Throws `.remote(.isAnother)` if it is not there.
    func look(for witness: ClientState.Witness, on connection: ClientConnection) throws(PoolError) {
        let unit = UInt64(connection.export.minimumBlock), start = witness.offset / unit * unit
        let end = (witness.offset + UInt64(witness.bytes.count) + unit - 1) / unit * unit
        let buffer = AlignedBuffer(count: Int(end - start))
        let request = Request(.read, cookie: state.withLock { $0.nextCookie() }, offset: start, length: end - start)
        connection.send(request, UnsafeRawBufferPointer(start: nil, count: 0))
        guard try Self.receive(request, into: buffer.bytes, on: connection, until: monotonicClock() + timeout) else { throw .remote(.isAnother) }
        let found = buffer.bytes.part(Int(witness.offset - start)..<Int(witness.offset - start) + witness.bytes.count)
        guard found.elementsEqual(witness.bytes) else { throw .remote(.isAnother) }
    }

    /// False if the server refuses to read it.
    private static func receive(
        _ request: Request, into bytes: UnsafeMutableRawBufferPointer, on connection: ClientConnection, until deadline: UInt64
    ) throws(PoolError) -> Bool {
        var coverage = ReadCoverage(offset: request.offset, count: request.length)
        func place(_ offset: UInt64, _ count: UInt64) throws(ClientConnection.Failure) -> UnsafeMutableRawBufferPointer {
            guard coverage.add(offset, count) else { throw .malformed }
            let start = Int(offset - request.offset)
            return bytes.part(start..<start + Int(count))
        }
        do throws(ClientConnection.Failure) {
            while true {
                let part = try connection.next(until: deadline)
                guard part.cookie == request.cookie else { throw .malformed }
                switch part.body {
                case .simple(0): try connection.take(into: place(request.offset, request.length), until: deadline)
                case .data(let offset, let count): try connection.take(into: place(offset, count), until: deadline)
                case .hole(let offset, let count): try place(offset, count).clear()
                case .simple, .error: return false
                case .none: break
                }
                if part.isDone { return coverage.isWhole }
            }
        } catch {
            throw .remote(.timedOut)
        }
    }

    /// A part of a change that is written again.
    private struct Part {
        let change: UnflushedChange
        let range: Range<UInt64>
    }

    /// Returns how many changes there were. Throws `.remote(.lostWrites)` if the server refuses one that it had taken before.
    func replay(on connection: ClientConnection) throws(PoolError) -> Int {
        var waiting: [ObjectIdentifier: ClientRequest] = [:], left: [ObjectIdentifier: Int] = [:]
        let changes = state.withLock { state in
            for request in state.pending.values {
                guard let change = request.change else { continue }
                // Its thread need not send it.
                request.sentOn = connection.number
                waiting[ObjectIdentifier(change)] = request
            }
            return state.log.toRepeat()
        }
        for (change, parts) in changes {
            left[ObjectIdentifier(change)] = parts.count
            if parts.isEmpty { try didReplay(change, waiting[ObjectIdentifier(change)], error: 0) }
        }
        let parts = changes.flatMap { change, parts in parts.map { Part(change: change, range: $0) } }
        var next = 0
        while next < parts.count {
            var wave: [UInt64: Part] = [:], size = 0
            // Together only what does not overlap: a server may do it in any order.
            while next < parts.count, wave.count < 64, size < 8 << 20, !wave.values.contains(where: { $0.range.overlaps(parts[next].range) }) {
                let part = parts[next], cookie = state.withLock { $0.nextCookie() }, range = part.range
                let request = Request(part.change.command, cookie: cookie, offset: range.lowerBound, length: UInt64(range.count))
                let bytes = part.change.bytes(of: range)
                connection.send(request, bytes)
                wave[cookie] = part
                size += bytes.count
                next += 1
            }
            let deadline = monotonicClock() + timeout
            while !wave.isEmpty {
                let (change, error) = try Self.answer(to: &wave, on: connection, until: deadline), key = ObjectIdentifier(change)
                left[key, default: 1] -= 1
                if error != 0 || left[key] == 0 { try didReplay(change, waiting[key], error: error) }
            }
        }
        return changes.count
    }

    private static func answer(
        to wave: inout [UInt64: Part], on connection: ClientConnection, until deadline: UInt64
    ) throws(PoolError) -> (UnflushedChange, UInt32) {
        var problem: UInt32 = 0
        while true {
            let part: ReplyPart
            do throws(ClientConnection.Failure) { part = try connection.next(until: deadline) } catch { throw .remote(.timedOut) }
            guard let change = wave[part.cookie]?.change else { throw .remote(.notAServer) }
            switch part.body {
            case .simple(let error), .error(let error): if problem == 0 { problem = error }
            case .none: break
            case .data, .hole: throw .remote(.notAServer)
            }
            // It ends again, and has done nothing.
            if problem == WireError.shutdown.rawValue { throw .remote(.timedOut) }
            if part.isDone {
                wave[part.cookie] = nil
                return (change, problem)
            }
        }
    }

    private func didReplay(_ change: UnflushedChange, _ request: ClientRequest?, error: UInt32) throws(PoolError) {
        let isAnswer = try state.withLock { state throws(PoolError) in
            if let request, request.change === change, request.outcome == nil {
                state.finish(request, error: error)
                return true
            }
            if error != 0 && change.answered != 0 && state.changesFailure == nil { throw .remote(.lostWrites(errno: WireError.errno(error))) }
            return false
        }
        if isAnswer { request?.gate.open() }
    }
}
