public import BlockStorage
internal import CLinux
internal import Glibc
internal import Synchronization

/// A regular file or a block device as a `BlockDevice`. Holds an exclusive lock on it as long as it lives, unless
/// opened read-only beside a writer. A block device that is written is nobody else's meanwhile: no program formats or mounts it.
public final class FileDevice: WaitingDevice {
    public let path: String
    /// Of a block device. Goes before the lock, by whose end others see that the pool is free.
    private let hold: DeviceHold?
    private let descriptor: FileDescriptor
    private let isBlockDevice: Bool
    /// Memory for what O_DIRECT cannot take as it is; nil without O_DIRECT.
    private let bounce: BounceBuffers?
    /// Held during I/O: who changes a part of a block with O_DIRECT reads and writes the whole of it.
    private let partLock = Mutex<Void>(())
    /// Told of reads that are not in the kernel's cache, and of flushes.
    public let waits = WaitNotice()
    /// What the kernel said when it was asked to begin storing something; 0 for nothing.
    private let failedEarly = Atomic<Int32>(0)
    /// Bytes from which on a write is handed on to the disk at once.
    private static let largeWrite = 128 << 10
    /// Nil with O_DIRECT.
    private let cache: KernelCache?

    /// `readOnlyAlone` is for who is to say what writing would do: it fails where that would.
    public enum Mode: Sendable { case readOnly, readOnlyAlone, readWrite }

    /// Opens an existing pool file, past the kernel's page cache if `isDirect`. Throws `.locked` with the holder's process number if another process has it, `.system(.open, EISDIR)` for a
    /// directory, `.system(.open, EROFS)` for what cannot be written, `.system(.open, EINVAL)` where its filesystem has no direct I/O, `.system(.open, EBUSY)` for a block device that
    /// somebody else has for himself.
    public init(opening path: String, mode: Mode, isDirect: Bool = false) throws(PoolError) {
        self.path = path
        descriptor = try FileDescriptor(opening: path, flags: mode == .readWrite ? O_RDWR : O_RDONLY)
        let raw = descriptor.raw
        isBlockDevice = try Self.kind(of: raw)
        if isBlockDevice && mode != .readOnly { try Self.refuseReadOnly(raw) }
        bounce = isDirect ? BounceBuffers() : nil
        cache = isDirect ? nil : KernelCache(raw)
        if isDirect { _ = try systemCall(.open) { volfs_set_direct(raw) } }
        try Self.lock(raw, exclusive: mode == .readWrite, isBlockDevice: isBlockDevice)
        hold = isBlockDevice ? try DeviceHold(of: raw, path, mode) : nil
    }

