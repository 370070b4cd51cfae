/// The header of a request.
///
///     offset  size  field            extended
///          0     4  magic            0x25609513    0x21e41c71
///          4     2  flags
///          6     2  command
///          8     8  cookie           returned in the reply
///         16     8  offset
///         24     4  length           8 bytes
public struct Request: Equatable, Sendable {
    public var flags: CommandFlags
    /// The number as it came, as it may mean nothing.
    public var code: UInt16
    public var cookie: UInt64
    public var offset: UInt64
    public var length: UInt64

    private enum Offset { static let magic = 0, flags = 4, command = 6, cookie = 8, offset = 16, length = 24 }
    static let magic: UInt32 = 0x2560_9513, extendedMagic: UInt32 = 0x21e4_1c71

    public init(_ command: Command, flags: CommandFlags = [], cookie: UInt64, offset: UInt64 = 0, length: UInt64 = 0) {
        self.flags = flags
        code = command.rawValue
        self.cookie = cookie
        self.offset = offset
        self.length = length
    }

    public var command: Command? { Command(rawValue: code) }

    /// Nil if the magic number is wrong: then nobody knows where the next request begins. `bytes` has a whole header.
    public init?(decoding bytes: UnsafeRawBufferPointer, _ style: ReplyStyle) {
        precondition(bytes.count >= style.requestSize, "a request's header is decoded whole")
        guard bytes.network(at: Offset.magic) == (style == .extended ? Self.extendedMagic : Self.magic) else { return nil }
        flags = CommandFlags(rawValue: bytes.network(at: Offset.flags))
        code = bytes.network(at: Offset.command)
        cookie = bytes.network(at: Offset.cookie)
        offset = bytes.network(at: Offset.offset)
        length = style == .extended
            ? bytes.network(at: Offset.length) : UInt64(bytes.network(at: Offset.length, as: UInt32.self))
    }

    /// Writes the header to the start of `bytes` and returns its size. In a compact header the length has 32 bits.
    public func encode(_ style: ReplyStyle, into bytes: UnsafeMutableRawBufferPointer) -> Int {
        bytes.storeNetwork(style == .extended ? Self.extendedMagic : Self.magic, at: Offset.magic)
        bytes.storeNetwork(flags.rawValue, at: Offset.flags)
        bytes.storeNetwork(code, at: Offset.command)
        bytes.storeNetwork(cookie, at: Offset.cookie)
        bytes.storeNetwork(offset, at: Offset.offset)
        if style == .extended {
            bytes.storeNetwork(length, at: Offset.length)
        } else {
            bytes.storeNetwork(UInt32(length), at: Offset.length)
        }
        return style.requestSize
    }

    /// Bytes of data that follow the header, whatever is wrong with the request: they must be taken off the stream.
    public func payloadSize(_ style: ReplyStyle) -> UInt64 {
        switch style {
        case .simple, .structured: command == .write ? length : 0
        case .extended: flags.contains(.payloadLength) ? length : 0
        }
    }
}
