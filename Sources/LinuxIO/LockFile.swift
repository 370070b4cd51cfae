public import BlockStorage
internal import Glibc

/// A lock among the processes of one user on this machine, for what has no file that could be locked. It ends with its owner, and so
/// does the empty file that stands for it, unless the owner is killed; then with the next one.
public final class LockFile: Sendable {
    private let descriptor: FileDescriptor
    private let path: String

    /// Makes the directories above it, for their owner only. Throws `.locked` if another process has it.
    public init(path: String, exclusive: Bool) throws(PoolError) {
        Self.makeDirectories(of: path)
        self.path = path
        while true {
            let descriptor = try FileDescriptor(opening: path, flags: O_RDWR | O_CREAT | O_NOFOLLOW)
            let raw = descriptor.raw
            do throws(PoolError) {
                _ = try systemCall(.flock) { flock(raw, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) }
            } catch .system(_, errno: EWOULDBLOCK) {
                throw .locked(process: 0)
            }
            // Who had it may have removed it in between: then the file of that name is another, or not there yet.
            if Self.isThere(raw, path) {
                self.descriptor = descriptor
                return
            }
        }
    }

    deinit {
        let raw = descriptor.raw
        // By nobody else at this moment; who opens it from now on finds that it has no name any more.
        if flock(raw, LOCK_EX | LOCK_NB) == 0 && Self.isThere(raw, path) { unlink(path) }
    }

    /// Whether the open file is the one that has the name.
    private static func isThere(_ raw: Int32, _ path: String) -> Bool {
        var one = stat(), other = stat()
        return fstat(raw, &one) == 0 && lstat(path, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino
    }

    private static func makeDirectories(of path: String) {
        guard let cut = path.lastIndex(of: "/"), cut != path.startIndex else { return }
        let directory = String(path[..<cut])
        if access(directory, F_OK) == 0 { return }
        makeDirectories(of: directory)
        mkdir(directory, 0o700)
    }
}