    /// Makes a new sparse file of `size` bytes. Throws `.exists` if `path` is there already, unless `replacing`.
    /// The file and its name are durable on return. Of a block device nothing changes; throws `.system(.open, EBUSY)` if it is in use.
    public init(creating path: String, size: UInt64, replacing: Bool = false) throws(PoolError) {
        self.path = path
        guard size <= UInt64(Int64.max) else { throw .tooLarge(size: size, limit: UInt64(Int64.max)) }
        do throws(PoolError) {
            descriptor = try FileDescriptor(opening: path, flags: O_RDWR | O_CREAT | (replacing ? 0 : O_EXCL))
        } catch .system(.open, errno: EEXIST) {
            throw .exists
        }
        isBlockDevice = try Self.kind(of: descriptor.raw)
        bounce = nil
        let raw = descriptor.raw
        if isBlockDevice { try Self.refuseReadOnly(raw) }
        cache = KernelCache(raw)
        try Self.lock(raw, exclusive: true, isBlockDevice: isBlockDevice)
        hold = isBlockDevice ? try DeviceHold(of: raw, path, .readWrite) : nil
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

    /// Cuts the end off the file. The size is durable on return. A block device stays as it is.
    public func shrink(to size: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        let old = try self.size
        if isBlockDevice || size >= old { return }
        _ = try systemCall(.ftruncate) { ftruncate(raw, off_t(size)) }
        _ = try systemCall(.fdatasync) { fsync(raw) }
    }

    /// What the host's filesystem has free, without what the holes of the file may still take. A block device has what it has.
    public var room: UInt64 {
        get throws(PoolError) {
            if isBlockDevice { return 0 }
            guard let (free, allocated) = storage else { return 0 }
            let size = try self.size, holes = size > allocated ? size - allocated : 0
            return free > holes ? free - holes : 0
        }
    }

    public var storage: (free: UInt64, allocated: UInt64)? {
        var status = statvfs()
        guard !isBlockDevice, fstatvfs(descriptor.raw, &status) == 0, let allocated = try? allocatedSize else { return nil }
        return (UInt64(status.f_bavail) * UInt64(status.f_frsize), allocated)
    }

    public var lastRefuge: String? {
        var status = stat()
        guard !isBlockDevice, fstat(descriptor.raw, &status) == 0, status.st_nlink == 0 else { return nil }
        return "/proc/\(getpid())/fd/\(descriptor.raw)"
    }

    public func allocate(at offset: UInt64, count: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        if isBlockDevice { return }
        do throws(PoolError) {
            _ = try systemCall(.fallocate) { volfs_allocate(raw, Int64(offset), Int64(count)) }
        } catch .system(_, errno: EOPNOTSUPP) {
            // Where it cannot be asked for, a write gets it or fails.
        }
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
        if let bounce, !BounceBuffers.isAligned(UnsafeRawBufferPointer(bytes), offset) {
            return try readAround(bytes, at: offset, bounce)
        }
        let done = cache?.read(into: bytes, at: offset, isCrowded: waits.isWanted) ?? 0
        if done == bytes.count { return }
        guard waits.isWanted else { return try get(bytes, from: done, at: offset) }
        try waits.during { () throws(PoolError) in try get(bytes, from: done, at: offset) }
    }

    /// What is in memory is copied. Once a piece is not, the kernel is told of all that are left before one is waited for: to a disk
    /// many small reads at once are hardly more work than one.
    public func read(_ pieces: UnsafeBufferPointer<ReadPiece>) throws(PoolError) {
        guard let cache else {
            for piece in pieces { try read(into: piece.bytes, at: piece.offset) }
            return
        }
        var left = pieces[...], done = 0
        while let piece = left.first {
            done = cache.readPiece(into: piece.bytes, at: piece.offset)
            if done < piece.bytes.count { break }
            left.removeFirst()
        }
        if left.isEmpty { return }
        cache.forecast(left.map { $0.range })
        try waits.during { () throws(PoolError) in
            for piece in left {
                try get(piece.bytes, from: done, at: piece.offset)
                done = 0
            }
        }
    }

    public var wantsForecast: Bool { cache?.misses ?? false }
    public func forecast(_ ranges: [Range<UInt64>]) { cache?.forecast(ranges) }

    private func get(_ bytes: UnsafeMutableRawBufferPointer, from start: Int, at offset: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        var done = start
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = try systemCall(.pread) { pread(raw, rest.baseAddress, rest.count, off_t(offset) + off_t(done)) }
            guard count > 0 else {
                throw .truncated(size: try size, expected: offset + UInt64(bytes.count))
            }
            done += count
        }
    }

