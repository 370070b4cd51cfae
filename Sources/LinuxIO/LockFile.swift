public import BlockStorage
internal import Glibc

/// A lock among the processes of one user on this machine, for what has no file that could be locked. It ends with its owner.
/// The empty file stays.
public final class LockFile: Sendable {
    private let descriptor: FileDescriptor

    /// Makes the directories above it, for their owner only. Throws `.locked` if another process has it.
    public init(path: String, exclusive: Bool) throws(PoolError) {
        Self.makeDirectories(of: path)
        descriptor = try FileDescriptor(opening: path, flags: O_RDWR | O_CREAT | O_NOFOLLOW)
        let raw = descriptor.raw
        do throws(PoolError) {
            _ = try systemCall(.flock) { flock(raw, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) }
        } catch .system(_, errno: EWOULDBLOCK) {
            throw .locked(process: 0)
        }
    }

    private static func makeDirectories(of path: String) {
        guard let cut = path.lastIndex(of: "/"), cut != path.startIndex else { return }
        let directory = String(path[..<cut])
        if access(directory, F_OK) == 0 { return }
        makeDirectories(of: directory)
        mkdir(directory, 0o700)
    }
}
