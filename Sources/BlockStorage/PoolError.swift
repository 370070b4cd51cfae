internal import Glibc

/// Every failure the library reports, whichever module finds it.
///
/// Cases carry numbers and small enums; the sentence for a person is made where it is printed, in `Commands`.
public enum PoolError: Error, Equatable, Sendable {
    /// No space was free for `needed` bytes of data and metadata. Nothing has changed.
    case outOfSpace(needed: UInt64, free: UInt64)
    /// A request reaches outside `size` bytes. Nothing has changed.
    case outOfRange(offset: UInt64, count: UInt64, size: UInt64)
    /// A size above what the format can hold.
    case tooLarge(size: UInt64, limit: UInt64)
    case invalid(Argument)
    /// No volume or snapshot of that name.
    case notFound
    case exists
    /// A volume that still has snapshots cannot be deleted.
    case hasSnapshots(count: Int)
    /// Open elsewhere.
    case inUse
    /// The object is a snapshot, or the whole pool is open read-only.
    case readOnly
    case notPermitted
    case notSupported
    /// A write or flush failed earlier, so what reached the device is unknown: nothing is accepted until the pool is
    /// opened again, which recovers it.
    case suspended
    /// A line of a text that does not say what belongs there. Nothing has changed.
    case malformed(line: Int)
    /// A property that is not set.
    case noProperty
    /// As many as a property of the volume allows.
    case tooMany(limit: UInt64)
    /// What is asked for would take more memory than that kind of thing may have; what is open counts.
    case outOfMemory(limit: UInt64)
    /// A snapshot that is held.
    case held
    /// A rule of the mount or a setting of the volume forbids it. Nothing has changed.
    case refused(Refusal)
    /// Somebody asked the work to stop.
    case cancelled
    /// Another process has the pool open; `process` is 0 where its number cannot be known.
    case locked(process: Int32)
    /// Not a pool at all.
    case notAPool
    /// A pool of a format, or with features, this build does not know.
    case unsupportedFormat(version: UInt32, features: UInt64)
    /// The backing file is shorter than the pool in it.
    case truncated(size: UInt64, expected: UInt64)
    /// Bytes read back are not those written. `position` is a byte offset in the pool's file.
    case corrupt(Structure, position: UInt64, Corruption)
    case system(SystemCall, errno: Int32)
    case remote(RemoteProblem)

    public enum Argument: Sendable { case name, nameTooLong, geometry, size, destination, value, job }
    public enum Structure: Sendable {
        case superblock, zoneHeader, journal, spaceLog, bitmap, node, version, data
    }
    public enum Corruption: Sendable { case magic, checksum, identity, mapping, missing, accounting }
    public enum SystemCall: Sendable {
        case open, fstat, pread, pwrite, fdatasync, fallocate, ftruncate, flock, ioctl, mount, thread, spawn
        case socket, bind, listen, connect, poll
    }

    /// What the device is on has no room left, while the pool itself has.
    public var isHostFull: Bool {
        if case .system(_, errno: ENOSPC) = self { return true }
        return false
    }

    /// The one place a failure becomes an errno. Exhaustive: a new case does not compile until it is mapped.
    public var errno: Int32 {
        switch self {
        case .outOfSpace: ENOSPC
        case .outOfRange: EINVAL
        case .tooLarge: EFBIG
        case .invalid(.nameTooLong): ENAMETOOLONG
        case .invalid: EINVAL
        case .notFound: ENOENT
        case .exists: EEXIST
        case .hasSnapshots: ENOTEMPTY
        case .inUse, .locked: EBUSY
        case .readOnly: EROFS
        case .notPermitted: EPERM
        case .notSupported: EOPNOTSUPP
        case .malformed: EINVAL
        case .noProperty: ENODATA
        case .tooMany: EMLINK
        case .outOfMemory: ENOMEM
        case .held: EBUSY
        case .refused(let refusal): refusal.errno
        case .cancelled: EINTR
        case .suspended, .corrupt, .truncated: EIO
        case .notAPool, .unsupportedFormat: EMEDIUMTYPE
        case .system(_, let errno): errno
        case .remote(let problem): problem.errno
        }
    }
}
