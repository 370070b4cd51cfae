internal import BlockStorage
internal import CFuse
internal import LinuxIO
internal import Synchronization
internal import VolumeFS

/// What libfuse hands back with each request: the file system, and memory for replies.
final class FuseContext: Sendable {
    /// What is agreed on with the kernel in its first request, for as long as the mount lasts.
    struct Agreement: Equatable, Sendable {
        var maximumWrite: UInt32, readAhead: UInt32, capabilities: UInt32
    }

    let files: VolumeFileSystem
    let log: Log
    /// Bytes of the largest read, or 0.
    let maximumRead: UInt32
    /// For which the kernel keeps a snapshot's attributes.
    let attributeSeconds: Double
    /// Agreed on by another daemon: what we have to keep to.
    let inherited: Agreement?
    let directories: DirectoryTable
    /// For replies of usual size; and some of the largest size that nobody uses.
    private let small = ThreadBuffer(count: smallSize)
    private let large = Mutex<[ReplyBuffer]>([])
    private let keptLarge: Int
    /// Where libfuse's session is, once it is: set before the first request.
    private let session = Atomic<UInt>(0)
    private let agreed = Mutex<Agreement?>(nil)
    private let keptMount = AtomicLazyReference<KeptMount>()
    private static let smallSize = 16 << 10
    /// The largest request we accept: what the kernel offers at most.
    static let maximumTransfer = 1 << 20

    init(files: VolumeFileSystem, options: MountOptions) {
        self.files = files
        log = options.log
        maximumRead = options.maximumRead
        attributeSeconds = options.attributeSeconds
        keptLarge = max(options.threads, 8)
        inherited = options.kept.map {
            Agreement(maximumWrite: $0.record.maximumWrite, readAhead: $0.record.readAhead, capabilities: $0.record.capabilities)
        }
        directories = DirectoryTable(generation: options.kept?.generation ?? 0)
    }

    func begin(_ session: OpaquePointer) { self.session.store(UInt(bitPattern: session), ordering: .releasing) }

    /// Tells the kernel that what it knows of the inodes' owners and modes is old. What it has of their contents stays.
    func forgetAttributes(_ inodes: [Inode]) {
        guard let session = OpaquePointer(bitPattern: session.load(ordering: .acquiring)) else { return }
        // A negative offset: the attributes alone. It fails for an inode that the kernel does not have.
        for inode in inodes { fuse_lowlevel_notify_inval_inode(session, fuse_ino_t(inode.number), -1, 0) }
    }

    /// Nil before the first request, and if we cannot keep to what another daemon has agreed on.
    var agreement: Agreement? {
        get { agreed.withLock { $0 } }
        set { agreed.withLock { $0 = newValue } }
    }

    /// Where open files are noted, once there is a mount that outlives us.
    var kept: KeptMount? { keptMount.load() }
    func keep(_ kept: KeptMount) { _ = keptMount.storeIfNil(kept) }

    /// Requests that are left without an answer to the daemon after this one. A lone counter, read when all threads have ended.
    private let left = Atomic(0)
    var leftCount: Int { left.load(ordering: .relaxed) }
    func noteLeft() { left.add(1, ordering: .relaxed) }

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

    private final class ReplyBuffer: Sendable {
        let memory: AlignedBuffer
        init(count: Int) { memory = AlignedBuffer(count: count) }
    }
}
