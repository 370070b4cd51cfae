public import BlockStorage
internal import CLinux
internal import Glibc

/// A regular file or a block device as a `BlockDevice`. Holds an exclusive lock on it as long as it lives, unless
/// opened read-only beside a writer.
public final class FileDevice: BlockDevice {
    public let path: String
    private let descriptor: FileDescriptor
    private let isBlockDevice: Bool

    public enum Mode: Sendable { case readOnly, readWrite }

    /// Opens an existing pool file. Throws `.locked` with the holder's process number if another process has it,
    /// `.system(.open, EISDIR)` for a directory.
    public init(opening path: String, mode: Mode) throws(PoolError) {
        self.path = path
        descriptor = try FileDescriptor(opening: path, flags: mode == .readOnly ? O_RDONLY : O_RDWR)
        isBlockDevice = try Self.kind(of: descriptor.raw)
        try Self.lock(descriptor.raw, exclusive: mode == .readWrite)
    }

    /// Makes a new sparse file of `size` bytes. Throws `.exists` if `path` is there already, unless `replacing`.
    /// The file and its name are durable on return.
    public init(creating path: String, size: UInt64, replacing: Bool = false) throws(PoolError) {
        self.path = path
        guard size <= UInt64(Int64.max) else { throw .tooLarge(size: size, limit: UInt64(Int64.max)) }
        do throws(PoolError) {
            descriptor = try FileDescriptor(opening: path, flags: O_RDWR | O_CREAT | (replacing ? 0 : O_EXCL))
        } catch .system(.open, errno: EEXIST) {
            throw .exists
        }
        isBlockDevice = try Self.kind(of: descriptor.raw)
        let raw = descriptor.raw
        try Self.lock(raw, exclusive: true)
        if !isBlockDevice {
            _ = try systemCall(.ftruncate) { ftruncate(raw, 0) }
            _ = try systemCall(.ftruncate) { ftruncate(raw, off_t(size)) }
            try Self.syncDirectory(of: path)
        }
    }

    public var size: UInt64 {
        get throws(PoolError) {
            let raw = descriptor.raw
            if isBlockDevice { return UInt64(try systemCall(.ioctl) { volfs_block_device_size(raw) }) }
            var status = stat()
            _ = try systemCall(.fstat) { fstat(raw, &status) }
            return UInt64(status.st_size)
        }
    }

    /// Makes the file larger, sparse, or finds out how large the block device has become. The size is durable on return.
    public func grow(to size: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        let old = try self.size
        if isBlockDevice || size <= old { return }
        guard size <= UInt64(Int64.max) else { throw .tooLarge(size: size, limit: UInt64(Int64.max)) }
        _ = try systemCall(.ftruncate) { ftruncate(raw, off_t(size)) }
        _ = try systemCall(.fdatasync) { fsync(raw) }
    }

    /// Bytes of host storage the file occupies now; 0 for a block device.
    public var allocatedSize: UInt64 {
        get throws(PoolError) {
            let raw = descriptor.raw
            var status = stat()
            _ = try systemCall(.fstat) { fstat(raw, &status) }
            return UInt64(status.st_blocks) * 512
        }
    }

    public func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = try systemCall(.pread) { pread(raw, rest.baseAddress, rest.count, off_t(offset) + off_t(done)) }
            guard count > 0 else {
                throw .outOfRange(offset: offset, count: UInt64(bytes.count), size: offset + UInt64(done))
            }
            done += count
        }
    }

    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = try systemCall(.pwrite) { pwrite(raw, rest.baseAddress, rest.count, off_t(offset) + off_t(done)) }
            guard count > 0 else { throw .system(.pwrite, errno: ENOSPC) }
            done += count
        }
    }

    public func flush() throws(PoolError) {
        let raw = descriptor.raw
        _ = try systemCall(.fdatasync) { fdatasync(raw) }
    }

    public func flushAndDropCache() throws(PoolError) {
        try flush()
        // Advice, and its failure harmless: on a filesystem that ignores it nothing was lost either.
        posix_fadvise(descriptor.raw, 0, 0, POSIX_FADV_DONTNEED)
    }

    public func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        do throws(PoolError) {
            _ = try systemCall(.fallocate) { volfs_punch_hole(raw, Int64(offset), Int64(count)) }
        } catch .system(_, errno: EOPNOTSUPP) {
            // The host cannot give the range back. The pool's own accounting does not depend on it.
        }
    }

    /// The process that holds the lock on `path`, from /proc/locks; 0 if it cannot be found.
    public static func lockHolder(of path: String) -> Int32 {
        var status = stat()
        guard stat(path, &status) == 0, let table = readText("/proc/locks") else { return 0 }
        let suffix = ":\(status.st_ino)"
        for line in table.split(separator: "\n") where line.contains("FLOCK") && line.contains("WRITE") {
            let words = line.split(separator: " ")
            guard let file = words.first(where: { $0.hasSuffix(suffix) }), let at = words.firstIndex(of: file), at > 0
            else { continue }
            return Int32(words[at - 1]) ?? 0
        }
        return 0
    }

    private static func kind(of raw: Int32) throws(PoolError) -> Bool {
        var status = stat()
        _ = try systemCall(.fstat) { fstat(raw, &status) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return false
        case S_IFBLK: return true
        case S_IFDIR: throw .system(.open, errno: EISDIR)
        default: throw .notAPool
        }
    }

    private static func lock(_ raw: Int32, exclusive: Bool) throws(PoolError) {
        do throws(PoolError) {
            _ = try systemCall(.flock) { flock(raw, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) }
        } catch .system(_, errno: EWOULDBLOCK) {
            throw .locked(process: 0)
        }
    }

    private static func syncDirectory(of path: String) throws(PoolError) {
        let cut = path.lastIndex(of: "/")
        let directory = cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let handle = try FileDescriptor(opening: directory, flags: O_RDONLY | O_DIRECTORY)
        let raw = handle.raw
        _ = try systemCall(.fdatasync) { fsync(raw) }
    }
}

/// The whole of a small text file, or nil.
public func readText(_ path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}
