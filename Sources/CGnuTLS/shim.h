// GnuTLS, with inline C for its macros and for what is one decision of ours: which versions, and how peers are asked.
#include <gnutls/gnutls.h>

/// A server's session over a socket, with certificates, keys or both; null for what there is not. With `asks` a client must
/// have a certificate that the trusted ones have signed. Null on failure.
static inline gnutls_session_t volfs_tls_server(
    int descriptor, gnutls_certificate_credentials_t certificates, gnutls_psk_server_credentials_t keys, int asks) {
    gnutls_session_t session;
    if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0) return 0;
    const char *priorities = keys
        ? "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-PSK:+DHE-PSK:+PSK"
        : "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    int problem = gnutls_priority_set_direct(session, priorities, 0);
    if (problem == 0 && certificates) problem = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, certificates);
    if (problem == 0 && keys) problem = gnutls_credentials_set(session, GNUTLS_CRD_PSK, keys);
    if (problem != 0) {
        gnutls_deinit(session);
        return 0;
    }
    gnutls_certificate_server_set_request(session, asks ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
    if (asks) gnutls_session_set_verify_cert(session, 0, 0);
    gnutls_handshake_set_timeout(session, GNUTLS_INDEFINITE_TIMEOUT);
    gnutls_transport_set_int(session, descriptor);
    return session;
}

/// A client's session over a socket, with certificates or keys; null for what there is not. The server must be `host`, unless that
/// is null, and its certificate one that the trusted ones have signed. Null on failure.
static inline gnutls_session_t volfs_tls_client(
    int descriptor, gnutls_certificate_credentials_t certificates, gnutls_psk_client_credentials_t keys, const char *host, int is_name) {
    gnutls_session_t session;
    if (gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0) return 0;
    const char *priorities = keys
        ? "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-PSK:+DHE-PSK:+PSK"
        : "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    int problem = gnutls_priority_set_direct(session, priorities, 0);
    if (problem == 0 && certificates) problem = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, certificates);
    if (problem == 0 && keys) problem = gnutls_credentials_set(session, GNUTLS_CRD_PSK, keys);
    if (problem == 0 && is_name) problem = gnutls_server_name_set(session, GNUTLS_NAME_DNS, host, __builtin_strlen(host));
    if (problem != 0) {
        gnutls_deinit(session);
        return 0;
    }
    if (certificates) gnutls_session_set_verify_cert(session, host, 0);
    gnutls_handshake_set_timeout(session, GNUTLS_INDEFINITE_TIMEOUT);
    gnutls_transport_set_int(session, descriptor);
    return session;
}

static inline int volfs_tls_would_block(long result) { return result == GNUTLS_E_AGAIN; }
static inline int volfs_tls_may_repeat(long result) { return result < 0 && result != GNUTLS_E_AGAIN && !gnutls_error_is_fatal((int)result) && result != GNUTLS_E_REHANDSHAKE; }
