/// Lays out the replies to one request in memory that the caller provides. Each function returns how many bytes it wrote.
public struct ReplyWriter: Sendable {
    public var style: ReplyStyle
    public var cookie: UInt64
    /// Of the request.
    public var offset: UInt64

    public init(_ style: ReplyStyle, to request: Request) {
        self.style = style
        cookie = request.cookie
        offset = request.offset
    }

    /// Bytes before the data of a whole successful read.
    public var dataPrefix: Int { style == .simple ? 16 : style.replySize + 8 }
    /// The most that anything but a read or a block status writes.
    public static let maximumFixed = 64

    private func chunk(_ type: Reply.Chunk, isDone: Bool = true, length: Int, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        Reply(kind: .chunk(type), isDone: isDone, cookie: cookie, offset: offset, length: UInt64(length)).encode(style, into: bytes)
    }

    /// Success without data.
    public func done(_ bytes: UnsafeMutableRawBufferPointer) -> Int {
        if style == .simple { return Reply(kind: .simple(error: 0), cookie: cookie).encode(style, into: bytes) }
        return chunk(.none, length: 0, bytes)
    }

    /// Failure as a whole.
    public func error(_ error: WireError, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        if style == .simple { return Reply(kind: .simple(error: error.rawValue), cookie: cookie).encode(style, into: bytes) }
        let header = chunk(.error, length: 6, bytes)
        bytes.storeNetwork(error.rawValue, at: header)
        bytes.storeNetwork(UInt16(0), at: header + 4)
        return header + 6
    }

    /// Failure at one place. Only for chunks.
    public func error(_ error: WireError, at place: UInt64, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        precondition(style != .simple, "a simple reply has no place for an offset")
        let header = chunk(.errorOffset, length: 14, bytes)
        bytes.storeNetwork(error.rawValue, at: header)
        bytes.storeNetwork(UInt16(0), at: header + 4)
        bytes.storeNetwork(place, at: header + 6)
        return header + 14
    }

    /// What comes before `count` bytes of data read from `place`.
    public func data(at place: UInt64, count: Int, isDone: Bool = true, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        if style == .simple { return Reply(kind: .simple(error: 0), cookie: cookie).encode(style, into: bytes) }
        let header = chunk(.offsetData, isDone: isDone, length: 8 + count, bytes)
        bytes.storeNetwork(place, at: header)
        return header + 8
    }

    /// `count` bytes of zeros at `place`. Only for chunks.
    public func hole(at place: UInt64, count: Int, isDone: Bool = true, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        precondition(style != .simple, "a simple reply has no place for a hole")
        let header = chunk(.offsetHole, isDone: isDone, length: 12, bytes)
        bytes.storeNetwork(place, at: header)
        bytes.storeNetwork(UInt32(count), at: header + 8)
        return header + 12
    }

    // MARK: Block status

    /// Bytes before the extents of a block status chunk, and of each extent.
    public var statusPrefix: Int { style == .extended ? 32 + 8 : 20 + 4 }
    public var extentSize: Int { style == .extended ? 16 : 8 }

    /// What comes before `count` extents of one context.
    public func status(context: UInt32, count: Int, isDone: Bool, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let isExtended = style == .extended
        let header = chunk(
            isExtended ? .blockStatusExtended : .blockStatus, isDone: isDone, length: statusPrefix - style.replySize + count * extentSize,
            bytes)
        bytes.storeNetwork(context, at: header)
        if isExtended { bytes.storeNetwork(UInt32(count), at: header + 4) }
        return statusPrefix
    }

    /// One extent. A compact one is at most 2^32 - 1 bytes long: the caller cuts it.
    public func extent(_ length: UInt64, flags: UInt32, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        if style == .extended {
            bytes.storeNetwork(length, at: 0)
            bytes.storeNetwork(UInt64(flags), at: 8)
        } else {
            bytes.storeNetwork(UInt32(length), at: 0)
            bytes.storeNetwork(flags, at: 4)
        }
        return extentSize
    }

    /// The longest extent that can be said.
    public var longestExtent: UInt64 { style == .extended ? .max : UInt64(UInt32.max) & ~0xffff }
}
