internal import Glibc

/// Why a device over the network cannot be used.
public enum RemoteProblem: Equatable, Sendable {
    /// Nobody answers at the address.
    case unreachable(errno: Int32)
    case unknownHost
    /// No answer within the time that an operation has.
    case timedOut
    /// What answers does not speak the protocol, or breaks it.
    case notAServer
    /// It has no export of that name.
    case noExport
    /// It ended the connection before anything was agreed upon.
    case hungUp
    /// It wants TLS and none was asked for; it has none; it could not be settled.
    case needsTLS, hasNoTLS, tlsFailed
    /// For another reason, that only its own words say.
    case refused
    /// It cannot make anything durable.
    case hasNoFlush
    /// Who answers now does not have what was written and flushed before.
    case isAnother
    /// What had been written before the connection broke could not be written again.
    case lostWrites(errno: Int32)

    var errno: Int32 {
        switch self {
        case .unreachable(let errno): errno
        case .unknownHost: EHOSTUNREACH
        case .timedOut: ETIMEDOUT
        case .noExport: ENOENT
        case .needsTLS, .hasNoTLS, .tlsFailed, .refused: ECONNREFUSED
        case .hungUp: ECONNRESET
        case .hasNoFlush: EOPNOTSUPP
        case .notAServer: EPROTO
        case .isAnother, .lostWrites: EIO
        }
    }
}
