internal import BlockStorage
internal import CFuse
internal import LinuxIO
internal import Synchronization
internal import VolumeFS

/// What libfuse hands back with each request: the file system, and memory for replies.
final class FuseContext: Sendable {
    let files: VolumeFileSystem
    let log: Log
    /// Bytes of the largest read, or 0.
    let maximumRead: UInt32
    /// Bytes that the names in open directories take.
    private let directories = Mutex(0)
    /// For replies of usual size; and some of the largest size that nobody uses.
    private let small = ThreadBuffer(count: smallSize)
    private let large = Mutex<[ReplyBuffer]>([])
    private let keptLarge: Int
    /// Where libfuse's session is, once it is: set before the first request.
    private let session = Atomic<UInt>(0)
    private static let smallSize = 16 << 10
    /// The largest request we accept: what the kernel offers at most.
    static let maximumTransfer = 1 << 20

    init(files: VolumeFileSystem, options: MountOptions) {
        self.files = files
        log = options.log
        maximumRead = options.maximumRead
        keptLarge = max(options.threads, 8)
    }

    func begin(_ session: OpaquePointer) { self.session.store(UInt(bitPattern: session), ordering: .releasing) }

    /// Tells the kernel that what it knows of the inodes' owners and modes is old. What it has of their contents stays.
    func forgetAttributes(_ inodes: [Inode]) {
        guard let session = OpaquePointer(bitPattern: session.load(ordering: .acquiring)) else { return }
        // A negative offset: the attributes alone. It fails for an inode that the kernel does not have.
        for inode in inodes { fuse_lowlevel_notify_inval_inode(session, fuse_ino_t(inode.number), -1, 0) }
    }

    /// Lends a buffer of at least `count` bytes, at most `maximumTransfer`, to `body`. What is in it is of no meaning.
    func withBuffer(_ count: Int, _ body: (UnsafeMutableRawBufferPointer) throws(PoolError) -> Void) throws(PoolError) {
        if count <= Self.smallSize {
            try body(small.bytes)
        } else {
            let buffer = large.withLock { $0.popLast() } ?? ReplyBuffer(count: Self.maximumTransfer)
            defer { large.withLock { if $0.count < keptLarge { $0.append(buffer) } } }
            try body(buffer.memory.bytes)
        }
    }

    /// A directory to be read, until `close`. Throws `.outOfMemory` if too much is open.
    func open(_ entries: [DirectoryEntry]) throws(PoolError) -> OpenDirectory {
        let directory = OpenDirectory(entries: entries)
        try directories.withLock { bytes throws(PoolError) in
            guard bytes + directory.size <= VolumeFileSystem.directoryLimit else {
                throw .outOfMemory(limit: UInt64(VolumeFileSystem.directoryLimit))
            }
            bytes += directory.size
        }
        return directory
    }

    func close(_ directory: OpenDirectory) { directories.withLock { $0 -= directory.size } }

    private final class ReplyBuffer: Sendable {
        let memory: AlignedBuffer
        init(count: Int) { memory = AlignedBuffer(count: count) }
    }
}

/// The names of one open directory, as they were when it was opened.
final class OpenDirectory {
    let entries: [DirectoryEntry]
    /// Bytes of memory, about.
    let size: Int

    init(entries: [DirectoryEntry]) {
        self.entries = entries
        size = entries.reduce(256) { $0 + 64 + $1.name.utf8.count }
    }
}
