/// Options of the handshake.
public enum OptionCode: UInt32, Sendable, CaseIterable {
    case exportName = 1, abort = 2, list = 3, startTLS = 5, info = 6, go = 7, structuredReply = 8
    case listMetaContext = 9, setMetaContext = 10, extendedHeaders = 11
}

/// What an option is answered with; from bit 31 on, errors.
public enum OptionReply: UInt32, Error, Sendable, CaseIterable {
    case acknowledged = 1, server = 2, info = 3, metaContext = 4
    case unsupported = 0x8000_0001, policy = 0x8000_0002, invalid = 0x8000_0003, platform = 0x8000_0004
    case tlsRequired = 0x8000_0005, unknown = 0x8000_0006, shutdown = 0x8000_0007, blockSizeRequired = 0x8000_0008
    case tooBig = 0x8000_0009, extendedHeadersRequired = 0x8000_000a

    public var isError: Bool { rawValue & 0x8000_0000 != 0 }
}

/// Pieces of information about an export.
public enum InfoType: UInt16, Sendable {
    case export = 0, name = 1, description = 2, blockSize = 3
}

/// Magic numbers and flags of the handshake.
public enum Greeting {
    /// "NBDMAGIC"
    public static let magic: UInt64 = 0x4e42_444d_4147_4943
    /// "IHAVEOPT"
    public static let option: UInt64 = 0x4948_4156_454f_5054
    public static let reply: UInt64 = 0x0003_e889_0455_65a9
    /// Fixed newstyle and no zeroes: of the server's sixteen bits and of the client's thirty-two.
    public static let fixedNewstyle: UInt16 = 1, noZeroes: UInt16 = 2

    /// What a server says first.
    public static let bytes: [UInt8] = {
        var bytes: [UInt8] = []
        bytes.appendNetwork(magic)
        bytes.appendNetwork(option)
        bytes.appendNetwork(fixedNewstyle | noZeroes)
        return bytes
    }()
}
