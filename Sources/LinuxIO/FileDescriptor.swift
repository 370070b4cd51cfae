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

    /// Whether it is that of /dev/fuse.
    package var isFuse: Bool {
        var status = stat()
        // Character device 10:229.
        return fstat(raw, &status) == 0 && status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 10 << 8 | 229
    }

    /// Of /dev/fuse: whether its mount is still there.
    package var isConnected: Bool {
        var wanted = pollfd(fd: raw, events: 0, revents: 0)
        return poll(&wanted, 1, 0) == 0
    }

    /// Gives the descriptor up to the caller, who closes it.
    package consuming func take() -> Int32 {
        let number = raw
        discard self
        return number
    }

    deinit {
        let closed = close(raw) == 0
        // EBADF: our number was closed elsewhere, and may already be another file. Writing on would damage it.
        precondition(closed || errno != EBADF, "descriptor \(raw) closed twice")
    }
}
