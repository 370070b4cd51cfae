internal import BlockStorage
internal import Glibc
package import LinuxIO
internal import NBD
internal import VolumeFS

/// Where and how a pool is served over NBD: what `-o nbd=…` and the options of `serve` say.
package struct NBDSettings: Equatable, Sendable {
    package var addresses: [SocketAddress] = []
    /// Directory of certificates or keys.
    package var certificates: String?
    /// Whether addresses that other machines reach may be served without TLS.
    package var isInsecure = false
    package var isReadOnly = false

    /// Whether the words are those of `-o`.
    private let isOfMount: Bool

    package init(isOfMount: Bool = false) { self.isOfMount = isOfMount }

    /// Throws for an address that should not be served the way it would be, and for options that say how when nothing is served.
    package func check() throws(Failure) {
        if addresses.isEmpty && (certificates != nil || isInsecure || isReadOnly) {
            throw .usage("nbd", "nbd_tls, nbd_insecure and nbd_readonly mean nothing without nbd or nbd=ADDRESS")
        }
        if certificates != nil && !ServerTLS.isAvailable {
            throw .usage("TLS", "this volfs was built without it; build it where libgnutls28-dev is installed")
        }
        for address in addresses where !address.isLocal && certificates == nil && !isInsecure {
            let words = isOfMount ? "with nbd_tls=DIR, or nbd_insecure" : "with --tls DIR, or --insecure"
            throw .usage("\(address)", "other machines reach it, and anybody there could read and write; give certificates for TLS \(words)")
        }
    }

    /// Starts a server. A failure names the address or the directory.
    func start(_ files: VolumeFileSystem, log: @escaping @Sendable (String) -> Void) throws(Failure) -> NBDServer {
        try check()
        Self.allowManyDescriptors()
        var configuration = ServerConfiguration()
        configuration.log = log
        if let certificates {
            do throws(PoolError) {
                configuration.security = try ServerTLS(directory: certificates)
            } catch {
                throw Failure(
                    .failed, certificates,
                    "has no certificates or keys that can be used; put server-cert.pem and server-key.pem there, or keys.psk", errno: error.errno)
            }
        }
        let server: NBDServer
        do throws(PoolError) {
            server = try NBDServer(provider: PoolExports(files, isReadOnly: isReadOnly), configuration: configuration)
        } catch {
            throw Failure(.failed, "nbd", "the server cannot be started: \(String(cString: strerror(error.errno)))", errno: error.errno)
        }
        files.noteMemory(beside: configuration.memoryBound)
        for address in addresses {
            do throws(PoolError) {
                _ = try server.listen(at: address)
            } catch {
                server.stop()
                throw Self.failure(error, address)
            }
        }
        files.tellServedAt(server.addresses.map { uri($0) })
        return server
    }

    /// Serves beside a mount, if there is anything to serve.
    func begin(_ files: VolumeFileSystem, _ log: Log) throws(Failure) -> NBDServer? {
        addresses.isEmpty ? nil : try start(files) { log.write(.warning, "nbd", ["reason": $0]) }
    }

    /// Tells the log where: a port may have been chosen only now.
    func announce(_ server: NBDServer, _ log: Log) {
        for address in server.addresses {
            log.write(.info, "serving NBD", ["uri": uri(address)])
        }
    }

    /// What a client is given.
    func uri(_ address: SocketAddress) -> String { NBDAddress.uri(address, isEncrypted: certificates != nil) }

    private static func failure(_ error: PoolError, _ address: SocketAddress) -> Failure {
        switch error {
        case .inUse: Failure(.busy, "\(address)", "another server answers there; stop it, or choose another path", errno: EBUSY)
        case .exists: Failure(.exists, "\(address)", "something that is no socket is there; choose another path", errno: EEXIST)
        case .invalid: Failure(.usage, "\(address)", "a socket's path has at most 107 bytes", errno: ENAMETOOLONG)
        default:
            Failure(
                Failure.status(ofErrno: error.errno), "\(address)", "cannot be listened at: \(String(cString: strerror(error.errno)))",
                errno: error.errno)
        }
    }

    /// Each connection is a descriptor.
    private static func allowManyDescriptors() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < 4096 else { return }
        limit.rlim_cur = min(limit.rlim_max, 4096)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
