/// A device's number, as stat(2) has it, and how the kernel writes it in its texts.
public enum DeviceNumber {
    /// `MAJOR:MINOR`.
    public static func text(_ device: UInt) -> String {
        let parts = parts(device)
        return "\(parts.major):\(parts.minor)"
    }

    static func parts(_ device: UInt) -> (major: UInt, minor: UInt) {
        (device >> 8 & 0xfff | device >> 32 & ~0xfff, device & 0xff | device >> 12 & 0xffff_ff00)
    }
}
