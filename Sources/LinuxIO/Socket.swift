internal import BlockStorage
internal import CLinux
public import Glibc

/// A connected stream socket that never blocks, but where it is asked to. Any thread may call; two that send at once mix what they
/// send.
public struct Socket: ~Copyable, Sendable {
    let descriptor: FileDescriptor

    init(owning raw: Int32) { descriptor = FileDescriptor(owning: raw) }

    /// What became of an attempt to send or receive.
    public enum Outcome: Equatable, Sendable {
        case count(Int)
        /// Nothing can be done before the next event.
        case wouldBlock
        /// The peer has ended the connection, or it broke.
        case closed
    }

    /// Receives what is there, at most as much as fits into `bytes`. With `waits`, after `setWait`, it waits a while for something to
    /// be there.
    public func receive(into bytes: UnsafeMutableRawBufferPointer, waits: Bool = false) -> Outcome {
        while true {
            let count = recv(descriptor.raw, bytes.baseAddress, bytes.count, waits ? 0 : Int32(MSG_DONTWAIT))
            if count > 0 { return .count(count) }
            if count == 0 { return .closed }
            if errno == EAGAIN { return .wouldBlock }
            if errno != EINTR { return .closed }
        }
    }

    /// Sends pieces of memory one behind the other, as far as the kernel takes them.
    public func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Outcome {
        var message = msghdr()
        message.msg_iov = pieces.baseAddress
        message.msg_iovlen = pieces.count
        while true {
            let count = sendmsg(descriptor.raw, &message, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            if count >= 0 { return .count(count) }
            if errno == EAGAIN { return .wouldBlock }
            if errno != EINTR { return .closed }
        }
    }

    /// Sends the bytes, as far as the kernel takes them.
    public func send(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        while true {
            let count = Glibc.send(descriptor.raw, bytes.baseAddress, bytes.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            if count >= 0 { return .count(count) }
            if errno == EAGAIN { return .wouldBlock }
            if errno != EINTR { return .closed }
        }
    }

    /// How long `receive` waits when it is asked to: in all about so many milliseconds.
    public func setWait(milliseconds: Int) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        guard setsockopt(descriptor.raw, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size)) == 0 else { return }
        // All else says with each call that it does not wait.
        let flags = fcntl(descriptor.raw, F_GETFL)
        if flags >= 0 { _ = fcntl(descriptor.raw, F_SETFL, flags & ~O_NONBLOCK) }
    }

    /// The connection is broken, or closed on both sides.
    public var isGone: Bool {
        var request = pollfd(fd: descriptor.raw, events: 0, revents: 0)
        return poll(&request, 1, 0) == 1
    }

    /// Ends the connection in both directions; the descriptor stays until its owner goes away.
    public func shutDown() { _ = shutdown(descriptor.raw, Int32(SHUT_RDWR)) }

    /// For a library that does its own sending and receiving.
    package var raw: Int32 { descriptor.raw }

    /// The process and user at the other end of a Unix socket; nil for any other.
    public var peer: (process: Int32, uid: UInt32)? {
        var process: Int32 = 0, uid: UInt32 = 0
        guard volfs_peer(descriptor.raw, &process, &uid) == 0, process != 0 else { return nil }
        return (process, uid)
    }

    /// Where the other end of a connection over the network is, by number; else empty.
    public var peerAddress: String {
        var storage = sockaddr_storage(), length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let isKnown = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getpeername(descriptor.raw, address, &length) == 0
                    && (address.pointee.sa_family == sa_family_t(AF_INET) || address.pointee.sa_family == sa_family_t(AF_INET6))
                    && getnameinfo(address, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST) == 0
            }
        }
        return isKnown ? String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }

    /// Small messages leave at once, and a peer that is gone is noticed within minutes. Without effect on Unix sockets.
    public func tuneForRequests() {
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 60)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 15)
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 4)
    }

    private func set(_ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(descriptor.raw, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}
