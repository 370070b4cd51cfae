public import BlockStorage
internal import CLinux
internal import Glibc

/// A socket that takes connections. Its path, if it has one, goes away with it.
public final class Listener: Sendable {
    public let address: SocketAddress
    private let socket: Socket
    /// Device and inode of the path that was made, so that no other is removed.
    private let identity: Identity?
    private let madeDirectory: String?

    private struct Identity: Equatable {
        var device: dev_t, inode: ino_t
    }

    /// Listens at a path: mode 0600, in a directory that is made with mode 0700 if it is not there. A socket that is left there
    /// is replaced if nobody answers on it; anything else at the path is `.exists`, and one that answers is `.inUse`.
    public init(path: String) throws(PoolError) {
        address = .unix(path)
        madeDirectory = Self.makeDirectory(of: path)
        try Self.removeStale(path)
        let socket = try Self.make(AF_UNIX)
        let raw = socket.raw
        // The mode that the path gets, less the umask: nobody may connect in between.
        _ = try systemCall(.bind) { fchmod(raw, 0o600) }
        guard let bound = SocketAddress.withUnix(path, { bind(raw, $0, $1) == 0 ? 0 : errno }) else { throw .invalid(.nameTooLong) }
        guard bound == 0 else { throw bound == EADDRINUSE ? .exists : .system(.bind, errno: bound) }
        _ = try systemCall(.listen) { listen(raw, 128) }
        identity = Self.identity(of: path)
        self.socket = socket
    }

    /// Listens at an address and port of this machine. Port 0 takes any; `address` then tells which.
    public init(host: String, port: UInt16) throws(PoolError) {
        var hints = addrinfo(), found: UnsafeMutablePointer<addrinfo>?
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0, let found else { throw .system(.bind, errno: EADDRNOTAVAIL) }
        defer { freeaddrinfo(found) }
        let socket = try Self.make(found.pointee.ai_family)
        let raw = socket.raw
        var one: Int32 = 1
        _ = setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        _ = try systemCall(.bind) { bind(raw, found.pointee.ai_addr, found.pointee.ai_addrlen) }
        _ = try systemCall(.listen) { listen(raw, 128) }
        address = .tcp(host: host, port: port == 0 ? Self.port(of: raw) : port)
        identity = nil
        madeDirectory = nil
        self.socket = socket
    }

    deinit { close() }

    /// Takes no more connections, and removes the path.
    public func close() {
        socket.shutDown()
        guard case .unix(let path) = address, let identity, Self.identity(of: path) == identity else { return }
        unlink(path)
        if let madeDirectory { rmdir(madeDirectory) }
    }

    /// Watched in `queue` for as long as this lives.
    public func watch(in queue: borrowing EventQueue, key: UInt64) throws(PoolError) { try queue.watch(socket, key: key) }

    public enum Accepted: ~Copyable, Sendable {
        case socket(Socket)
        /// Nobody waits.
        case none
        /// Somebody waits, and there is no descriptor left for him.
        case exhausted
    }

    public func accept() -> Accepted {
        while true {
            let raw = volfs_accept(socket.raw)
            if raw >= 0 { return .socket(Socket(owning: raw)) }
            switch errno {
            case EINTR, ECONNABORTED: continue
            case EMFILE, ENFILE, ENOMEM, ENOBUFS: return .exhausted
            default: return .none
            }
        }
    }

    // MARK: Making one

    private static func make(_ family: Int32) throws(PoolError) -> Socket {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        return Socket(owning: try systemCall(.socket) { Glibc.socket(family, type, 0) })
    }

    private static func removeStale(_ path: String) throws(PoolError) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw .exists }
        let probe = try make(AF_UNIX)
        let raw = probe.raw
        let problem = SocketAddress.withUnix(path) { connect(raw, $0, $1) == 0 ? 0 : errno }
        // EAGAIN: somebody listens, with a full backlog.
        guard problem == ECONNREFUSED || problem == ENOENT else { throw .inUse }
        unlink(path)
    }

    private static func makeDirectory(of path: String) -> String? {
        guard let cut = path.lastIndex(of: "/"), cut != path.startIndex else { return nil }
        let directory = String(path[..<cut])
        if Glibc.access(directory, F_OK) == 0 { return nil }
        _ = makeDirectory(of: directory)
        return mkdir(directory, 0o700) == 0 ? directory : nil
    }

    private static func identity(of path: String) -> Identity? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return Identity(device: status.st_dev, inode: status.st_ino)
    }

    private static func port(of raw: Int32) -> UInt16 {
        var storage = sockaddr_storage(), length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(raw, $0, &length) }
        }
        guard result == 0 else { return 0 }
        // Both families have the port at the same place.
        return withUnsafeBytes(of: &storage) { UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self)) }
    }
}
