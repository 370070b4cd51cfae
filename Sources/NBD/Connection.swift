internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// One client. Threads come to it when something has happened on its socket, and take requests off it one at a time: whoever
/// has taken one executes it and queues the reply, while others go on with the next.
final class Connection: Sendable {
    let number: UInt64
    let host: ServerState
    /// Whose thread is at it; used by the thread that has `isReceiving`.
    let haggling: Haggling
    let state: BusyMutex<State>

    enum Phase: Sendable {
        case handshake, transmission
        /// No more requests are taken; what was taken is answered.
        case draining
        case closed
    }

    struct State: Sendable {
        var phase = Phase.handshake
        var channel: any Channel
        var transmission: Transmission?

        /// Counts events, so that one that comes in the handshake while a thread finds nothing left is not lost.
        var edges: UInt64 = 0
        /// Something may be there to be received. Once there was nothing, an event is asked for.
        var isReadable = true
        /// A thread is receiving, or waits for something to come: no other may.
        var isReceiving = false
        /// Threads that may be at a request of it.
        var threads = 0
        /// Requests in a row that took longer than what is in memory does. One alone may have lost the processor meanwhile.
        var slowOnes = 0
        var isSlow: Bool { slowOnes > 1 }
        /// The client has said that it leaves.
        var isFarewell = false
        var input: ReceiveBuffer?
        /// A request whose payload has not come wholly.
        var partial: IOBuffer?
        /// A long request waits for one of the threads that may do such.
        var isDeferred = false
        /// Bytes of a payload that nobody wants, still to come.
        var skip: UInt64 = 0

        /// Requests taken and not answered wholly, and their memory.
        var requests = 0
        var requestBytes = 0
        /// Requests wait because of them.
        var isPaused = false

        var output: [IOBuffer] = []
        /// How much of `output` is sent: buffers, pieces of the next one, bytes of the next piece.
        var sent = (buffers: 0, pieces: 0, bytes: 0)
        var isSending = false
        /// The peer takes no more for now.
        var isBlocked = false
        /// When something last went forward, by the host's clock.
        var progress: UInt64

        var hasOutput: Bool { sent.buffers < output.count }
        var buffered: Int { input?.count ?? 0 }
    }

    init(number: UInt64, socket: consuming Socket, host: ServerState) {
        self.number = number
        self.host = host
        let peer = socket.peer.map { Peer(process: $0.process, uid: $0.uid, address: "") }
            ?? Peer(process: 0, uid: .max, address: socket.peerAddress)
        let plain = PlainChannel(socket)
        haggling = Haggling(plain, peer: peer, host: host)
        state = BusyMutex(State(channel: plain, progress: host.now()))
    }

    deinit {
        state.withLock { state in
            for buffer in state.output[state.sent.buffers...] { host.buffers.give(buffer) }
            if let partial = state.partial { host.buffers.give(partial) }
        }
    }

    /// Something has happened on the socket.
    func note(_ event: EventQueue.Event) {
        state.withLock { state in
            state.edges += 1
            if event.hasInput { state.isReadable = true }
            if event.takesOutput { state.isBlocked = false }
            // Nobody is there to be answered: what was asked and not begun is not done.
            if event.isGone { state.phase = .closed }
            if state.phase == .transmission && (!state.isReadable || state.isBlocked) { askForEvent(state) }
        }
    }

    /// Asks for the next event. Under the lock, though it is a system call, as it does not wait: of two threads that ask the second one
    /// has to know more.
    func askForEvent(_ state: borrowing State) {
        host.queue.tellOnce(haggling.plain.socket, key: number, input: !state.isReadable, output: state.isBlocked)
    }

    /// Does what there is to do, until nothing is left but waiting.
    func serve() {
        state.withLock { $0.threads += 1 }
        serveRequests()
        let isDeserted = state.withLock { state in
            state.threads -= 1
            return state.threads == 0 && state.phase == .closed
        }
        if isDeserted { host.didLeave(self) }
    }

