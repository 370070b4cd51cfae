/// What a server sends for a request: one simple reply, or chunks of which the last says that it is the last.
///
///     offset  size  simple           structured       extended
///          0     4  0x67446698       0x668e33ef       0x6e8a278c
///          4     4  error            flags, type      flags, type     two bytes each
///          8     8  cookie           cookie           cookie
///         16        data             length, 4        offset, 8       of the request
///         24                                          length, 8
public struct Reply: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// A simple reply: only its request tells whether data follows it.
        case simple(error: UInt32)
        case chunk(Chunk)
    }

    /// Types of chunks.
    public enum Chunk: UInt16, Sendable, CaseIterable {
        case none = 0, offsetData = 1, offsetHole = 2, blockStatus = 5, blockStatusExtended = 6
        case error = 0x8001, errorOffset = 0x8002
    }

    public var kind: Kind
    public var isDone: Bool
    public var cookie: UInt64
    /// Of the request; only extended replies carry it.
    public var offset: UInt64 = 0
    /// Bytes that follow the header; 0 for a simple reply.
    public var length: UInt64

    private static let simpleMagic: UInt32 = 0x6744_6698, structuredMagic: UInt32 = 0x668e_33ef, extendedMagic: UInt32 = 0x6e8a_278c

    public init(kind: Kind, isDone: Bool = true, cookie: UInt64, offset: UInt64 = 0, length: UInt64 = 0) {
        self.kind = kind
        self.isDone = isDone
        self.cookie = cookie
        self.offset = offset
        self.length = length
    }

    /// Writes the header to the start of `bytes` and returns its size.
    public func encode(_ style: ReplyStyle, into bytes: UnsafeMutableRawBufferPointer) -> Int {
        switch kind {
        case .simple(let error):
            bytes.storeNetwork(Self.simpleMagic, at: 0)
            bytes.storeNetwork(error, at: 4)
            bytes.storeNetwork(cookie, at: 8)
            return ReplyStyle.simple.replySize
        case .chunk(let type):
            bytes.storeNetwork(style == .extended ? Self.extendedMagic : Self.structuredMagic, at: 0)
            bytes.storeNetwork(UInt16(isDone ? 1 : 0), at: 4)
            bytes.storeNetwork(type.rawValue, at: 6)
            bytes.storeNetwork(cookie, at: 8)
            if style == .extended {
                bytes.storeNetwork(offset, at: 16)
                bytes.storeNetwork(length, at: 24)
            } else {
                bytes.storeNetwork(UInt32(length), at: 16)
            }
            return style.replySize
        }
    }

    /// Why a reply cannot be understood: nobody knows where the next one begins.
    public enum Malformed: Error, Sendable { case magic, type }

    /// Bytes of the header that begins `bytes`, of which four are there: a structured session has simple replies too.
    public static func headerSize(_ bytes: UnsafeRawBufferPointer, _ style: ReplyStyle) -> Int {
        style == .structured && bytes.network(at: 0, as: UInt32.self) == simpleMagic ? 16 : style.replySize
    }

    /// Decodes a whole header. A chunk of an unknown type is `.error` if its number says that it is one.
    public init(decoding bytes: UnsafeRawBufferPointer, _ style: ReplyStyle) throws(Malformed) {
        precondition(bytes.count >= Self.headerSize(bytes, style), "a reply's header is decoded whole")
        let magic: UInt32 = bytes.network(at: 0)
        cookie = bytes.network(at: 8)
        switch (magic, style) {
        case (Self.simpleMagic, .simple), (Self.simpleMagic, .structured):
            kind = .simple(error: bytes.network(at: 4))
            isDone = true
            length = 0
            return
        case (Self.structuredMagic, .structured): length = UInt64(bytes.network(at: 16, as: UInt32.self))
        case (Self.extendedMagic, .extended):
            offset = bytes.network(at: 16)
            length = bytes.network(at: 24)
        default: throw .magic
        }
        isDone = bytes.network(at: 4, as: UInt16.self) & 1 != 0
        let number: UInt16 = bytes.network(at: 6)
        if let type = Chunk(rawValue: number) {
            kind = .chunk(type)
        } else {
            guard number & 0x8000 != 0 else { throw .type }
            kind = .chunk(.error)
        }
    }
}
