internal import BlockStorage
internal import Glibc
internal import NBDProtocol

/// About a millisecond, for other threads.
func rest() { usleep(1000) }

/// The simplest client: a blocking socket and messages made by hand. What does not come within half a minute never does.
final class WireClient {
    let descriptor: Int32
    var style = ReplyStyle.simple

    enum Failure: Error { case ended, refused(UInt32) }

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var time = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard result == 0 else { throw Failure.ended }
    }

    deinit { close(descriptor) }

    func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { throw Failure.ended }
            done += count
        }
    }

    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count), done = 0
        while done < count {
            let got = bytes[done...].withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) }
            guard got > 0 else { throw Failure.ended }
            done += got
        }
        return bytes
    }

    /// True if the server has closed the connection, as it is expected to.
    func isClosed() -> Bool {
        var byte: UInt8 = 0
        return recv(descriptor, &byte, 1, 0) == 0 || errno == ECONNRESET
    }

    // MARK: Handshake

    static func network<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

    static func option(_ code: OptionCode, _ data: [UInt8] = []) -> [UInt8] {
        Array("IHAVEOPT".utf8) + network(code.rawValue) + network(UInt32(data.count)) + data
    }

    static let go = option(.go, network(UInt32(4)) + Array("disk".utf8) + [0, 0])

    /// Sends an option and returns the data of its last answer.
    @discardableResult func option(_ code: OptionCode, _ data: [UInt8] = []) throws -> [UInt8] {
        try send(Self.option(code, data))
        while true {
            let header = try receive(20)
            let reply = header[12..<16].reduce(0) { $0 << 8 | UInt32($1) }, length = header[16..<20].reduce(0) { $0 << 8 | Int($1) }
            let data = try receive(length)
            if reply & 0x8000_0000 != 0 { throw Failure.refused(reply) }
            if reply == OptionReply.acknowledged.rawValue { return data }
        }
    }

    func greet() throws {
        _ = try receive(18)
        try send([0, 0, 0, 3])
    }

    /// The whole handshake.
    func begin(_ style: ReplyStyle = .simple, contexts: [String] = []) throws {
        self.style = style
        try greet()
        if style == .structured { try option(.structuredReply) }
        if style == .extended { try option(.extendedHeaders) }
        if !contexts.isEmpty {
            try option(
                .setMetaContext,
                Self.network(UInt32(4)) + Array("disk".utf8) + Self.network(UInt32(contexts.count))
                    + contexts.flatMap { Self.network(UInt32($0.utf8.count)) + Array($0.utf8) })
        }
        try option(.go, Self.network(UInt32(4)) + Array("disk".utf8) + [0, 0])
    }

    // MARK: Requests

    static func bytes(_ request: Request, _ style: ReplyStyle, _ payload: [UInt8] = []) -> [UInt8] {
        var header = [UInt8](repeating: 0, count: style.requestSize)
        _ = header.withUnsafeMutableBytes { request.encode(style, into: $0) }
        return header + payload
    }

    func send(_ command: Command, _ flags: CommandFlags = [], cookie: UInt64 = 1, at offset: UInt64 = 0, _ length: UInt64 = 0, payload: [UInt8] = []) throws {
        try send(Self.bytes(Request(command, flags: flags, cookie: cookie, offset: offset, length: length), style, payload))
    }

    struct Answer: Equatable {
        var cookie: UInt64 = 0
        var error: UInt32 = 0
        /// Data of a simple reply, or the payloads of chunks that are not errors.
        var chunks: [[UInt8]] = []
    }

    /// The next whole reply; `count` bytes of data follow a simple one that succeeded.
    func answer(_ count: Int = 0) throws -> Answer {
        var answer = Answer()
        while true {
            var header = try receive(4)
            header += try receive(header.withUnsafeBytes { Reply.headerSize($0, style) } - 4)
            let reply = try header.withUnsafeBytes { try Reply(decoding: $0, style) }
            answer.cookie = reply.cookie
            switch reply.kind {
            case .simple(let error):
                answer.error = error
                if error == 0 && count > 0 { answer.chunks.append(try receive(count)) }
            case .chunk(.error), .chunk(.errorOffset):
                answer.error = try receive(Int(reply.length)).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
            case .chunk(.none): break
            case .chunk: answer.chunks.append(try receive(Int(reply.length)))
            }
            if reply.isDone { return answer }
        }
    }

    /// A request and its reply's error.
    func ask(_ command: Command, _ flags: CommandFlags = [], at offset: UInt64 = 0, _ length: UInt64 = 0, payload: [UInt8] = []) throws -> UInt32 {
        try send(command, flags, at: offset, length, payload: payload)
        return try answer(command == .read ? Int(length) : 0).error
    }
}
