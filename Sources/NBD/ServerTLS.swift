public import BlockStorage
#if VOLFS_TLS
internal import CGnuTLS
internal import Glibc
internal import LinuxIO

/// A server's certificates or keys, from a directory with the file names that NBD programs have in common.
///
/// GnuTLS, and not another library, because its servers take keys.psk as it is, and because the clients that are met most
/// use it too.
public final class ServerTLS: @unchecked Sendable {
    // Sendable: GnuTLS allows credentials to be used by many sessions at once; they are not changed after `init`.
    public static let isAvailable = true
    private var certificates: gnutls_certificate_credentials_t?
    private var keys: gnutls_psk_server_credentials_t?
    /// Clients must have a certificate.
    private let asks: Bool

    /// Throws `.system(.open)` for a directory that has neither a certificate nor keys, or files that cannot be used.
    public init(directory: String) throws(PoolError) {
        asks = access("\(directory)/ca-cert.pem", R_OK) == 0
        let unusable = PoolError.system(.open, errno: EINVAL)
        if access("\(directory)/server-cert.pem", F_OK) == 0 {
            guard gnutls_certificate_allocate_credentials(&certificates) == 0 else { throw .system(.open, errno: ENOMEM) }
            guard gnutls_certificate_set_x509_key_file(
                certificates, "\(directory)/server-cert.pem", "\(directory)/server-key.pem", GNUTLS_X509_FMT_PEM) == 0
            else { throw unusable }
            if asks, gnutls_certificate_set_x509_trust_file(certificates, "\(directory)/ca-cert.pem", GNUTLS_X509_FMT_PEM) < 1 { throw unusable }
            let revoked = "\(directory)/ca-crl.pem"
            if access(revoked, F_OK) == 0, gnutls_certificate_set_x509_crl_file(certificates, revoked, GNUTLS_X509_FMT_PEM) < 1 { throw unusable }
        } else if access("\(directory)/keys.psk", R_OK) == 0 {
            guard gnutls_psk_allocate_server_credentials(&keys) == 0 else { throw .system(.open, errno: ENOMEM) }
            guard gnutls_psk_set_server_credentials_file(keys, "\(directory)/keys.psk") == 0 else { throw unusable }
        } else {
            throw .system(.open, errno: ENOENT)
        }
    }

    deinit {
        if let certificates { gnutls_certificate_free_credentials(certificates) }
        if let keys { gnutls_psk_free_server_credentials(keys) }
    }

    /// Begins TLS on a connection. Nil if there is no memory for it.
    func begin(over plain: PlainChannel) -> (any SecureChannel)? {
        guard let session = volfs_tls_server(plain.socket.raw, certificates, keys, asks && certificates != nil ? 1 : 0) else { return nil }
        return TLSChannel(session, over: plain, by: self)
    }
}
#else
/// A server's certificates or keys. This build has no TLS library, so there are none.
public final class ServerTLS: Sendable {
    public static let isAvailable = false

    /// Throws `.notSupported`.
    public init(directory: String) throws(PoolError) { throw .notSupported }

    func begin(over plain: PlainChannel) -> (any SecureChannel)? { nil }
}
#endif
