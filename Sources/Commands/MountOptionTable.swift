/// Every mount option there is. A word that is not here is refused: a typo must not mount silently. Options of a server that
/// the daemon has beside the mount get a group of their own, and a section of mount.volfs(8).
package enum MountOptionTable {
    package static let options: [MountOption] =
        ownership + behaviour + resources + nbd + diagnostics + fuse + generic + refused

    /// The option that a word of this name means. Names that begin with `x-` or `X-` are mount(8)'s and systemd's own.
    package static func find(_ name: String) -> MountOption? {
        options.first { $0.name == name }
            ?? (name.hasPrefix("x-") || name.hasPrefix("X-") ? options.first { $0.name == "x-*" } : nil)
    }

    private static let ownership: [MountOption] = [
        MountOption(name: "uid", value: "USER", group: .ownership),
        MountOption(name: "gid", value: "GROUP", group: .ownership),
        MountOption(name: "umask", value: "MODE", group: .ownership),
        MountOption(name: "file_mode", value: "MODE", group: .ownership),
        MountOption(name: "dir_mode", value: "MODE", group: .ownership),
        MountOption(name: "clone_mode", value: "MODE", group: .ownership),
        MountOption(name: "setuid", value: "USER", group: .ownership),
    ]

    private static let behaviour: [MountOption] = [
        MountOption(name: "ro", group: .behaviour), MountOption(name: "rw", group: .behaviour),
        MountOption(name: "sync", group: .behaviour), MountOption(name: "async", group: .behaviour),
        MountOption(name: "snapshots", value: "visible|hidden", group: .behaviour),
        MountOption(name: "ctl", value: "hidden|visible|off", group: .behaviour),
        MountOption(name: "discard", group: .behaviour), MountOption(name: "nodiscard", group: .behaviour),
        MountOption(name: "fallocate", value: "reserve|ignore", group: .behaviour),
        MountOption(name: "fixed", group: .behaviour),
        MountOption(name: "trash", value: "TIME", group: .behaviour),
        MountOption(name: "autogrow", value: "SIZE", group: .behaviour),
        MountOption(name: "lock_wait", value: "SECONDS", group: .behaviour),
    ]

    private static let resources: [MountOption] = [
        MountOption(name: "cache", value: "SIZE", group: .resources),
        MountOption(name: "dirty", value: "SIZE", group: .resources),
        MountOption(name: "threads", value: "COUNT", group: .resources),
        MountOption(name: "max_idle_threads", value: "COUNT", group: .resources),
        MountOption(name: "max_read", value: "BYTES", group: .resources),
        MountOption(name: "direct", group: .resources),
        MountOption(name: "checksum", value: "on", group: .resources),
    ]

    private static let nbd: [MountOption] = [
        MountOption(name: "nbd", value: "ADDRESS", group: .nbd, isValueOptional: true),
        MountOption(name: "nbd_tls", value: "DIR", group: .nbd), MountOption(name: "nbd_insecure", group: .nbd),
        MountOption(name: "nbd_readonly", group: .nbd),
    ]

    private static let diagnostics: [MountOption] = [
        MountOption(name: "config", value: "FILE", group: .diagnostics),
        MountOption(name: "log", value: "TARGET", group: .diagnostics, isReloadable: true),
        MountOption(name: "loglevel", value: "error|warning|info|debug", group: .diagnostics, isReloadable: true),
        MountOption(name: "metrics", value: "FILE", group: .diagnostics, isReloadable: true),
        MountOption(name: "debug", group: .diagnostics),
    ]

    private static let fuse: [MountOption] = [
        MountOption(name: "allow_other", group: .fuse), MountOption(name: "allow_root", group: .fuse),
        MountOption(name: "default_permissions", group: .fuse),
        MountOption(name: "fsname", value: "NAME", group: .fuse), MountOption(name: "subtype", value: "volfs", group: .fuse),
        MountOption(name: "attr_timeout", value: "SECONDS", group: .fuse),
        MountOption(name: "entry_timeout", value: "SECONDS", group: .fuse),
        MountOption(name: "negative_timeout", value: "SECONDS", group: .fuse),
    ]

    /// What mount(8), systemd or the kernel make of them is theirs.
    private static let generic: [MountOption] =
        [
            "defaults", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "dirsync", "atime", "noatime", "relatime",
            "norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime", "lazytime", "nolazytime", "iversion",
            "noiversion", "mand", "nomand", "silent", "loud", "nouser", "users", "nousers", "owner", "noowner", "group",
            "nogroup", "auto", "noauto", "nofail", "_netdev", "nosymfollow",
        ].map { MountOption(name: $0, group: .generic) } + [
            MountOption(name: "user", value: "NAME", group: .generic, isValueOptional: true),
            MountOption(name: "comment", value: "TEXT", group: .generic), MountOption(name: "context", value: "TEXT", group: .generic),
            MountOption(name: "fscontext", value: "TEXT", group: .generic),
            MountOption(name: "defcontext", value: "TEXT", group: .generic),
            MountOption(name: "rootcontext", value: "TEXT", group: .generic),
            MountOption(name: "uhelper", value: "NAME", group: .generic), MountOption(name: "helper", value: "NAME", group: .generic),
            MountOption(name: "x-*", value: "TEXT", group: .generic, isValueOptional: true),
        ]

    /// What others have and volfs has not, with the reason.
    private static let refused: [MountOption] = [
        MountOption(
            name: "auto_unmount", group: .refused,
            reason: "is not needed and would turn off suid and dev; volfs detaches a mount of its own that is dead, leave it out"),
        MountOption(
            name: "clone_fd", group: .refused,
            reason: "is not for volfs, whose threads share one descriptor; set threads= instead"),
        MountOption(
            name: "drop_privileges", group: .refused,
            reason: "would keep the daemon from unmounting when it is told to end; use setuid=USER"),
        MountOption(name: "remount", group: .refused, reason: "is not possible; unmount and mount again, which takes a moment"),
        MountOption(
            name: "compression", group: .refused,
            reason: "is nothing volfs has; use a filesystem that compresses in the volume, as btrfs does with -o compress"),
        MountOption(
            name: "compress", group: .refused,
            reason: "is nothing volfs has; mount the filesystem in the volume with it, as btrfs takes it"),
        MountOption(
            name: "loop", group: .refused, reason: "is for the volumes of a pool: mount -o loop MOUNTPOINT/VOLUME; a pool needs no loop device"),
    ]
}
