internal import Glibc

/// The error numbers of the protocol. They look like Linux's and are not: only these eight exist.
public enum WireError: UInt32, Error, Sendable, CaseIterable {
    case notPermitted = 1
    case input = 5
    case memory = 12
    case invalid = 22
    case noSpace = 28
    case overflow = 75
    case notSupported = 95
    case shutdown = 108

    /// The one place an errno becomes a number of the protocol.
    ///
    /// No space stays apart from every other failure, for that is what a client pauses for instead of giving up.
    public init(errno: Int32) {
        switch errno {
        case EPERM, EACCES, EROFS: self = .notPermitted
        case ENOMEM: self = .memory
        case EINVAL: self = .invalid
        case ENOSPC, EDQUOT, EFBIG: self = .noSpace
        case EOVERFLOW: self = .overflow
        case EOPNOTSUPP: self = .notSupported
        case ESHUTDOWN: self = .shutdown
        default: self = .input
        }
    }

    /// The errno that a client makes of it. A number that does not exist is taken for EINVAL, as the protocol wants.
    public static func errno(_ number: UInt32) -> Int32 {
        switch WireError(rawValue: number) {
        case .notPermitted: EPERM
        case .input: EIO
        case .memory: ENOMEM
        case .invalid, nil: EINVAL
        case .noSpace: ENOSPC
        case .overflow: EOVERFLOW
        case .notSupported: EOPNOTSUPP
        case .shutdown: ESHUTDOWN
        }
    }
}
