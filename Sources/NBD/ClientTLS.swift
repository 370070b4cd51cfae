internal import BlockStorage
#if VOLFS_TLS
internal import CGnuTLS
internal import Glibc
internal import LinuxIO

/// A client's certificates or keys, and what it expects of the server.
final class ClientTLS: @unchecked Sendable {
    // Sendable: GnuTLS allows credentials to be used by many sessions at once; they are not changed after `init`.
    private var certificates: gnutls_certificate_credentials_t?
    private var keys: gnutls_psk_client_credentials_t?
    /// Whom the server's certificate must be for; nil where it is not asked.
    private let host: String?
    private let isName: Bool

    /// Throws `.system(.open)` for files that cannot be used.
    init(_ location: NBDLocation) throws(PoolError) {
        var address: String?
        if case .tcp(let name, _) = location.address { address = name }
        host = location.hostName ?? address
        // Only names are told to the server, not numbers.
        isName = host.map { $0.contains { !("0"..."9").contains($0) && $0 != "." } && !$0.contains(":") } ?? false
        if let file = location.keyFile {
            try takeKey(file, location.user ?? "")
        } else {
            try takeCertificates(location.certificates)
        }
    }

    private static let unusable = PoolError.system(.open, errno: EINVAL)

    private func takeKey(_ file: String, _ user: String) throws(PoolError) {
        guard let text = readText(file) else { throw .system(.open, errno: errno == 0 ? ENOENT : errno) }
        let lines = text.split(separator: "\n").map { $0.split(separator: ":", maxSplits: 1) }.filter { $0.count == 2 }
        // Without a name, the only one there is.
        guard let line = user.isEmpty && lines.count == 1 ? lines[0] : lines.first(where: { $0[0] == user }) else { throw Self.unusable }
        guard gnutls_psk_allocate_client_credentials(&keys) == 0 else { throw .system(.open, errno: ENOMEM) }
        var key = Array(String(line[1]).utf8)
        let count = UInt32(key.count)
        let problem = key.withUnsafeMutableBufferPointer { bytes in
            var datum = gnutls_datum_t(data: bytes.baseAddress, size: count)
            return gnutls_psk_set_client_credentials(keys, String(line[0]), &datum, GNUTLS_PSK_KEY_HEX)
        }
        guard problem == 0 else { throw Self.unusable }
    }

    private func takeCertificates(_ directory: String?) throws(PoolError) {
        guard gnutls_certificate_allocate_credentials(&certificates) == 0 else { throw .system(.open, errno: ENOMEM) }
        guard let directory else {
            guard gnutls_certificate_set_x509_system_trust(certificates) >= 0 else { throw Self.unusable }
            return
        }
        guard access("\(directory)/ca-cert.pem", R_OK) == 0 else { throw .system(.open, errno: errno) }
        guard gnutls_certificate_set_x509_trust_file(certificates, "\(directory)/ca-cert.pem", GNUTLS_X509_FMT_PEM) > 0 else { throw Self.unusable }
        let revoked = "\(directory)/ca-crl.pem", own = "\(directory)/client-cert.pem"
        if access(revoked, F_OK) == 0, gnutls_certificate_set_x509_crl_file(certificates, revoked, GNUTLS_X509_FMT_PEM) < 1 { throw Self.unusable }
        if access(own, F_OK) == 0, gnutls_certificate_set_x509_key_file(certificates, own, "\(directory)/client-key.pem", GNUTLS_X509_FMT_PEM) != 0 {
            throw Self.unusable
        }
    }

    deinit {
        if let certificates { gnutls_certificate_free_credentials(certificates) }
        if let keys { gnutls_psk_free_client_credentials(keys) }
    }

    /// Begins TLS on a connection. Nil if there is no memory for it.
    func begin(over plain: PlainChannel) -> (any SecureChannel)? {
        guard let session = volfs_tls_client(plain.socket.raw, certificates, keys, host, isName ? 1 : 0) else { return nil }
        return TLSChannel(session, over: plain, by: self)
    }
}
#else
/// A client's certificates or keys. This build has no TLS library, so there are none.
final class ClientTLS: Sendable {
    /// Throws `.notSupported`.
    init(_ location: NBDLocation) throws(PoolError) { throw .notSupported }

    func begin(over plain: PlainChannel) -> (any SecureChannel)? { nil }
}
#endif
