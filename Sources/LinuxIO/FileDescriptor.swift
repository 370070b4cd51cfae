public import BlockStorage
internal import CLinux
internal import Glibc

/// An open file, closed exactly once, when its owner goes away.
public struct FileDescriptor: ~Copyable, Sendable {
    package let raw: Int32

    /// Opens `path` with open(2)'s `flags`, close-on-exec. A file that O_CREAT makes is readable by its owner only.
    public init(opening path: String, flags: Int32) throws(PoolError) {
        raw = try systemCall(.open) { volfs_open(path, flags | O_CLOEXEC, 0o600) }
    }

    /// Takes a descriptor over that a system call has just returned.
    package init(owning raw: Int32) { self.raw = raw }

    deinit {
        let closed = close(raw) == 0
        // EBADF: our number was closed elsewhere, and may already be another file. Writing on would damage it.
        precondition(closed || errno != EBADF, "descriptor \(raw) closed twice")
    }
}
