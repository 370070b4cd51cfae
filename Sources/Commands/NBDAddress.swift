internal import Glibc
package import LinuxIO

/// Addresses of NBD servers as people write them.
package enum NBDAddress {
    private static let port: UInt16 = 10809

    /// `unix:PATH`, `HOST:PORT`, `[HOST]:PORT`, `nbd://HOST[:PORT]`, `nbd+unix:///?socket=PATH`, and the last two with `nbds`.
    /// Nil for anything else.
    package static func parse(_ text: String) -> SocketAddress? {
        if let path = file(text) { return path.isEmpty ? nil : .unix(Path.absolute(path)) }
        for scheme in ["nbd://", "nbds://"] where text.hasPrefix(scheme) {
            let host = text.dropFirst(scheme.count).prefix { $0 != "/" }
            return tcp(host, defaultPort: port)
        }
        return text.contains("://") || text.contains("/") ? nil : tcp(text[...], defaultPort: nil)
    }

    /// The socket's file in an address that has one, as it is written.
    static func file(_ text: String) -> String? {
        if text.hasPrefix("unix:") { return String(text.dropFirst(5)) }
        guard ["nbd+unix://", "nbds+unix://"].contains(where: text.hasPrefix), let query = text.firstRange(of: "socket=") else { return nil }
        return decoded(text[query.upperBound...].prefix { $0 != "&" })
    }

    private static func tcp(_ text: Substring, defaultPort: UInt16?) -> SocketAddress? {
        var host = text, number: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            if !rest.isEmpty {
                guard rest.hasPrefix(":") else { return nil }
                number = rest.dropFirst()
            }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            number = text[text.index(after: colon)...]
            if host.contains(":") { return nil }
        }
        guard !host.isEmpty, let port = number.map({ UInt16($0) }) ?? defaultPort else { return nil }
        return .tcp(host: String(host), port: port)
    }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = [], rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
                bytes.append(value)
                rest.removeFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What a client is given, without an export's name.
    package static func uri(_ address: SocketAddress, isEncrypted: Bool) -> String {
        let scheme = isEncrypted ? "nbds" : "nbd"
        return switch address {
        case .unix(let path): "\(scheme)+unix:///?socket=\(path)"
        case .tcp: "\(scheme)://\(address)"
        }
    }

    /// For what ends with the machine's run.
    static var runtimeDirectory: String {
        if getuid() == 0 { return "/run" }
        if let directory = getenv("XDG_RUNTIME_DIR") { return String(cString: directory) }
        return access("/run/user/\(getuid())", W_OK) == 0 ? "/run/user/\(getuid())" : "/tmp/volfs-\(getuid())"
    }

    /// Where a pool is served that says nothing else: `/run/volfs/NAME/nbd.sock`, or below XDG_RUNTIME_DIR for a user.
    package static func standard(forPool path: String) -> SocketAddress {
        let base = runtimeDirectory
        var name = PoolDevice.shortName(path)
        if name.isEmpty { name = "pool" }
        if name.hasSuffix(".pool") && name.count > 5 { name.removeLast(5) }
        return .unix("\(base)/volfs/\(name)/nbd.sock")
    }
}
