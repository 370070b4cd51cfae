internal import LinuxIO

/// A channel that is to be settled before it carries anything.
protocol SecureChannel: Channel {
    var isEstablished: Bool { get }
    /// Goes on with it: `.count` once it is established, `.closed` if it cannot be.
    func handshake() -> Socket.Outcome
    /// Why it could not be established, for the log.
    var failure: String { get }
}
