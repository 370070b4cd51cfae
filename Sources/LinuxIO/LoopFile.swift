internal import BlockStorage
internal import CLinux
internal import Glibc

/// The file that a loop device is on, as the kernel tells its name.
public struct LoopFile: Equatable, Sendable {
    public let path: String
    /// Whether the device is all of the file, not a partition or another range of it.
    public let isWhole: Bool

    /// Of the device or partition with that number. Nil for one that is on no file. The file itself is not touched: it may be on a
    /// filesystem that hangs.
    public init?(of device: UInt) { self.init(directory: "/sys/dev/block/\(DeviceNumber.text(device))") }

    /// The same, of the one whose directory in sysfs that is.
    public init?(directory: String) {
        let isPartition = access("\(directory)/partition", F_OK) == 0
        let loop = isPartition ? "\(directory)/../loop" : "\(directory)/loop"
        guard let text = readText("\(loop)/backing_file"), text.hasSuffix("\n") else { return nil }
        path = String(text.dropLast())
        isWhole = !isPartition && ["offset", "sizelimit"].allSatisfy { readText("\(loop)/\($0)") == "0\n" }
    }

    /// Whether the loop device at the path `device`, or a partition of it, is on the very file that is at `file` now, whatever name that
    /// had once. Asks the kernel, and it the filesystem of the file. Nil where it cannot be asked, as by who may not open the device.
    public static func isDevice(_ device: String, on file: String) -> Bool? {
        var status = stat()
        guard stat(file, &status) == 0, let descriptor = try? FileDescriptor(opening: device, flags: O_RDONLY | O_NONBLOCK) else { return nil }
        let answer = volfs_is_loop_file(descriptor.raw, UInt64(status.st_dev), UInt64(status.st_ino))
        return answer < 0 ? nil : answer == 1
    }
}