    private func serveRequests() {
        if state.withLock({ $0.phase }) == .handshake {
            // Who only knocks does not keep those waiting who are in.
            guard host.beginHeavy(self) else { return }
            let isThrough = haggle()
            host.endHeavy()
            if !isThrough { return }
        }
        flush()
        var done = Answers()
        while true {
            switch next(after: done.takeSlowness(), done.takeFinished(), mayReceive: done.isEmpty) {
            case .request(let buffer, let transmission, let isSlow, let hasMore):
                if isSlow { answer(&done) }
                if hasMore && isSlow { host.wantHelp(self) }
                if !isSlow && Transmission.isShortWrite(buffer) {
                    done.postpone(buffer, of: transmission)
                } else {
                    done.execute(buffer, of: transmission, host)
                    if buffer.isHeavy { host.endHeavy() }
                }
                if done.isFull { answer(&done) }
            case .answer: answer(&done)
            case .receive(let channel, let room, let isPayload):
                // Whoever has asked something soon asks more: to wait for it here takes one system call, an event takes three.
                let waits = host.beginWaiting()
                let outcome = channel.receive(into: room, waits: waits)
                if waits { host.endWaiting() }
                received(outcome, isPayload)
            case .nothing:
                answer(&done)
                flush()
                // What was sent may have made room for requests that waited.
                if !state.withLock({ $0.isPaused && !isFull($0) }) { return end() }
            }
        }
    }

    private func answer(_ done: inout Answers) {
        if done.isEmpty { return }
        // Nobody is there to be answered: what was not begun is not done.
        if isClosed { done.drop() } else { done.finish(host) }
        let finished = done.takeFinished()
        state.withLock { state in
            if let finished { state.output.append(finished) }
            state.output += done.buffers
        }
        done.clear()
        flush()
    }

    // MARK: Taking requests

    private enum Next: @unchecked Sendable {
        // Sendable: the memory is the one thread's that has `isReceiving`.
        case request(IOBuffer, Transmission, isSlow: Bool, hasMore: Bool)
        /// What was taken comes first.
        case answer
        case receive(any Channel, UnsafeMutableRawBufferPointer, isPayload: Bool)
        case nothing
    }

    func isFull(_ state: borrowing State) -> Bool {
        // What has begun is finished, or it would wait for itself.
        if state.requests == 0 || state.partial != nil { return false }
        return state.requests >= host.configuration.connectionRequests || state.requestBytes >= host.configuration.connectionBytes
            || host.buffers.usedBytes >= host.configuration.totalBytes
    }

    /// `wasSlow` tells what became of the request before, of which `finished` is the answer. Who has requests to answer may not wait for more: others could not either.
    private func next(after wasSlow: Bool?, _ finished: IOBuffer?, mayReceive: Bool) -> Next {
        state.withLock { state in
            if let finished { state.output.append(finished) }
            if let wasSlow { state.slowOnes = wasSlow ? state.slowOnes + 1 : 0 }
            state.isPaused = false
            state.isDeferred = false
            guard state.phase == .transmission, let transmission = state.transmission, let input = state.input else { return .nothing }
            state.isPaused = isFull(state)
            if state.isPaused { return .nothing }
            while takeBytes(&state, input) {
                let buffer: IOBuffer
                if let partial = state.partial {
                    buffer = partial
                } else {
                    guard let begun = begin(&state, input, transmission) else { return .nothing }
                    buffer = begun
                }
                // A refusal too waits for the payload to pass: a client looks for no reply before it has sent everything.
                if buffer.filled < buffer.payload || state.skip > 0 {
                    state.partial = buffer
                    continue
                }
                if !mayExecute(buffer) {
                    state.partial = buffer
                    state.isDeferred = true
                    return .nothing
                }
                state.partial = nil
                let hasMore = input.count >= transmission.session.style.requestSize || (state.isReadable && !state.isReceiving)
                return .request(buffer, transmission, isSlow: state.isSlow || Transmission.isSlow(buffer.request), hasMore: hasMore)
            }
            if state.isReceiving || !state.isReadable { return .nothing }
            guard mayReceive else { return .answer }
            state.isReceiving = true
            // The rest of a long payload goes where it belongs.
            if let partial = state.partial, partial.payload - partial.filled >= 16_384 {
                return .receive(state.channel, partial.data(partial.payload).part(partial.filled..<partial.payload), isPayload: true)
            }
            return .receive(state.channel, input.room(), isPayload: false)
        }
    }

