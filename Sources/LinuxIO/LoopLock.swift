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
        // Without waiting, should the name have become that of a pipe.
        guard let descriptor = try? FileDescriptor(opening: file.path, flags: O_RDONLY | O_NONBLOCK) else { return nil }
        let raw = descriptor.raw
        // Another file may have the name by now.
        guard fstat(raw, &status) == 0, volfs_is_loop_file(device, UInt64(status.st_dev), UInt64(status.st_ino)) == 1 else { return nil }
        do throws(PoolError) {
            try FileDevice.lock(raw, exclusive: exclusive && file.isWhole)
        } catch .system {
            return nil
        }
        return LoopLock(descriptor, try take(under: raw, exclusive: exclusive && file.isWhole))
    }
}
