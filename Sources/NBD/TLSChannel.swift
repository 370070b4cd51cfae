#if VOLFS_TLS
internal import BlockStorage
internal import CGnuTLS
internal import Glibc
internal import LinuxIO
internal import Synchronization

/// TLS over a socket that never blocks.
///
/// The session is used by one thread at a time: a message of TLS itself can make a receive send. The lock is held during a
/// system call, which does not wait.
final class TLSChannel: SecureChannel {
    private let state: Mutex<State>
    /// Owns the descriptor.
    private let plain: PlainChannel
    /// Owns the credentials.
    private let security: any AnyObject & Sendable

    private struct State: @unchecked Sendable {
        // Sendable: the session is used under the lock only.
        let session: gnutls_session_t
        var isEstablished = false
        var failure = ""
        /// A record is encrypted and not sent wholly: what it has of the caller's bytes is counted when it is.
        var isRecordPending = false
    }

    init(_ session: gnutls_session_t, over plain: PlainChannel, by security: any AnyObject & Sendable) {
        state = Mutex(State(session: session))
        self.plain = plain
        self.security = security
    }

    deinit { state.withLock { gnutls_deinit($0.session) } }

    var isEstablished: Bool { state.withLock { $0.isEstablished } }
    var failure: String { state.withLock { $0.failure } }

    func handshake() -> Socket.Outcome {
        state.withLock { state in
            while true {
                let result = Int(gnutls_handshake(state.session))
                if result == 0 {
                    state.isEstablished = true
                    return .count(0)
                }
                if volfs_tls_would_block(result) != 0 { return .wouldBlock }
                if volfs_tls_may_repeat(result) != 0 { continue }
                state.failure = String(cString: gnutls_strerror(Int32(result)))
                return .closed
            }
        }
    }

    func prepareToWait() {}

    func receive(into bytes: UnsafeMutableRawBufferPointer, waits: Bool) -> Socket.Outcome {
        let outcome = receiveNow(into: bytes)
        guard waits, outcome == .wouldBlock, plain.socket.waitToReceive(until: monotonicClock() + UInt64(Self.patience) * 1_000_000) else { return outcome }
        return receiveNow(into: bytes)
    }

    private func receiveNow(into bytes: UnsafeMutableRawBufferPointer) -> Socket.Outcome {
        state.withLock { state in
            while true {
                let result = gnutls_record_recv(state.session, bytes.baseAddress, bytes.count)
                if result > 0 { return .count(result) }
                if volfs_tls_would_block(result) != 0 { return .wouldBlock }
                if volfs_tls_may_repeat(result) == 0 { return .closed }
            }
        }
    }

    func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Socket.Outcome {
        state.withLock { state in
            var total = 0
            for piece in pieces {
                // What an unfinished record has begins the first piece, and is not sent twice.
                var done = 0
                while done < piece.iov_len {
                    let result = state.isRecordPending
                        ? gnutls_record_send(state.session, nil, 0)
                        : gnutls_record_send(state.session, piece.iov_base + done, piece.iov_len - done)
                    if result > 0 {
                        state.isRecordPending = false
                        done += result
                        total += result
                    } else if volfs_tls_would_block(result) != 0 {
                        state.isRecordPending = true
                        return total > 0 ? .count(total) : .wouldBlock
                    } else if volfs_tls_may_repeat(result) != 0 {
                        state.isRecordPending = true
                    } else {
                        return .closed
                    }
                }
            }
            return .count(total)
        }
    }

    func finish() { state.withLock { if $0.isEstablished { _ = gnutls_bye($0.session, GNUTLS_SHUT_WR) } } }
}
#endif
