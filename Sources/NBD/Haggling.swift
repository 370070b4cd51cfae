internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol

/// A connection's handshake: what has come, what is to be sent, and how far it is.
///
/// Used by one thread at a time, the one that has the connection's `isReceiving`.
final class Haggling: @unchecked Sendable {
    // Sendable: see above. `plain` and `exports.host` never change.
    let plain: PlainChannel
    var handshake: ServerHandshake
    var input: [UInt8] = []
    var output: [UInt8]
    /// After the answer is sent.
    var closesThen = false
    var startsTLSThen = false
    var needed = 1
    /// While TLS is being settled.
    var secure: (any SecureChannel)?
    var exports: ConnectionExports
    var session: Session?

    init(_ plain: PlainChannel, peer: Peer, host: ServerState) {
        self.plain = plain
        handshake = ServerHandshake(encryption: host.configuration.security == nil ? .unavailable : .required)
        output = Greeting.bytes
        exports = ConnectionExports(provider: host.provider, peer: peer)
    }

    deinit { exports.take()?.close() }
}

/// What one connection may open.
struct ConnectionExports: ExportDirectory, Sendable {
    let provider: any ExportProvider
    let peer: Peer
    private var opened: (any Export)?

    init(provider: any ExportProvider, peer: Peer) {
        self.provider = provider
        self.peer = peer
    }

    func list() -> [ExportDescription] { provider.list() }
    func describe(_ name: String) throws(OptionRefusal) -> ExportDescription { try provider.describe(name) }
    func contexts(of name: String) -> [String] { provider.contexts(of: name) }

    mutating func open(_ name: String) throws(OptionRefusal) -> ExportDescription {
        let (description, export) = try provider.open(name, by: peer)
        opened = export
        return description
    }

    /// What was opened, once: from then on it is the caller's to close.
    mutating func take() -> (any Export)? {
        defer { opened = nil }
        return opened
    }
}
