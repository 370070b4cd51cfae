/// What a request asks for.
public enum Command: UInt16, Sendable, CaseIterable {
    case read = 0, write = 1, disconnect = 2, flush = 3, trim = 4, cache = 5, writeZeroes = 6, blockStatus = 7

    /// True if it changes the export.
    public var writes: Bool { self == .write || self == .trim || self == .writeZeroes }
}

/// Flags of a request.
public struct CommandFlags: OptionSet, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Durable before the reply.
    public static let fua = CommandFlags(rawValue: 1 << 0)
    /// Zeroes, but keep the space.
    public static let noHole = CommandFlags(rawValue: 1 << 1)
    public static let dontFragment = CommandFlags(rawValue: 1 << 2)
    /// One extent of each context.
    public static let requestOne = CommandFlags(rawValue: 1 << 3)
    /// Zeroes, but only if that is faster than writing them.
    public static let fastZero = CommandFlags(rawValue: 1 << 4)
    /// The length is that of a payload behind an extended header.
    public static let payloadLength = CommandFlags(rawValue: 1 << 5)
}
