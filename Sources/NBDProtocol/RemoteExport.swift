/// An export as its client knows it once the handshake is over.
public struct RemoteExport: Equatable, Sendable {
    /// Bytes.
    public var size: UInt64
    public var flags: TransmissionFlags
    public var style = ReplyStyle.simple
    /// What offsets and lengths are multiples of: a power of two, up to 64 KiB.
    public var minimumBlock: UInt32 = 1
    /// The most data of one read or write, a multiple of `minimumBlock`.
    public var maximumPayload: UInt32 = Limits.payload

    /// Bytes in whole blocks.
    public var usableSize: UInt64 { size & ~UInt64(minimumBlock - 1) }
    public var isReadOnly: Bool { flags.contains(.readOnly) }

    init(size: UInt64, flags: TransmissionFlags) {
        self.size = size
        self.flags = flags
    }

    /// Takes a server's three sizes: the smallest, the preferred, the largest. False if they mean nothing.
    mutating func setBlockSizes(minimum: UInt32, preferred: UInt32, maximum: UInt32) -> Bool {
        guard minimum > 0, minimum & (minimum - 1) == 0, minimum <= 65_536, preferred & (preferred &- 1) == 0, preferred >= minimum,
            maximum >= minimum
        else { return false }
        minimumBlock = minimum
        maximumPayload = min(maximum, Limits.payload) & ~(minimum - 1)
        return true
    }
}
