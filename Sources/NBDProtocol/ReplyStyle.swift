/// How requests and replies are framed, as the handshake has settled it.
public enum ReplyStyle: Sendable, CaseIterable {
    /// 28-byte requests, 16-byte replies.
    case simple
    /// 28-byte requests, 20-byte chunks; a reply without data may still be simple, ours is not.
    case structured
    /// 32 bytes each.
    case extended

    /// Bytes of a request's header.
    public var requestSize: Int { self == .extended ? 32 : 28 }

    /// Bytes of a reply's or chunk's header.
    public var replySize: Int {
        switch self {
        case .simple: 16
        case .structured: 20
        case .extended: 32
        }
    }
}
