internal import Glibc

/// The file that a loop device is on, as the kernel tells its name.
public struct LoopFile: Equatable, Sendable {
    public let path: String
    /// Whether the device is all of the file, not a partition or another range of it.
    public let isWhole: Bool

    /// Of the device or partition with that number. Nil for one that is on no file. The file itself is not touched: it may be on a
    /// filesystem that hangs.
    public init?(of device: UInt) {
        let directory = "/sys/dev/block/\(DeviceNumber.text(device))"
        let isPartition = access("\(directory)/partition", F_OK) == 0
        let loop = isPartition ? "\(directory)/../loop" : "\(directory)/loop"
        guard let text = readText("\(loop)/backing_file"), text.hasSuffix("\n") else { return nil }
        path = String(text.dropLast())
        isWhole = !isPartition && ["offset", "sizelimit"].allSatisfy { readText("\(loop)/\($0)") == "0\n" }
    }
}
