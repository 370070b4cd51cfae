public import LinuxIO

/// A server, an export and how to reach them, as an NBD URI says it: `nbd://HOST[:PORT]/EXPORT`,
/// `nbd+unix:///EXPORT?socket=PATH`, and `nbds` for either with TLS.
public struct NBDLocation: Equatable, Sendable {
    /// Why a text is no such URI.
    public enum Malformed: Error, Equatable, Sendable {
        case scheme, escape, host, port, fragment, exportTooLong
        case noSocket, relativeSocket, hostAndSocket
        case parameter(String), value(String), needsTLS(String)
    }

    /// The URI, as it was given.
    public private(set) var text: String
    public private(set) var address: SocketAddress
    public private(set) var export: String
    public private(set) var isEncrypted: Bool
    /// Directory of certificates; with TLS and neither this nor a key file, what the system trusts.
    public private(set) var certificates: String?
    /// A file of lines `USER:HEXKEY`, and who we are in it.
    public private(set) var keyFile: String?
    public private(set) var user: String?
    /// What the server's certificate must be for; the host, unless this says another.
    public private(set) var hostName: String?
    /// Seconds that a request may stay unanswered before its connection is given up.
    public private(set) var timeout = 30
    /// Seconds beyond that for which an operation waits for another connection. With 0 a connection that breaks is the end.
    public private(set) var reconnect = 120

    private static let port: UInt16 = 10809
    private static let schemes = ["nbd", "nbds", "nbd+unix", "nbds+unix"]

    /// Whether a text is meant as such a URI, and not as a path.
    public static func isMeant(_ text: String) -> Bool {
        guard let end = text.firstRange(of: "://") else { return false }
        return text[..<end.lowerBound].hasPrefix("nbd")
    }

    public init(parsing text: String) throws(Malformed) {
        self.text = text
        guard let mark = text.firstRange(of: "://"), case let scheme = String(text[..<mark.lowerBound]), Self.schemes.contains(scheme)
        else { throw .scheme }
        let rest = text[mark.upperBound...]
        if rest.contains("#") { throw .fragment }
        let query = rest.firstIndex(of: "?"), whole = rest[..<(query ?? rest.endIndex)]
        let slash = whole.firstIndex(of: "/"), authority = whole[..<(slash ?? whole.endIndex)]
        export = try slash.map { index throws(Malformed) in try Self.decoded(whole[whole.index(after: index)...]) } ?? ""
        guard export.utf8.count <= 4096 else { throw .exportTooLong }
        isEncrypted = scheme.hasPrefix("nbds")
        address = .unix("")
        var host = authority
        if let at = authority.lastIndex(of: "@") {
            user = try Self.decoded(authority[..<at])
            host = authority[authority.index(after: at)...]
        }
        var socket: String?
        for pair in query.map({ rest[rest.index(after: $0)...].split(separator: "&") }) ?? [] { try take(pair, &socket) }
        if scheme.hasSuffix("+unix") {
            guard host.isEmpty else { throw .hostAndSocket }
            guard let socket, !socket.isEmpty else { throw .noSocket }
            // A daemon has another directory than who started it.
            guard socket.hasPrefix("/") else { throw .relativeSocket }
            address = .unix(socket)
        } else {
            if socket != nil { throw .hostAndSocket }
            address = try Self.network(host)
        }
        if !isEncrypted, let name = (certificates != nil ? "tls-certificates" : keyFile != nil ? "tls-psk-file" : nil) { throw .needsTLS(name) }
    }

    private mutating func take(_ pair: Substring, _ socket: inout String?) throws(Malformed) {
        let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0]), value = parts.count == 2 ? try Self.decoded(parts[1]) : ""
        func seconds(_ range: ClosedRange<Int>) throws(Malformed) -> Int {
            guard let number = Int(value), range.contains(number) else { throw .value(name) }
            return number
        }
        switch name {
        case "socket": socket = value
        case "tls-certificates": certificates = value
        case "tls-psk-file": keyFile = value
        case "tls-username": user = value
        case "tls-hostname": hostName = value
        case "timeout": timeout = try seconds(1...3600)
        case "reconnect": reconnect = try seconds(0...86_400)
        default: throw .parameter(name)
        }
        if value.isEmpty { throw .value(name) }
        if ["tls-certificates", "tls-psk-file"].contains(name) && !value.hasPrefix("/") { throw .value(name) }
    }

    private static func network(_ text: Substring) throws(Malformed) -> SocketAddress {
        var host = text, number: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw .host }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { throw .host }
            number = rest.isEmpty ? nil : rest.dropFirst()
        } else if let colon = text.firstIndex(of: ":") {
            host = text[..<colon]
            number = text[text.index(after: colon)...]
        }
        guard !host.isEmpty else { throw .host }
        guard let number else { return .tcp(host: String(host), port: port) }
        guard let port = UInt16(number), port > 0 else { throw .port }
        return .tcp(host: String(host), port: port)
    }

    private static func decoded(_ text: Substring) throws(Malformed) -> String {
        var bytes: [UInt8] = [], rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%") {
                guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), value != 0 else { throw .escape }
                bytes.append(value)
                rest.removeFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .escape }
        return text
    }

    /// What two texts have in common that mean the same export.
    public var identity: String { "\(address)/\(export)" }
}
