internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBDProtocol

/// Connecting to a server, up to where requests can be sent. One thread's.
struct ClientNegotiation {
    let plain: PlainChannel
    private(set) var channel: any Channel
    let input = ReceiveBuffer(capacity: ReceiveBuffer.size)
    private let deadline: UInt64

    /// Connects and agrees on everything, before `deadline`. Throws `.remote`; what a server that refuses says of it is told to `words`.
    static func connect(
        to location: NBDLocation, _ security: ClientTLS?, number: UInt64, best: ReplyStyle, deadline: UInt64, words: (String) -> Void
    ) throws(PoolError) -> ClientConnection {
        var negotiation = ClientNegotiation(
            PlainChannel(try Socket.connected(to: location.address, deadline: deadline)), deadline: deadline)
        let export = try negotiation.run(location, security, best, words)
        return try ClientConnection(number: number, negotiation, export, patience: UInt64(location.timeout) * 1_000_000_000)
    }

    private init(_ plain: PlainChannel, deadline: UInt64) {
        self.plain = plain
        channel = plain
        self.deadline = deadline
    }

    private mutating func run(_ location: NBDLocation, _ security: ClientTLS?, _ best: ReplyStyle, _ words: (String) -> Void) throws(PoolError) -> RemoteExport {
        var handshake = ClientHandshake(export: location.export, wantsTLS: location.isEncrypted, best: best)
        while true {
            var output: [UInt8] = []
            let step = handshake.step(input.bytes, &output)
            try send(output)
            switch step {
            case .needs: try receive()
            case .taken(let count): input.drop(count)
            case .startTLS(let count):
                input.drop(count)
                // What comes in the clear behind it was put there by somebody else.
                guard input.count == 0, let security else { throw .remote(.tlsFailed) }
                try encrypt(security)
                var output: [UInt8] = []
                handshake.didStartTLS(&output)
                try send(output)
            case .ready(let count, let export):
                input.drop(count)
                return export
            case .failed(let refusal): throw .remote(Self.problem(refusal, words))
            }
        }
    }

    private static func problem(_ refusal: ClientHandshake.Refusal, _ words: (String) -> Void) -> RemoteProblem {
        switch refusal {
        case .malformed, .oldStyle: return .notAServer
        case .needsTLS: return .needsTLS
        case .hasNoTLS: return .hasNoTLS
        case .unknownExport(let text):
            words(text)
            return .noExport
        case .refused(let text):
            words(text)
            return .refused
        }
    }

    private mutating func encrypt(_ security: ClientTLS) throws(PoolError) {
        guard let secure = security.begin(over: plain) else { throw .system(.connect, errno: ENOMEM) }
        while true {
            switch secure.handshake() {
            case .count:
                channel = secure
                return
            case .wouldBlock: guard plain.socket.waitToReceive(until: deadline) else { throw .remote(.timedOut) }
            case .closed: throw .remote(.tlsFailed)
            }
        }
    }

    private func send(_ bytes: [UInt8]) throws(PoolError) {
        var done = 0
        while done < bytes.count {
            let outcome = bytes[done...].withUnsafeBytes { bytes in
                var piece = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
                return withUnsafeMutablePointer(to: &piece) { channel.send(UnsafeMutableBufferPointer(start: $0, count: 1)) }
            }
            switch outcome {
            case .count(let count): done += count
            case .closed: throw .remote(.hungUp)
            case .wouldBlock: guard plain.socket.waitToSend(until: deadline) else { throw .remote(.timedOut) }
            }
        }
    }

    private func receive() throws(PoolError) {
        while true {
            switch channel.receive(into: input.room()) {
            case .count(let count): return input.put(count)
            case .closed: throw .remote(.hungUp)
            case .wouldBlock: guard plain.socket.waitToReceive(until: deadline) else { throw .remote(.timedOut) }
            }
        }
    }
}
