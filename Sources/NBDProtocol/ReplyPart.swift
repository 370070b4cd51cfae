internal import BlockStorage

/// What a client takes off the stream of replies at once: a simple reply, or a chunk without the data in it.
public struct ReplyPart: Equatable, Sendable {
    public enum Body: Equatable, Sendable {
        /// Data follows if the request was a read and the error is 0.
        case simple(error: UInt32)
        case none
        /// So many bytes of data follow, of that offset in the export.
        case data(offset: UInt64, count: UInt64)
        /// Zeros.
        case hole(offset: UInt64, count: UInt64)
        case error(UInt32)
    }

    public var cookie: UInt64
    /// Nothing more comes for the request.
    public var isDone: Bool
    public var body: Body

    public init(cookie: UInt64, isDone: Bool, body: Body) {
        self.cookie = cookie
        self.isDone = isDone
        self.body = body
    }

    /// Where nobody knows what the bytes mean, and so not where the next reply begins.
    public enum Malformed: Error, Sendable { case magic, type, length }

    public enum Next: Equatable, Sendable {
        /// Nothing was taken: so many bytes are needed.
        case needs(Int)
        /// So many bytes were taken.
        case part(Int, ReplyPart)
    }

    /// The most that `next` needs.
    public static let longest = 32 + 14 + Int(Limits.string)

    /// Takes one off the front of `input`.
    public static func next(_ input: UnsafeRawBufferPointer, _ style: ReplyStyle) throws(Malformed) -> Next {
        guard input.count >= 4 else { return .needs(16) }
        let header = Reply.headerSize(input, style)
        guard input.count >= header else { return .needs(header) }
        let reply: Reply
        do throws(Reply.Malformed) {
            reply = try Reply(decoding: input, style)
        } catch {
            throw error == .magic ? .magic : .type
        }
        switch reply.kind {
        case .simple(let error): return .part(header, ReplyPart(cookie: reply.cookie, isDone: true, body: .simple(error: error)))
        case .chunk(let type):
            guard let size = bodySize(type, reply) else { throw type == .blockStatus || type == .blockStatusExtended ? .type : .length }
            let whole = header + size
            guard input.count >= whole else { return .needs(whole) }
            let body = try body(type, reply, input.part(header..<whole))
            return .part(whole, ReplyPart(cookie: reply.cookie, isDone: reply.isDone, body: body))
        }
    }

    /// Bytes of a chunk's payload that are taken with its header; nil if it cannot be so long.
    private static func bodySize(_ type: Reply.Chunk, _ reply: Reply) -> Int? {
        switch type {
        case .none: reply.length == 0 && reply.isDone ? 0 : nil
        case .offsetData: reply.length > 8 ? 8 : nil
        case .offsetHole: reply.length == 12 ? 12 : nil
        case .error, .errorOffset: (6...14 + UInt64(Limits.string)).contains(reply.length) ? Int(reply.length) : nil
        // Never asked for.
        case .blockStatus, .blockStatusExtended: nil
        }
    }

    private static func body(_ type: Reply.Chunk, _ reply: Reply, _ payload: UnsafeRawBufferPointer) throws(Malformed) -> Body {
        switch type {
        case .offsetData: return .data(offset: payload.network(at: 0), count: reply.length - 8)
        case .offsetHole: return .hole(offset: payload.network(at: 0), count: UInt64(payload.network(at: 8, as: UInt32.self)))
        case .error, .errorOffset:
            // An error of an unknown type may have more behind its text.
            guard 6 + Int(payload.network(at: 4, as: UInt16.self)) <= payload.count else { throw .length }
            let number: UInt32 = payload.network(at: 0)
            // No error is one all the same.
            return .error(number == 0 ? WireError.input.rawValue : number)
        default: return .none
        }
    }
}
