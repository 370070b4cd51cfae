internal import BlockStorage
internal import CFuse
internal import Synchronization
internal import VolumeFS

/// What libfuse hands back with each request: the file system, and memory for replies.
final class FuseContext: Sendable {
    let files: VolumeFileSystem
    private let idle = Mutex<[ReplyBuffer]>([])
    /// The largest request we accept: what the kernel offers at most.
    static let maximumTransfer = 1 << 20

    init(files: VolumeFileSystem) { self.files = files }

    /// Lends a buffer of `maximumTransfer` bytes to `body`.
    func withBuffer(_ body: (UnsafeMutableRawBufferPointer) throws(PoolError) -> Void) throws(PoolError) {
        let buffer = idle.withLock { $0.popLast() } ?? ReplyBuffer()
        defer { idle.withLock { $0.append(buffer) } }
        try body(buffer.memory.bytes)
    }

    private final class ReplyBuffer: Sendable {
        let memory = AlignedBuffer(count: FuseContext.maximumTransfer)
    }
}

/// The names of one open directory, as they were when it was opened.
final class OpenDirectory {
    let entries: [DirectoryEntry]
    init(entries: [DirectoryEntry]) { self.entries = entries }
}