    /// False if it is long work and enough threads do such already: then the connection is called when one has finished.
    private func mayExecute(_ buffer: IOBuffer) -> Bool {
        if buffer.refusal == nil && !buffer.isHeavy && Transmission.isHeavy(buffer.request) { buffer.isHeavy = host.beginHeavy(self) }
        return buffer.refusal != nil || buffer.isHeavy == Transmission.isHeavy(buffer.request)
    }

    /// Moves what has come to where it belongs. False if more must come before anything can be done.
    private func takeBytes(_ state: inout State, _ input: ReceiveBuffer) -> Bool {
        if state.skip > 0 {
            let count = Int(min(state.skip, UInt64(input.count)))
            input.drop(count)
            state.skip -= UInt64(count)
            if state.skip > 0 { return false }
        }
        guard let partial = state.partial else { return input.count >= (state.transmission?.session.style.requestSize ?? .max) }
        // Somebody receives into the payload itself.
        if state.isReceiving && input.count == 0 && partial.filled < partial.payload { return false }
        let count = min(partial.payload - partial.filled, input.count)
        if count > 0 {
            partial.data(partial.payload).part(partial.filled..<partial.filled + count).copyMemory(from: input.bytes.part(0..<count))
            partial.filled += count
            input.drop(count)
        }
        return partial.filled == partial.payload
    }

    /// Takes a header off the input. Nil if there is none to take any more.
    private func begin(_ state: inout State, _ input: ReceiveBuffer, _ transmission: Transmission) -> IOBuffer? {
        let session = transmission.session
        guard let request = Request(decoding: input.bytes, session.style) else {
            state.phase = .draining
            host.configuration.log("connection \(number): a request without its magic number")
            return nil
        }
        var refusal = session.refusal(of: request)
        // Before it has any memory.
        let isHeavy = refusal == nil && request.command != .write && Transmission.isHeavy(request)
        if isHeavy && !host.beginHeavy(self) {
            state.isDeferred = true
            return nil
        }
        input.drop(session.style.requestSize)
        if request.command == .disconnect && refusal == nil {
            state.phase = .draining
            state.isFarewell = true
            return nil
        }
        if host.isStopping && !isHeavy { refusal = .shutdown }
        var payload = request.payloadSize(session.style)
        if refusal != nil && payload > 0 {
            // More than any request may have, with a header that has room for it: not meant as a request.
            if session.style == .extended && payload > UInt64(Limits.payload) {
                state.phase = .draining
                return nil
            }
            state.skip = payload
            payload = 0
        }
        let buffer = host.buffers.take(refusal == nil ? transmission.memory(for: request) : 0)
        buffer.begin(request)
        buffer.refusal = refusal
        buffer.isHeavy = isHeavy
        buffer.payload = Int(payload)
        state.requests += 1
        state.requestBytes += buffer.size
        return buffer
    }

    private func received(_ outcome: Socket.Outcome, _ isPayload: Bool) {
        state.withLock { state in
            state.isReceiving = false
            switch outcome {
            case .count(let count):
                if isPayload { state.partial?.filled += count } else { state.input?.put(count) }
                state.progress = host.now()
            case .wouldBlock:
                state.isReadable = false
                if state.phase == .transmission { askForEvent(state) }
            case .closed:
                if state.phase == .transmission { state.phase = .draining }
            }
        }
    }
}
