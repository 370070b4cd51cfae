internal import BlockStorage
internal import Glibc

/// The lock on a pool's file, which each volfs takes that opens it, and who has it.
extension FileDevice {
    /// Milliseconds between two attempts at a device, and how many there are.
    private static let interval = 25, attempts = 20

    /// Throws `.locked` if somebody else has it. Once a device has been written to, udev(7) has a lock to read on it for a moment, and
    /// so it is tried for half a second.
    static func lock(_ raw: Int32, exclusive: Bool, isBlockDevice: Bool) throws(PoolError) {
        for attempt in 1... {
            do throws(PoolError) {
                _ = try systemCall(.flock) { flock(raw, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) }
                return
            } catch .system(_, errno: EWOULDBLOCK) {
                guard exclusive, isBlockDevice, attempt < attempts else { throw .locked(process: 0) }
            }
            pause(milliseconds: interval)
        }
    }

    /// A process that keeps others from opening `path`; 0 if none can be found.
    public static func lockHolder(of path: String) -> Int32 {
        if let holder = lockHolders(of: path).first { return holder }
        // Who has a part of the file keeps others from the whole of it.
        guard let status = status(of: path), let file = LoopFile(of: status.st_rdev), file.isWhole else { return 0 }
        return self.status(of: file.path).flatMap { LockHolder.all(of: $0).first?.process } ?? 0
    }

    /// The processes that have the pool at `path` open, by that name or, of a loop device, as the file it is on. Several can that only
    /// read.
    public static func lockHolders(of path: String) -> [Int32] {
        guard let status = status(of: path) else { return [] }
        let holders = LockHolder.all(of: status)
        guard holders.isEmpty, let file = LoopFile(of: status.st_rdev), let below = self.status(of: file.path) else { return holders.map(\.process) }
        // By who has another part of the file it is locked too, to read.
        return LockHolder.all(of: below).filter(\.isExclusive).map(\.process)
    }

    private static func status(of path: String) -> stat? {
        var status = stat()
        return stat(path, &status) == 0 ? status : nil
    }
}
