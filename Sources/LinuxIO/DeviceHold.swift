internal import BlockStorage
internal import Glibc

/// What keeps others from a block device, beside the lock on its node, which only a volfs respects. It ends with its owner.
final class DeviceHold: Sendable {
    /// The kernel refuses mkfs(8), mount(2), swapon(8) and whoever else wants the whole of a device that is claimed. Nil if it is only read.
    private let claim: FileDescriptor?
    private let file: LoopLock?

    /// Throws `.locked` if the file below it is another volfs's, `.system(.open, EBUSY)` if somebody has claimed the device or a part of it.
    init(of device: Int32, _ mode: FileDevice.Mode) throws(PoolError) {
        claim = mode == .readOnly ? nil : try Self.claim(device)
        file = try LoopLock.take(under: device, exclusive: mode == .readWrite)
    }

    /// A process that ends lets go of its lock first, and who only looks whether a device is free has it for a moment: so that one
    /// attempt is not enough.
    private static func claim(_ device: Int32) throws(PoolError) -> FileDescriptor {
        for _ in 0..<10 {
            do throws(PoolError) { return try tryToClaim(device) } catch .system(.open, errno: EBUSY) { pause(milliseconds: 10) }
        }
        return try tryToClaim(device)
    }

    /// By way of /proc it is the device that is open, whatever its name means by now.
    private static func tryToClaim(_ device: Int32) throws(PoolError) -> FileDescriptor {
        try FileDescriptor(opening: "/proc/self/fd/\(device)", flags: O_RDONLY | O_EXCL)
    }
}
