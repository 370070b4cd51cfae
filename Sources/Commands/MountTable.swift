internal import Glibc
internal import LinuxIO

/// The volfs mounts of this machine, from /proc/self/mountinfo.
struct MountTable {
    struct Mount: Equatable { var mountpoint: String, source: String }
    let mounts: [Mount]

    init() { self.init(text: readText("/proc/self/mountinfo") ?? "") }

    init(text: String) {
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
    func mount(at path: String) -> Mount? { mounts.last { $0.mountpoint == path } }

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

/// The path with links and dots resolved; as far as it exists.
func absolutePath(_ path: String) -> String {
    if let resolved = realpath(path, nil) {
        defer { free(resolved) }
        return String(cString: resolved)
    }
    if path.hasPrefix("/") { return path }
    guard let directory = getcwd(nil, 0) else { return path }
    defer { free(directory) }
    return String(cString: directory) + "/" + path
}
