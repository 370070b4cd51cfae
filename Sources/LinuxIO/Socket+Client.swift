public import BlockStorage
internal import Glibc

/// What a client needs: connecting, and waiting with a deadline.
extension Socket {
    /// Connects to an address, each of those that a name has in turn, until `deadline` by `monotonicClock()`. Looking the name up
    /// can take longer. Throws `.remote`.
    public static func connected(to address: SocketAddress, deadline: UInt64) throws(PoolError) -> Socket {
        switch address {
        case .unix(let path):
            let socket = try make(AF_UNIX)
            let raw = socket.raw
            guard let problem = SocketAddress.withUnix(path, { connect(raw, $0, $1) == 0 ? 0 : errno }) else { throw .invalid(.nameTooLong) }
            // EAGAIN: somebody listens there, and has not got round to those before us.
            guard problem == 0 else { throw .remote(.unreachable(errno: problem == EAGAIN ? ECONNREFUSED : problem)) }
            return socket
        case .tcp(let host, let port): return try connected(host, port, deadline)
        }
    }

    private static func connected(_ host: String, _ port: UInt16, _ deadline: UInt64) throws(PoolError) -> Socket {
        var hints = addrinfo(), found: UnsafeMutablePointer<addrinfo>?
        hints.ai_flags = AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0, let found else { throw .remote(.unknownHost) }
        defer { freeaddrinfo(found) }
        var next: UnsafeMutablePointer<addrinfo>? = found
        var failure = PoolError.remote(.unknownHost)
        while let info = next {
            do throws(PoolError) {
                return try connected(info, deadline)
            } catch {
                failure = error
            }
            next = info.pointee.ai_next
        }
        throw failure
    }

    private static func connected(_ info: UnsafeMutablePointer<addrinfo>, _ deadline: UInt64) throws(PoolError) -> Socket {
        let socket = try make(info.pointee.ai_family)
        let raw = socket.raw
        if connect(raw, info.pointee.ai_addr, info.pointee.ai_addrlen) != 0 {
            guard errno == EINPROGRESS else { throw .remote(.unreachable(errno: errno)) }
            guard wait(raw, Int16(POLLOUT), until: deadline) else { throw .remote(.unreachable(errno: ETIMEDOUT)) }
            var problem: Int32 = 0, length = socklen_t(MemoryLayout<Int32>.size)
            guard getsockopt(raw, SOL_SOCKET, SO_ERROR, &problem, &length) == 0, problem == 0 else { throw .remote(.unreachable(errno: problem)) }
        }
        socket.tuneForRequests()
        return socket
    }

    private static func make(_ family: Int32) throws(PoolError) -> Socket {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        return Socket(owning: try systemCall(.socket) { Glibc.socket(family, type, 0) })
    }

    /// Returns true when something can be received, or the connection has ended; false at `deadline`, or once `alarm` is woken.
    public func waitToReceive(until deadline: UInt64, alarm: WakeEvent? = nil) -> Bool {
        Self.wait(raw, Int16(POLLIN), alarm: alarm?.raw ?? -1, until: deadline)
    }

    /// Returns true when something can be sent, or the connection has ended; false at `deadline`.
    public func waitToSend(until deadline: UInt64) -> Bool { Self.wait(raw, Int16(POLLOUT), until: deadline) }

    private static func wait(_ raw: Int32, _ events: Int16, alarm: Int32 = -1, until deadline: UInt64) -> Bool {
        while true {
            let now = monotonicClock()
            // Rounded up, so that at the end the time is over; `.max` is for ever.
            let rest = deadline == .max ? -1 : Int32(min((max(deadline, now) - now + 999_999) / 1_000_000, 1 << 30))
            var wanted = (pollfd(fd: raw, events: events, revents: 0), pollfd(fd: alarm, events: Int16(POLLIN), revents: 0))
            let count = withUnsafeMutablePointer(to: &wanted) { $0.withMemoryRebound(to: pollfd.self, capacity: 2) { poll($0, 2, rest) } }
            if count > 0 { return wanted.1.revents == 0 }
            if count == 0 && monotonicClock() >= deadline { return false }
        }
    }

    /// Tells the peer that no more is sent to it.
    public func endSending() { _ = shutdown(raw, Int32(SHUT_WR)) }

    /// Whether closing, also by the end of the process, drops what the peer's machine has not received, instead of going on to send
    /// it. On a Unix socket there is no such thing: what was sent is with the peer.
    public func setDropsUnsent(_ drops: Bool) {
        var value = linger(l_onoff: drops ? 1 : 0, l_linger: 0)
        _ = setsockopt(raw, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
    }

    /// Ends the connection at once. What the peer's machine has not received by now never reaches it; what it has, the peer can still
    /// read. The descriptor stays, as other threads may be using it; sending and receiving find the connection closed.
    public func reset() {
        setDropsUnsent(true)
        var nowhere = sockaddr()
        nowhere.sa_family = sa_family_t(AF_UNSPEC)
        // Of TCP this resets the connection and empties its buffer. A Unix socket refuses, and has nothing to drop.
        _ = connect(raw, &nowhere, socklen_t(MemoryLayout<sockaddr>.size))
        shutDown()
    }
}
