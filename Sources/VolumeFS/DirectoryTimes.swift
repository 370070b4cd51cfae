internal import Synchronization

/// When directories, and files that have no time of their own, last changed: at the start of the mount, or when something in
/// them was made, renamed or removed. Between two changes a time stays the same.
final class DirectoryTimes: Sendable {
    let start: UInt64
    private let changes = Mutex<[Inode: UInt64]>([:])

    init(start: UInt64) { self.start = start }

    func touch(_ inodes: [Inode], _ time: UInt64) {
        changes.withLock { changes in
            for inode in inodes { changes[inode] = max(time, changes[inode] ?? 0) }
        }
    }

    /// Nil if it did not change since the start.
    func change(of inode: Inode) -> UInt64? { changes.withLock { $0[inode] } }

    subscript(_ inode: Inode) -> UInt64 { change(of: inode) ?? start }

    /// For what is gone.
    func forget(_ inodes: [Inode]) { changes.withLock { changes in for inode in inodes { changes[inode] = nil } } }
}
