internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBD
internal import Synchronization
internal import VolumeFS

/// A pool on an export of an NBD server.
enum RemotePool {
    /// The device with the lock that keeps other processes of this user on this machine away from it. The protocol itself has
    /// none: what else the server lets in can write there too.
    private final class Device: WaitingDevice {
        private let client: NBDClient
        private let lock: LockFile
        private let absence: Absence

        init(_ client: NBDClient, _ lock: LockFile, _ absence: Absence) {
            (self.client, self.lock, self.absence) = (client, lock, absence)
        }

        var absentSince: UInt64? { absence.since.withLock { $0 } }

        var waits: WaitNotice { client.waits }
        var size: UInt64 { get throws(PoolError) { try client.size } }
        func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) { try client.read(into: bytes, at: offset) }
        func read(_ pieces: UnsafeBufferPointer<ReadPiece>) throws(PoolError) { try client.read(pieces) }
        func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) { try client.write(bytes, at: offset) }
        func flush() throws(PoolError) { try client.flush() }
        func flushAndDropCache() throws(PoolError) { try client.flushAndDropCache() }
        func discard(at offset: UInt64, count: UInt64) throws(PoolError) { try client.discard(at: offset, count: count) }
        func grow(to size: UInt64) throws(PoolError) { try client.grow(to: size) }
    }

    typealias Report = @Sendable (Log.Level, String, KeyValuePairs<String, String>) -> Void
    private static let reports = Mutex<Report?>(nil)

    /// Where what a client tells goes from now on, instead of standard error: a daemon has a log.
    static func report(to log: @escaping Report) { reports.withLock { $0 = log } }

    static func open(_ uri: String, writing: Bool) throws(Failure) -> any BlockDevice {
        let location = try location(uri)
        let said = Said(), absence = Absence()
        do throws(PoolError) {
            let lock = try LockFile(path: lockPath(location), exclusive: writing)
            return Device(try NBDClient(connecting: location, mode: writing ? .readWrite : .readOnly) { notice in
                if case .refused(let words) = notice { return said.words.withLock { $0 = words } }
                absence.note(notice)
                tell(notice, uri)
            }, lock, absence)
        } catch .system(.open, let number) where location.isEncrypted {
            throw Failure(
                .failed, uri, "the certificates or keys for TLS cannot be used: \(String(cString: strerror(number))); see volfs-nbd(7)", errno: number)
        } catch .notSupported where location.isEncrypted {
            throw .usage("TLS", "this volfs was built without it; build it where libgnutls28-dev is installed")
        } catch .readOnly {
            throw Failure(.permission, uri, "the server has it read-only; mount it with -o ro, or let the server offer it for writing", errno: EROFS)
        } catch {
            var failure = Failure(error, object: uri, pool: uri)
            let words = said.words.withLock { $0 }
            if !words.isEmpty { failure.message += " (it says: \(words))" }
            throw failure
        }
    }

    /// Since when the server is gone.
    private final class Absence: Sendable {
        let since = Mutex<UInt64?>(nil)

        func note(_ notice: NBDClient.Notice) {
            switch notice {
            case .refused: return
            case .lost: since.withLock { $0 = $0 ?? wallClock() }
            // What is lost is said by the pool itself.
            case .back, .ended: since.withLock { $0 = nil }
            }
        }
    }

    /// What the server says of why it refuses.
    private final class Said: Sendable {
        let words = Mutex("")
    }

    /// Makes a pool on an export. What is there already is replaced only if `replacing`.
    static func create(_ uri: String, replacing: Bool, _ format: (any BlockDevice) throws(PoolError) -> Void) throws(Failure) -> UInt64 {
        let device = try open(uri, writing: true)
        do throws(PoolError) {
            let size = try device.size
            if !replacing {
                let isFree = try PoolFile.isEmpty(device)
                if !isFree { throw .exists }
            }
            try format(device)
            return size
        } catch .exists {
            throw Failure(.exists, uri, "the export holds something already; choose another, or --force to replace it and all in it", errno: EEXIST)
        } catch {
            throw Failure(error, object: uri, pool: uri)
        }
    }

    /// An export's size, and whether nothing is on it.
    static func look(at uri: String) throws(Failure) -> (size: UInt64, isEmpty: Bool) {
        let device = try open(uri, writing: false)
        do throws(PoolError) {
            return (try device.size, try PoolFile.isEmpty(device))
        } catch {
            throw Failure(error, object: uri, pool: uri)
        }
    }

    private static func tell(_ notice: NBDClient.Notice, _ uri: String) {
        let line: (Log.Level, String, KeyValuePairs<String, String>)
        switch notice {
        case .refused: return
        case .lost(let isSilent):
            line = (.warning, "the pool's server is gone; trying to reach it again", ["reason": isSilent ? "it does not answer" : "it ended the connection", "pool": uri])
        case .back(let count): line = (.warning, "the pool's server is back", ["rewritten": "\(count)", "pool": uri])
        case .ended(let error): line = (.error, "the pool's server is lost", ["reason": reason(for: error), "pool": uri])
        }
        if let report = reports.withLock({ $0 }) { return report(line.0, line.1, line.2) }
        if case .back = notice { return }
        complain("volfs: \(uri): \(line.1)")
    }

    // MARK: The text

    static func location(_ uri: String) throws(Failure) -> NBDLocation {
        do throws(NBDLocation.Malformed) {
            return try NBDLocation(parsing: uri)
        } catch {
            throw .usage(uri, sentence(error))
        }
    }

    private static func sentence(_ problem: NBDLocation.Malformed) -> String {
        let forms = "write nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, with nbds for TLS"
        return switch problem {
        case .scheme: "not a URI that can be used; \(forms)"
        case .escape: "has a % that two hexadecimal digits must follow, or says no text; write % itself as %25"
        case .host: "names no host, or one that cannot be; \(forms)"
        case .port: "the port is a number from 1 to 65535"
        case .fragment: "has a #; write it as %23"
        case .exportTooLong: "an export's name has at most 4096 bytes"
        case .noSocket: "says no socket; \(forms)"
        case .relativeSocket: "the socket's path begins with /; a daemon has another directory than you"
        case .hostAndSocket: "has a host or a socket that does not belong there; \(forms)"
        case .parameter(let name): "?\(name) is nothing known; there is socket, timeout, reconnect, tls-certificates, tls-psk-file, tls-username and tls-hostname"
        case .value(let name): "?\(name)= needs another value; see volfs-nbd(7)"
        case .needsTLS(let name): "?\(name) means nothing without TLS; write nbds:// or nbds+unix://"
        }
    }

    /// The file that is locked for a URI; nil for what is none.
    static func lockPath(_ uri: String) -> String? {
        guard PoolDevice.isRemote(uri), let location = try? NBDLocation(parsing: uri) else { return nil }
        return lockPath(location)
    }

    private static func lockPath(_ location: NBDLocation) -> String {
        // FNV-1a; that two exports share a lock by chance costs nothing but a wrong message.
        let hash = location.identity.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return "\(NBDAddress.runtimeDirectory)/volfs/locks/nbd-\(String(hash, radix: 16))"
    }
}
