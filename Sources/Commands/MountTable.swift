internal import Glibc
internal import LinuxIO

/// The volfs mounts of this machine, from /proc/self/mountinfo.
package struct MountTable {
    package struct Mount: Equatable {
        package var mountpoint: String, source: String
    }
    package let mounts: [Mount]

    init() { self.init(text: readText("/proc/self/mountinfo") ?? "") }

    package init(text: String) {
        mounts = MountInfo.parse(text).filter { $0.kind == "fuse.volfs" }.map { Mount(mountpoint: $0.mountpoint, source: $0.source) }
    }

    /// Where a pool is mounted by a daemon that lives. A dead mount is only in the way of its mountpoint.
    func mount(ofPool path: String) -> Mount? { mounts.last { PoolDevice.isSame($0.source, path) && !Self.isDead($0.mountpoint) } }
    /// The mount that serves what an operand names: a pool's file, or the directory it is mounted at.
    func mount(serving path: String) -> Mount? { mount(ofPool: path) ?? mount(at: path) }

    package func mount(at path: String) -> Mount? { mounts.last { $0.mountpoint == path } }

    /// What `volfs umount` is to unmount, dead or alive: the mount at a directory, or that of a pool.
    package func mount(atOrOf path: String) -> Mount? { mount(at: path) ?? mount(ofPool: path) ?? mounts.last { PoolDevice.isSame($0.source, path) } }

    /// Where what is mounted at a directory can be seen: there, and wherever else it is bound to. Of the root, which all is in, nothing.
    static func places(of mountpoint: String) -> [String] {
        if mountpoint == "/" { return [] }
        let all = MountInfo.all(), device = all.last { $0.mountpoint == mountpoint && $0.kind == "fuse.volfs" }?.device
        return [mountpoint] + all.filter { $0.device == device && $0.mountpoint != "/" }.map(\.mountpoint)
    }

    /// True for a file of a mount: a volume, not a pool.
    package func isInside(_ path: String) -> Bool { mounts.contains { path.hasPrefix($0.mountpoint + "/") } }

    /// The mount that a file is in.
    func mount(around path: String) -> Mount? { mounts.last { path.hasPrefix($0.mountpoint + "/") } }

    /// Why the kernel lets nothing be changed at a mountpoint, and what to do; nil if it would.
    static func readOnlyReason(_ mountpoint: String) -> String? {
        var status = statvfs()
        guard statvfs(mountpoint, &status) == 0, status.f_flag & UInt(ST_RDONLY) != 0 else { return nil }
        return "the pool is mounted read-only at \(mountpoint); unmount it, and mount it without ro or use it unmounted"
    }

    /// Whether nobody serves the mount at a directory. Who asks while the daemon is dying is told ECONNABORTED, and those
    /// after it ENOTCONN.
    static func isDead(_ mountpoint: String) -> Bool {
        var status = stat()
        return stat(mountpoint, &status) != 0 && (errno == ENOTCONN || errno == ECONNABORTED)
    }
}
