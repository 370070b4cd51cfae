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
        mounts = text.split(separator: "\n").compactMap { line in
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { return nil }
            let left = halves[0].split(separator: " "), right = halves[1].split(separator: " ")
            guard left.count >= 5, right.count >= 2, right[0] == "fuse.volfs" else { return nil }
            return Mount(mountpoint: Self.unescaped(left[4]), source: Self.unescaped(right[1]))
        }
    }

    /// Where a pool is mounted by a daemon that lives. A dead mount is only in the way of its mountpoint.
    func mount(ofPool path: String) -> Mount? { mounts.last { $0.source == path && !Self.isDead($0) } }
    package func mount(at path: String) -> Mount? { mounts.last { $0.mountpoint == path } }

    /// What `volfs umount` is to unmount, dead or alive: the mount at a directory, or that of a pool.
    package func mount(atOrOf path: String) -> Mount? { mount(at: path) ?? mounts.last { $0.source == path } }

    /// True for a file of a mount: a volume, not a pool.
    package func isInside(_ path: String) -> Bool { mounts.contains { path.hasPrefix($0.mountpoint + "/") } }

    private static func isDead(_ mount: Mount) -> Bool {
        var status = stat()
        return stat(mount.mountpoint, &status) != 0 && errno == ENOTCONN
    }

    /// The kernel writes blanks and the like as three octal digits.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
                bytes.append(value)
                rest.removeFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
