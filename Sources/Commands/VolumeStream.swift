internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine

/// A volume's or snapshot's bytes, through the mount or directly.
protocol VolumeStream: AnyObject {
    var size: UInt64 { get throws(Failure) }
    /// Fills `bytes`.
    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure)
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure)
    /// The end of the data or hole that `offset` is in.
    func extent(at offset: UInt64) throws(Failure) -> Extent
    /// What was written is durable.
    func finish() throws(Failure)
}

/// A file: of a mount, or any other.
final class FileStream: VolumeStream {
    private let name: String
    private let descriptor: Int32

    init(_ path: String, name: String, writing: Bool) throws(Failure) {
        self.name = name
        descriptor = open(path, (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(errno: errno, object: name, reason: nil) }
    }

    deinit { close(descriptor) }

    var size: UInt64 {
        get throws(Failure) {
            let end = lseek(descriptor, 0, SEEK_END)
            guard end >= 0 else { throw Failure(errno: errno, object: name, reason: "cannot be searched; is it a pipe? use -") }
            return UInt64(end)
        }
    }

    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count == 0 { throw Failure(.failed, name, "ended early, at \(offset + UInt64(done)) bytes") }
            if count < 0 && errno != EINTR { throw Failure(errno: errno, object: name, reason: nil) }
            done += max(0, count)
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count < 0 && errno != EINTR { throw Failure(errno: errno, object: name, reason: nil) }
            done += max(0, count)
        }
    }

    func extent(at offset: UInt64) throws(Failure) -> Extent {
        let size = try size
        let data = lseek(descriptor, off_t(offset), 3)
        if data < 0 { return Extent(isData: errno != ENXIO, end: size) }
        if UInt64(data) > offset { return Extent(isData: false, end: UInt64(data)) }
        let hole = lseek(descriptor, off_t(offset), 4)
        return Extent(isData: true, end: hole > data ? UInt64(hole) : size)
    }

    func finish() throws(Failure) {
        guard fsync(descriptor) == 0 || errno == EINVAL else { throw Failure(errno: errno, object: name, reason: nil) }
    }
}

/// An object of a pool that is open here.
final class PoolStream: VolumeStream {
    private let pool: Pool
    private let id: UInt64
    private let name: String

    init(pool: Pool, id: UInt64, name: String) {
        self.pool = pool
        self.id = id
        self.name = name
    }

    var size: UInt64 { get throws(Failure) { try run { () throws(PoolError) in try pool.size(id).bytes } } }

    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) {
        try run { () throws(PoolError) in try pool.read(id, at: offset, into: bytes) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
        try run { () throws(PoolError) in
            try pool.write(id, at: offset, bytes, growing: true)
            // There is no thread for it here.
            _ = try pool.maintain()
        }
    }

    func extent(at offset: UInt64) throws(Failure) -> Extent {
        try run { () throws(PoolError) in try pool.extent(id, at: offset) ?? Extent(isData: false, end: offset) }
    }

    func finish() throws(Failure) { try run { () throws(PoolError) in try pool.flush(id) } }

    private func run<Result>(_ body: () throws(PoolError) -> Result) throws(Failure) -> Result {
        do throws(PoolError) { return try body() } catch { throw Failure(error, object: name, pool: name) }
    }
}
