internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// Replies, and the end.
extension Connection {
    /// Pieces of memory that one system call sends.
    private static let most = 64

    /// Sends what is queued, as far as the peer takes it; if another thread is at it, that thread sends ours too.
    func flush() {
        withUnsafeTemporaryAllocation(of: iovec.self, capacity: Self.most) { pieces in
            while true {
                let (count, channel) = gather(into: pieces)
                guard let channel else { return }
                let outcome = channel.send(UnsafeMutableBufferPointer(rebasing: pieces[..<count]))
                if !sent(outcome) { return }
            }
        }
    }

    private func gather(into pieces: UnsafeMutableBufferPointer<iovec>) -> (Int, (any Channel)?) {
        state.withLock { state in
            guard !state.isSending, !state.isBlocked, state.hasOutput, state.phase != .closed else { return (0, nil) }
            state.isSending = true
            var count = 0
            var skipPieces = state.sent.pieces, skipBytes = state.sent.bytes
            search: for buffer in state.output[state.sent.buffers...] {
                for range in buffer.pieces[skipPieces...] {
                    if count == Self.most { break search }
                    let part = buffer.bytes.part(range.lowerBound + skipBytes..<range.upperBound)
                    pieces[count] = iovec(iov_base: part.baseAddress, iov_len: part.count)
                    count += 1
                    skipBytes = 0
                }
                skipPieces = 0
            }
            return (count, state.channel)
        }
    }

    /// False if there is nothing to do before the next event.
    private func sent(_ outcome: Socket.Outcome) -> Bool {
        state.withLock { state in
            state.isSending = false
            switch outcome {
            case .count(let count):
                state.progress = host.now()
                advance(&state, by: count)
                return true
            case .wouldBlock:
                state.isBlocked = true
                askForEvent(state)
                return false
            case .closed:
                // Nobody is there to be answered.
                state.phase = .closed
                return false
            }
        }
    }

    private func advance(_ state: inout State, by count: Int) {
        var left = count
        while left > 0 {
            let buffer = state.output[state.sent.buffers]
            let rest = buffer.pieces[state.sent.pieces].count - state.sent.bytes
            if left < rest {
                state.sent.bytes += left
                return
            }
            left -= rest
            state.sent.bytes = 0
            state.sent.pieces += 1
            guard state.sent.pieces == buffer.pieces.count else { continue }
            state.sent.pieces = 0
            state.sent.buffers += 1
            state.requests -= 1
            state.requestBytes -= buffer.size
            host.buffers.give(buffer)
        }
        // What is sent is forgotten now and then, without moving the rest each time.
        if !state.hasOutput {
            state.output.removeAll(keepingCapacity: true)
            state.sent.buffers = 0
        } else if state.sent.buffers >= 64 {
            state.output.removeFirst(state.sent.buffers)
            state.sent.buffers = 0
        }
    }

    /// Ends the connection if it is to end and everything is answered.
    func end() {
        let last = state.withLock { state -> (channel: any Channel, farewell: Transmission?)? in
            let isOver = state.phase == .closed || (state.phase == .draining && state.requests == unanswerable(state) && !state.hasOutput)
            guard isOver else { return nil }
            let farewell = state.isFarewell && state.phase == .draining ? state.transmission : nil
            state.phase = .closed
            return (state.channel, farewell)
        }
        guard let last else { return }
        // Who leaves in good order finds it on the disk, though nobody promises that.
        if let problem = last.farewell?.flush() { host.configuration.log("connection \(number): the last flush failed: \(problem)") }
        last.channel.finish()
        close()
    }

    /// A request whose payload never came whole is not answered.
    private func unanswerable(_ state: borrowing State) -> Int { state.partial == nil ? 0 : 1 }

    /// Ends the connection, whatever it is at. The descriptor goes when the last thread has left.
    func close() {
        state.withLock { $0.phase = .closed }
        haggling.plain.socket.shutDown()
        host.forget(self)
    }

    /// Whether it has stood still for longer than that, with something half done.
    func hasStalled(_ time: UInt64, now: UInt64) -> Bool {
        state.withLock { state in
            guard state.phase != .handshake, now > state.progress + time else { return false }
            return state.hasOutput && state.isBlocked || (state.partial != nil && !state.isDeferred || state.skip > 0) && !state.isReadable
        }
    }

    /// Requests may have come that nobody takes, as whoever was to do it takes longer over another one than was to be expected.
    func isHeldUp(now: UInt64) -> Bool {
        state.withLock { state in
            state.phase == .transmission && !state.isPaused && (state.buffered >= 28 || state.isReadable) && !state.isReceiving
                && now > state.progress + 50_000_000
        }
    }

    var isClosed: Bool { state.withLock { $0.phase == .closed } }

    /// Nothing is under way, nor half sent.
    var isAtRest: Bool { state.withLock { $0.requests == 0 && !$0.hasOutput && $0.partial == nil && $0.skip == 0 && !$0.isReadable } }

    /// Nothing is under way.
    var isIdle: Bool { state.withLock { $0.requests == 0 && !$0.hasOutput } }
}