    public func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        if let bounce, !BounceBuffers.isAligned(bytes, offset) { return try writeAround(bytes, at: offset, bounce) }
        try put(bytes, at: offset)
    }

    /// With one system call, if the kernel takes all of it and O_DIRECT is not in the way.
    public func write(_ pieces: [UnsafeRawBufferPointer], at offset: UInt64) throws(PoolError) {
        var done = 0
        if bounce == nil && pieces.count > 1 && pieces.count <= Self.mostPieces {
            let raw = descriptor.raw
            done = try withUnsafeTemporaryAllocation(of: iovec.self, capacity: pieces.count) { vectors throws(PoolError) in
                for (index, piece) in pieces.enumerated() {
                    vectors.initializeElement(at: index, to: iovec(iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count))
                }
                return try systemCall(.pwrite) { pwritev(raw, vectors.baseAddress, Int32(pieces.count), off_t(offset)) }
            }
        }
        var start = 0
        for piece in pieces {
            let end = start + piece.count
            if end > done {
                let from = max(0, done - start)
                try write(piece.part(from..<piece.count), at: offset + UInt64(start + from))
            }
            start = end
        }
    }

    /// Pieces of memory that one system call writes.
    private static let mostPieces = 1024

    /// For O_DIRECT: reads the whole blocks around a range, and of them what was asked for.
    private func readAround(
        _ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64, _ bounce: BounceBuffers
    ) throws(PoolError) {
        let raw = descriptor.raw
        let unit = UInt64(AlignedBuffer.alignment)
        try bounce.withBuffer { buffer throws(PoolError) in
            var done = 0
            while done < bytes.count {
                let at = offset + UInt64(done)
                let start = at / unit * unit
                let within = Int(at - start)
                let wanted = min(buffer.count - within, bytes.count - done)
                let length = (within + wanted + Int(unit) - 1) / Int(unit) * Int(unit)
                // At the end of the file there is less than whole blocks.
                let count = try systemCall(.pread) { pread(raw, buffer.baseAddress, length, off_t(start)) }
                guard count > within else { throw .truncated(size: try size, expected: offset + UInt64(bytes.count)) }
                let part = min(wanted, count - within)
                bytes.part(done..<done + part).copyMemory(from: UnsafeRawBufferPointer(buffer.part(within..<within + part)))
                done += part
            }
        }
    }

    /// For O_DIRECT: writes from memory that is not aligned. Where the range has parts of blocks, their rest is read first; one
    /// such write at a time, which is rare: a pool writes whole blocks.
    private func writeAround(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ bounce: BounceBuffers) throws(PoolError) {
        let unit = UInt64(AlignedBuffer.alignment)
        try bounce.withBuffer { buffer throws(PoolError) in
            if offset % unit != 0 || bytes.count % Int(unit) != 0 {
                return try partLock.withLock { _ throws(PoolError) in try writeParts(bytes, at: offset, buffer) }
            }
            var done = 0
            while done < bytes.count {
                let part = bytes.part(done..<min(bytes.count, done + buffer.count))
                buffer.part(0..<part.count).copyMemory(from: part)
                try put(UnsafeRawBufferPointer(buffer.part(0..<part.count)), at: offset + UInt64(done))
                done += part.count
            }
        }
    }

    private func writeParts(
        _ bytes: UnsafeRawBufferPointer, at offset: UInt64, _ buffer: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        let unit = UInt64(AlignedBuffer.alignment)
        var done = 0
        while done < bytes.count {
            let start = (offset + UInt64(done)) / unit * unit
            let within = Int(offset + UInt64(done) - start)
            let count = min(buffer.count - within, bytes.count - done)
            let whole = buffer.part(0..<(within + count + Int(unit) - 1) / Int(unit) * Int(unit))
            try read(into: whole, at: start)
            whole.part(within..<within + count).copyMemory(from: bytes.part(done..<done + count))
            try put(UnsafeRawBufferPointer(whole), at: start)
            done += count
        }
    }

    private func put(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        let raw = descriptor.raw
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = try systemCall(.pwrite) { pwrite(raw, rest.baseAddress, rest.count, off_t(offset) + off_t(done)) }
            guard count > 0 else { throw .system(.pwrite, errno: ENOSPC) }
            done += count
        }
        if done >= Self.largeWrite && bounce == nil { beginStoring(offset, count: done) }
    }

    /// Has the kernel begin now with what the next flush would wait for. Large writes are seldom written again soon, and a disk
    /// that begins only with the flush has idled until then.
    private func beginStoring(_ offset: UInt64, count: Int) {
        if volfs_begin_storing(descriptor.raw, Int64(offset), Int64(count)) == 0 { return }
        // Where something was lost the flush may not be told again: so it fails too. Those are from no attempt.
        let problem = errno
        if ![EINTR, EAGAIN, ENOMEM, EINVAL, ESPIPE, ENOSYS, EOPNOTSUPP].contains(problem) { failedEarly.store(problem, ordering: .relaxed) }
    }

    public func flush() throws(PoolError) {
        let raw = descriptor.raw
        try waits.during { () throws(PoolError) in _ = try systemCall(.fdatasync) { fdatasync(raw) } }
        // Relaxed: whoever waits for the flush has seen his write return, and so what was stored in it.
        let failure = failedEarly.load(ordering: .relaxed)
        if failure != 0 { throw .system(.fdatasync, errno: failure) }
    }

    public func flushAndDropCache() throws(PoolError) {
        try flush()
        // Advice, and its failure harmless: on a filesystem that ignores it nothing was lost either.
        posix_fadvise(descriptor.raw, 0, 0, POSIX_FADV_DONTNEED)
    }

    public func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        if count == 0 { return }
        let raw = descriptor.raw
        do throws(PoolError) {
            _ = try systemCall(.fallocate) { volfs_punch_hole(raw, Int64(offset), Int64(count)) }
        } catch .system(_, errno: EOPNOTSUPP) {
            // The host cannot give the range back. The pool's own accounting does not depend on it.
        }
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

    /// The kernel lets a device be opened to be written that nobody can write to.
    private static func refuseReadOnly(_ device: Int32) throws(PoolError) {
        if volfs_is_read_only_device(device) == 1 { throw .system(.open, errno: EROFS) }
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
