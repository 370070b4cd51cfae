internal import CFuse
internal import CLinux

/// Which FUSE there is to mount with.
public enum FuseVersions {
    /// Of libfuse, as `3.14.0`.
    public static var library: String { String(cString: fuse_pkgversion()) }

    /// Of the kernel's protocol, as `7.45`. Nil where the kernel does not tell: to whoever may not mount, or without /dev/fuse.
    public static var kernel: String? {
        var major: UInt32 = 0, minor: UInt32 = 0
        return volfs_fuse_protocol(&major, &minor) == 0 ? "\(major).\(minor)" : nil
    }
}
