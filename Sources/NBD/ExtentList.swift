internal import BlockStorage
internal import NBDProtocol

/// The extents of one block status chunk: neighbours with the same flags are one, and one that is too long is several.
struct ExtentList {
    private let writer: ReplyWriter
    private let limit: Int
    private let bytes: UnsafeMutableRawBufferPointer
    private var count = 0
    private var open: (length: UInt64, flags: UInt32)?

    init(_ writer: ReplyWriter, limit: Int, _ bytes: UnsafeMutableRawBufferPointer) {
        self.writer = writer
        self.limit = limit
        self.bytes = bytes
    }

    /// False once no more is wanted.
    mutating func add(_ length: UInt64, _ flags: UInt32) -> Bool {
        guard length > 0 else { return count < limit }
        if let last = open, last.flags == flags {
            open = (last.length + length, flags)
        } else {
            put()
            open = (length, flags)
        }
        return count < limit
    }

    private mutating func put() {
        guard var rest = open?.length, let flags = open?.flags else { return }
        open = nil
        while rest > 0 && count < limit {
            let length = min(rest, writer.longestExtent)
            let at = count * writer.extentSize
            _ = writer.extent(length, flags: flags, bytes.part(at..<at + writer.extentSize))
            count += 1
            rest -= length
        }
    }

    /// How many there are, and how many bytes they take.
    mutating func finish() -> (count: Int, size: Int) {
        put()
        return (count, count * writer.extentSize)
    }
}
