internal import BlockStorage
internal import Glibc

/// What keeps others from a block device, beside the lock on its node, which only a volfs respects. It ends with its owner.
final class DeviceHold: Sendable {
    /// The kernel refuses mkfs(8), mount(2), swapon(8) and whoever else wants the whole of a device that is claimed. Nil if it is only read.
    private let claim: FileDescriptor?
    private let file: LoopLock?

    /// `path` is what the device was opened by. Throws `.locked` if the file below it is another volfs's, `.system(.open, EBUSY)` if somebody has claimed the device or a part of it.
    init(of device: Int32, _ path: String, _ mode: FileDevice.Mode) throws(PoolError) {
        claim = mode == .readOnly ? nil : try Self.claim(device, path)
        file = try LoopLock.take(under: device, exclusive: mode == .readWrite)
    }

    /// A process that ends lets go of its lock first, and who only looks whether a device is free has it for a moment: so that one
    /// attempt is not enough.
    private static func claim(_ device: Int32, _ path: String) throws(PoolError) -> FileDescriptor {
        for _ in 0..<10 {
            do throws(PoolError) { return try tryToClaim(device, path) } catch .system(.open, errno: EBUSY) { pause(milliseconds: 10) }
        }
        return try tryToClaim(device, path)
    }

    /// By way of /proc it is the device that is open, whatever its name means by now.
    private static func tryToClaim(_ device: Int32, _ path: String) throws(PoolError) -> FileDescriptor {
        do throws(PoolError) {
            return try FileDescriptor(opening: "/proc/self/fd/\(device)", flags: O_RDONLY | O_EXCL)
        } catch .system(.open, errno: ENOENT) {
            // No /proc, as in some chroots. So by its name, if that still is the device's.
            let claim = try FileDescriptor(opening: path, flags: O_RDONLY | O_EXCL)
            var one = stat(), other = stat()
            guard fstat(claim.raw, &one) == 0, fstat(device, &other) == 0, one.st_rdev == other.st_rdev else { throw .system(.open, errno: ENOENT) }
            return claim
        }
    }
}
