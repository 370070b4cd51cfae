internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// The handshake on a socket that never blocks.
extension Connection {
    /// Goes on with the handshake, if no other thread does. True once requests may come.
    func haggle() -> Bool {
        let mayGoOn = state.withLock { state in
            guard state.phase == .handshake, !state.isReceiving else {
                // Whoever is at it looks once more.
                state.edges += 1
                return false
            }
            state.isReceiving = true
            return true
        }
        guard mayGoOn else { return state.withLock { $0.phase } == .transmission }
        while true {
            let edges = state.withLock { $0.edges }
            switch haggleOnce() {
            case .again: continue
            case .wait:
                let hasMore = state.withLock { state in
                    // Something happened while we found nothing to do.
                    if state.edges != edges { return true }
                    state.isReceiving = false
                    return false
                }
                if hasMore { continue }
                return false
            case .close:
                state.withLock { $0.isReceiving = false }
                close()
                return false
            case .transmission:
                beginTransmission()
                return true
            }
        }
    }

    private enum HaggleStep { case again, wait, close, transmission }

    private func haggleOnce() -> HaggleStep {
        if state.withLock({ $0.phase }) == .closed { return .close }
        let haggling = haggling
        let channel: any Channel = haggling.secure ?? haggling.plain
        // Nothing is read before the answer is taken: who asks without listening fills no memory.
        if !haggling.output.isEmpty {
            switch send(haggling.output, channel) {
            case .count(let count):
                haggling.output.removeFirst(count)
                return .again
            case .wouldBlock: return .wait
            case .closed: return .close
            }
        }
        if haggling.closesThen {
            channel.finish()
            return .close
        }
        if let session = haggling.session { return host.mayBegin(self, with: session.export.name) ? .transmission : .wait }
        if haggling.startsTLSThen { return startTLS() }
        if let secure = haggling.secure, !secure.isEstablished { return goOn(secure) }
        if haggling.input.count < haggling.needed { return receive(channel) }
        step()
        return .again
    }

    private func send(_ bytes: [UInt8], _ channel: any Channel) -> Socket.Outcome {
        bytes.withUnsafeBytes { raw in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: 1) { pieces in
                // The memory is only read.
                pieces[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: raw.baseAddress), iov_len: raw.count)
                return channel.send(UnsafeMutableBufferPointer(rebasing: pieces[..<1]))
            }
        }
    }

    private func receive(_ channel: any Channel) -> HaggleStep {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 16) { room in
            // Not more than the next message: what follows it may be meant for TLS.
            let wanted = min(room.count, haggling.needed - haggling.input.count)
            switch channel.receive(into: room.part(0..<wanted)) {
            case .count(let count):
                haggling.input.append(contentsOf: room[..<count])
                return .again
            case .wouldBlock: return .wait
            case .closed: return .close
            }
        }
    }

    /// Takes a message off what has come.
    private func step() {
        let haggling = haggling
        haggling.handshake.isStopping = host.isStopping
        let step = haggling.input.withUnsafeBytes { haggling.handshake.step($0, &haggling.exports, &haggling.output) }
        haggling.needed = 1
        switch step {
        case .needs(let count): haggling.needed = count
        case .taken(let count): haggling.input.removeFirst(count)
        case .startTLS(let count):
            haggling.input.removeFirst(count)
            haggling.startsTLSThen = true
        case .transmission(let count, let session):
            haggling.input.removeFirst(count)
            haggling.session = session
        case .close(let why):
            haggling.closesThen = true
            if why != .asked { host.configuration.log("connection \(number): closed in its handshake: \(why)") }
        }
    }

    private func startTLS() -> HaggleStep {
        let haggling = haggling
        haggling.startsTLSThen = false
        // Bytes that came before TLS are not to be taken for what came through it.
        guard haggling.input.isEmpty, let secure = host.configuration.security?.begin(over: haggling.plain) else { return .close }
        haggling.secure = secure
        return .again
    }

    private func goOn(_ secure: any SecureChannel) -> HaggleStep {
        switch secure.handshake() {
        case .count:
            haggling.handshake.didStartTLS()
            return .again
        case .wouldBlock: return .wait
        case .closed:
            host.configuration.log("connection \(number): TLS failed: \(secure.failure)")
            return .close
        }
    }

    private func beginTransmission() {
        guard let session = haggling.session, let export = haggling.exports.take() else {
            preconditionFailure("a session without an export")
        }
        let input = ReceiveBuffer(capacity: ReceiveBuffer.size)
        input.room().copyBytes(from: haggling.input)
        input.put(haggling.input.count)
        haggling.input = []
        haggling.plain.socket.tuneForRequests()
        let channel: any Channel = haggling.secure ?? haggling.plain
        channel.prepareToWait()
        state.withLock { state in
            state.channel = channel
            state.transmission = Transmission(session: session, export: export)
            state.input = input
            state.isReceiving = false
            state.isReadable = true
            state.progress = host.now()
            if state.phase == .handshake { state.phase = .transmission }
        }
        host.didBegin(self)
    }
}
