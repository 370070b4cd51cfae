/// A device's number, as stat(2) has it, and how the kernel writes it in its texts.
public enum DeviceNumber {
    /// `MAJOR:MINOR`.
    public static func text(_ device: UInt) -> String {
        let major = device >> 8 & 0xfff | device >> 32 & ~0xfff, minor = device & 0xff | device >> 12 & 0xffff_ff00
        return "\(major):\(minor)"
    }
}
