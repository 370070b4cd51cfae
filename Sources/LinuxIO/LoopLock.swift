internal import BlockStorage
internal import CLinux
internal import Glibc

/// The lock on the file that a loop device is on, as whoever opens that file itself takes it: so that one pool is not used by both
/// names. It ends with its owner.
final class LoopLock: Sendable {
    private let descriptor: FileDescriptor
    /// Of a loop device on a loop device.
    private let below: LoopLock?

    private init(_ descriptor: consuming FileDescriptor, _ below: LoopLock?) {
        self.descriptor = descriptor
        self.below = below
    }

    /// Nil for what is no loop device, and where its file cannot be had any more, or not be locked. A part of a file is locked shared:
    /// other parts are others' to use. Throws `.locked` if somebody has the file.
    static func take(under device: Int32, exclusive: Bool) throws(PoolError) -> LoopLock? {
        var status = stat()
        guard fstat(device, &status) == 0, status.st_mode & S_IFMT == S_IFBLK, let file = LoopFile(of: status.st_rdev) else { return nil }
        let locksAll = exclusive && file.isWhole
        guard let descriptor = open(file.path, writing: locksAll) else { return nil }
        let raw = descriptor.raw
        // Another file may have the name by now.
        guard fstat(raw, &status) == 0, volfs_is_loop_file(device, UInt64(status.st_dev), UInt64(status.st_ino)) == 1 else { return nil }
        do throws(PoolError) {
            try FileDevice.lock(raw, exclusive: locksAll, isBlockDevice: status.st_mode & S_IFMT == S_IFBLK)
        } catch .system {
            return nil
        }
        return LoopLock(descriptor, try take(under: raw, exclusive: locksAll))
    }

    /// Over a network only who may write can have the lock to write. Without waiting, should the name have become that of a pipe.
    private static func open(_ path: String, writing: Bool) -> FileDescriptor? {
        if writing, let descriptor = try? FileDescriptor(opening: path, flags: O_RDWR | O_NONBLOCK) { return descriptor }
        return try? FileDescriptor(opening: path, flags: O_RDONLY | O_NONBLOCK)
    }
}
