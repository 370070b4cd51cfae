public import BlockStorage
internal import CLinux
internal import Glibc

/// Memory that outlives the process, as long as somebody holds its descriptor: written by plain stores. Its size never changes.
public final class MemoryFile: @unchecked Sendable {
    // Sendable: who writes where is up to the owner, as with any memory.
    public let bytes: UnsafeMutableRawBufferPointer
    private let descriptor: FileDescriptor

    /// A new one, all zero.
    public convenience init(name: String, size: Int) throws(PoolError) {
        try self.init(FileDescriptor(owning: try systemCall(.open) { volfs_memory_file(name, Int64(size)) }))
    }

    /// What somebody else has made. Throws `.invalid` for a file whose size could change under us, or is 0.
    public init(_ descriptor: consuming FileDescriptor) throws(PoolError) {
        let raw = descriptor.raw
        var status = stat()
        _ = try systemCall(.fstat) { fstat(raw, &status) }
        guard volfs_has_fixed_size(raw) != 0, status.st_size > 0, status.st_size < 1 << 32 else { throw .invalid(.value) }
        let size = Int(status.st_size)
        guard let start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0), start != MAP_FAILED else {
            throw .system(.open, errno: errno)
        }
        bytes = UnsafeMutableRawBufferPointer(start: start, count: size)
        self.descriptor = descriptor
    }

    deinit { munmap(bytes.baseAddress, bytes.count) }

    package var raw: Int32 { descriptor.raw }
}
