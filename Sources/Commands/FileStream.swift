internal import BlockStorage
internal import CLinux
internal import Glibc
internal import PoolEngine

/// A file that can be read anywhere: a volume of a mount, an image, a block device.
final class FileStream: ByteStream {
    private let descriptor: Int32
    /// What an errno means for this file.
    private let failure: (Int32) -> Failure

    /// `flags` as open(2) has them. `mode` is what a new file has of the bits that the process allows. `failure` says what an errno means; without it, that of a file on the host.
    init(_ path: String, flags: Int32, mode: UInt32 = 0o666, failure: ((Int32) -> Failure)? = nil) throws(Failure) {
        let failure = failure ?? { number in
            Failure(errno: number, object: path, reason: number == ENOENT ? "no such file" : String(cString: strerror(number)))
        }
        self.failure = failure
        descriptor = volfs_open(path, flags | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw failure(errno) }
    }

    deinit { close(descriptor) }

    var isSeekable: Bool { true }

    var mode: UInt32? {
        get throws(Failure) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw failure(errno) }
            return status.st_mode & 0o777
        }
    }

    /// False if another process has claimed it. The claim ends with this object.
    func claim() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK }

    var size: UInt64? {
        get throws(Failure) {
            let end = lseek(descriptor, 0, SEEK_END)
            guard end >= 0 else { throw failure(errno) }
            return UInt64(end)
        }
    }

    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count == 0 { break }
            if count < 0 && errno != EINTR { throw failure(errno) }
            done += max(0, count)
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count < 0 && errno != EINTR { throw failure(errno) }
            done += max(0, count)
        }
    }

    private static let seekData: Int32 = 3, seekHole: Int32 = 4

    func extent(at offset: UInt64) throws(Failure) -> Extent? {
        guard let size = try size, offset < size else { return nil }
        let data = lseek(descriptor, off_t(offset), Self.seekData)
        // Where holes cannot be asked for, as of a block device, all of it is data.
        if data < 0 { return Extent(isData: errno != ENXIO, end: size) }
        if UInt64(data) > offset { return Extent(isData: false, end: UInt64(data)) }
        let hole = lseek(descriptor, off_t(offset), Self.seekHole)
        return Extent(isData: true, end: hole > data ? UInt64(hole) : size)
    }

    /// copy_file_range(2): in one mount the daemon shares the blocks.
    func take(from other: any ByteStream, at offset: UInt64, count: UInt64) throws(Failure) -> UInt64? {
        guard let other = other as? FileStream else { return nil }
        let done = volfs_copy_range(other.descriptor, descriptor, Int64(offset), Int(count))
        if done >= 0 { return UInt64(done) }
        switch errno {
        case EXDEV, EINVAL, EOPNOTSUPP, ENOSYS, EBADF, EISDIR, ETXTBSY: return nil
        case EINTR: return 0
        default: throw failure(errno)
        }
    }

    func resize(to size: UInt64) throws(Failure) {
        guard ftruncate(descriptor, off_t(clamping: size)) == 0 else { throw failure(errno) }
    }

    func finish() throws(Failure) {
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure(errno) }
    }
}
