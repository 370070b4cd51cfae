package import BlockStorage
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// Why a command ends without success: what is said on standard error, and the exit status.
package struct Failure: Error, Equatable, Sendable {
    /// Exit statuses of volfs(1).
    package enum Status: Int32, Sendable {
        case failed = 1, usage = 2, partly = 3, notFound = 4, exists = 5, busy = 6, noSpace = 7, corrupt = 8
        case permission = 9, unreachable = 10, mount = 32, interrupted = 130, terminated = 143
    }

    package var status: Status
    /// What it is about: a pool, a volume, an option.
    package var object: String
    /// Of the object, if it is about one.
    package var property: String?
    /// What is wrong, and what to do.
    package var message: String
    package var errno: Int32 = 0

    package init(_ status: Status, _ object: String, _ message: String, errno: Int32 = 0) {
        self.status = status
        self.object = object
        self.message = message
        self.errno = errno
    }

    package static func usage(_ object: String, _ message: String) -> Failure { Failure(.usage, object, message) }

    /// One line: `volfs: OBJECT: MESSAGE` or `volfs: OBJECT PROPERTY: MESSAGE`.
    package var text: String { "volfs: \(object)\(property.map { " \($0)" } ?? ""): \(message)" }

    package func of(property: String) -> Failure {
        var failure = self
        failure.property = property
        return failure
    }

    /// One object of schema volfs.error/1: errno by its name or null, the property of the object or null, what is wrong, and as `hint`
    /// what to do.
    package var json: String { json(code: status.rawValue) }

    /// `code` is what the process ends with, where that is not the number of `status`.
    package func json(code: Int32) -> String {
        let cut = message.firstRange(of: "; ")
        let name: JSON = ErrnoName.text(errno).map { .text($0) } ?? .null
        let problem = cut.map { String(message[..<$0.lowerBound]) } ?? message
        let hint: JSON = cut.map { .text(String(message[$0.upperBound...])) } ?? .null
        return JSON.object([
            ("schema", .text("volfs.error/1")), ("errno", name), ("code", .number(Int64(code))),
            ("object", .text(object)), ("property", property.map { .text($0) } ?? .null), ("message", .text(problem)), ("hint", hint),
        ])
    }

    /// A failure of the pool itself, said for a person. `pool` is its path: who has locked it is looked up there.
    package init(_ error: PoolError, object: String, pool: String) {
        let error = error == .locked(process: 0) ? .locked(process: PoolDevice.holder(of: pool)) : error
        self.init(Self.status(of: error), object, Self.message(error, object: object, pool: pool), errno: error.errno)
    }

    /// A failed system call on a mounted pool; `reason` is what `.ctl/errors` says of it.
    package init(errno: Int32, object: String, reason: String?) {
        self.init(
            Self.status(ofErrno: errno), object, reason ?? Self.sentence(errno), errno: errno)
    }

    /// For a refusal that the kernel made itself, so that the daemon logged no reason.
    private static func sentence(_ errno: Int32) -> String {
        switch errno {
        case ENOENT: "no such volume or snapshot; see: volfs list POOL"
        case EEXIST: "exists already; choose another name or remove it first"
        // All that keeps root out is a mount for its owner alone.
        case EACCES where geteuid() == 0: "permission denied to root too: the pool is mounted for its owner alone; run as who mounted it, or have it mounted with allow_root"
        case EACCES, EPERM: "permission denied; run as its owner or as root"
        case EFBIG, EINVAL: "\(String(cString: strerror(errno))); see volfs-ctl(7)"
        case EROFS: "is read-only; a snapshot can be cloned, a pool mounted without ro"
        case ENOTCONN: "its daemon is gone; clear the dead mount with: volfs umount DIRECTORY"
        default: String(cString: strerror(errno))
        }
    }

    private static func status(of error: PoolError) -> Status {
        switch error {
        case .invalid(.name), .invalid(.nameTooLong), .invalid(.size), .refused(.poolTooSmall), .refused(.poolTooLarge): .usage
        case .notAPool, .unsupportedFormat, .truncated, .corrupt: .corrupt
        case .locked: .busy
        case .remote(let problem): status(of: problem)
        default: status(ofErrno: error.errno)
        }
    }

    package static func status(ofErrno errno: Int32) -> Status {
        switch errno {
        case ENOENT: .notFound
        case EEXIST: .exists
        case EBUSY, ENOTEMPTY: .busy
        case ENOSPC: .noSpace
        case EIO: .corrupt
        case EPERM, EACCES, EROFS: .permission
        case ENOTCONN, ENODEV: .unreachable
        case ENAMETOOLONG: .usage
        default: .failed
        }
    }

    private static func message(_ error: PoolError, object: String, pool path: String) -> String {
        // As a command takes it.
        let pool = Path.quoted(path)
        return switch error {
        case .outOfSpace(let needed, let free):
            "the pool is full: \(Wording.size(needed)) needed, \(Wording.size(free)) free; destroy snapshots or volumes, trim, or make it larger: volfs grow \(pool) +SIZE"
        case .outOfRange(let offset, let count, let size): "\(count) bytes at \(offset) reach beyond its \(size) bytes"
        case .tooLarge(let size, let limit): "\(Wording.size(size)) is more than the largest volume, \(Wording.size(limit))"
        case .invalid(.name):
            "not a name: use letters, digits and . _ + - (in a snapshot's also :), beginning with a letter or digit (a snapshot's also with _)"
        case .invalid(.nameTooLong): "the name is longer than 127 bytes; choose a shorter one"
        case .invalid(.size): "too small for a pool; give --size 8M or more"
        case .invalid: "that is not allowed here; see volfs(1)"
        case .notFound: "no such volume or snapshot; see: volfs list \(pool)"
        case .exists: "exists already; choose another name or remove it first"
        case .hasSnapshots(let count): "has \(Wording.count(count, "snapshot")); destroy them first, or use -r"
        case .inUse: "is open; close, unmount or detach it first"
        case .readOnly: "is read-only; clone it to get a volume that can be written"
        case .notPermitted: "not permitted; see volfs-ctl(7)"
        case .notSupported: "not supported"
        case .suspended: "an earlier write to the pool failed; unmount it and mount it again to recover"
        case .malformed(let line): "line \(line) is not what a dump has there; nothing was written"
        case .noProperty: "no such property is set"
        case .tooMany(let limit): "snapshot_limit allows \(Wording.count(limit, "snapshot")); remove one or raise it"
        case .outOfMemory(let limit): "needs more memory than \(Wording.size(limit)), which is what it may have; close files or ask for less"
        case .held: "it is held; first: volfs release \(pool) \(object)"
        case .refused: reason(for: error)
        case .cancelled: "was cancelled"
        case .locked(let process): "in use by \(PoolUser(process: process).text(of: path))"
        case .notAPool: "not a volfs pool; name a pool's file, or the directory it is mounted at"
        case .unsupportedFormat(let version, let features):
            "pool of format \(version), features \(features), which this volfs cannot use; use a newer volfs"
        case .truncated(let size, let expected):
            "truncated: the file has \(size) bytes, the pool needs \(expected); restore the file from a copy"
        case .corrupt(.data, let position, let problem):
            "damaged data at byte \(position) of the pool's file (\(problem)); all ranges that are lost: volfs scrub \(pool)"
        case .corrupt(.superblock, _, .missing):
            "no superblock is left, as if its beginning had been overwritten; see what a search finds: volfs repair -n \(pool)"
        case .corrupt(let structure, let position, let problem):
            "damaged \(structure) at byte \(position) (\(problem)); see what a repair would do: volfs repair -n \(pool)"
        case .system(.open, errno: EBUSY): DeviceUse(path: path).text
        case .system(.open, errno: EROFS) where DeviceUse(path: path).isDevice: "the device is read-only; mount the pool with -o ro, or make the device writable: blockdev --setrw \(pool)"
        case .system(let call, let number): systemMessage(call, number)
        case .remote(let problem): remoteMessage(problem)
        }
    }

    private static func status(of problem: RemoteProblem) -> Status {
        switch problem {
        case .unreachable, .unknownHost, .timedOut, .isAnother, .lostWrites: .unreachable
        case .noExport: .notFound
        case .needsTLS, .hasNoTLS, .tlsFailed: .permission
        case .notAServer, .refused, .hasNoFlush, .hungUp: .failed
        }
    }

    private static func remoteMessage(_ problem: RemoteProblem) -> String {
        switch problem {
        case .unreachable(let number): "the server cannot be reached: \(String(cString: strerror(number))); is it running, and is the address right?"
        case .unknownHost: "no host of that name is known; see that the name is right"
        case .timedOut: "the server does not answer; is it running, and is the network up?"
        case .notAServer: "what answers there is no NBD server that can be used; see that the address is right"
        case .noExport: "the server has no export of that name; list what it has: nbdinfo --list"
        case .hungUp: "the server ended the connection at once; it may have no such export, or take no more clients than it has"
        case .needsTLS: "the server wants TLS; write nbds:// or nbds+unix://, and where the keys are: ?tls-certificates=DIR or ?tls-psk-file=FILE"
        case .hasNoTLS: "the server has no TLS; nbd:// would use it without, in the clear"
        case .tlsFailed: "TLS could not be agreed upon; see that the certificates or keys, the user and the host name are what the server has"
        case .refused: "the server refuses to serve it; see its log"
        case .hasNoFlush: "the server cannot make anything durable, so no pool can be written there; let it offer flush: for nbd-server, flush = true"
        case .isAnother: "the server came back without what had been stored; see what it serves now"
        case .lostWrites: "the server came back and did not take again what it may have lost; mount again to recover"
        }
    }

    /// A process by its number, where that is known.
    static func holder(_ process: Int32) -> String { process == 0 ? "another process" : "process \(process)" }

    private static func systemMessage(_ call: PoolError.SystemCall, _ number: Int32) -> String {
        switch (call, number) {
        case (.open, ENOENT): "no such file; make a pool with: volfs create FILE --size SIZE"
        case (.open, EISDIR): "is a directory; a pool is one file, and none is mounted there: name a file that is one"
        case (.open, EACCES): "permission denied; run as the pool's owner or as root"
        case (.open, EROFS): "the filesystem that it is on is read-only; mount the pool with -o ro, copy it elsewhere, or have the filesystem mounted to be written"
        case (.open, EPERM): "not permitted; the file may be immutable: lsattr shows an i then, and chattr -i takes it away"
        case (_, EFBIG): "the filesystem that it is on, or a limit that ulimit -f tells, takes no file of that size; choose a smaller one, or lift the limit"
        case (_, ENOSPC): "the filesystem that it is on has no room left; make some there, or use another"
        // Whoever may not mount(2), as this says, mounts by it, and it has said why.
        case (.mount, EPERM) where geteuid() != 0 && InstalledProgram.isThere("fusermount3"):
            "cannot be mounted: fusermount3 refused, see its own line; allow_other and allow_root need user_allow_other in /etc/fuse.conf, and the directory must be yours"
        case (.mount, _): "cannot mount (\(String(cString: strerror(number)))); is /dev/fuse there, and fusermount3 installed?"
        default: "\(call): \(String(cString: strerror(number)))"
        }
    }
}
