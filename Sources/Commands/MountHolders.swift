internal import Glibc
internal import LinuxIO

/// Who keeps a mount from being unmounted, as far as this process may see it.
struct MountHolders {
    let mountpoint: String

    /// One phrase each: loop devices, and processes with what they have there.
    func all() -> [String] { loopDevices() + processes() }

    /// Loop devices on volumes of the mount.
    func loopDevices() -> [String] {
        Directory.names(in: "/sys/block").filter { $0.hasPrefix("loop") }.sorted().compactMap { name in
            guard let file = readText("/sys/block/\(name)/loop/backing_file")?.split(separator: "\n").first, isInside(String(file)) else { return nil }
            return "\(file.split(separator: "/").last ?? "") is attached to /dev/\(name)"
        }
    }

    /// Processes whose directory, root, program or open files are there.
    private func processes() -> [String] {
        Directory.names(in: "/proc").compactMap { Int32($0) }.sorted().compactMap { process in
            guard process != getpid() else { return nil }
            let directory = "/proc/\(process)"
            for (link, what) in [("cwd", "its directory"), ("root", "its root"), ("exe", "its program")] {
                if let target = Self.target("\(directory)/\(link)"), isInside(target) { return "\(Self.name(process)) has \(what) there" }
            }
            for descriptor in Directory.names(in: "\(directory)/fd") {
                if let target = Self.target("\(directory)/fd/\(descriptor)"), isInside(target) {
                    return "\(Self.name(process)) has \(target) open"
                }
            }
            return nil
        }
    }

    /// `qemu (812)`.
    static func name(_ process: Int32) -> String {
        let name = readText("/proc/\(process)/comm")?.split(separator: "\n").first.map(String.init)
        return name.map { "\($0) (\(process))" } ?? "process \(process)"
    }

    private func isInside(_ path: String) -> Bool { path == mountpoint || path.hasPrefix(mountpoint + "/") }

    private static func target(_ link: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            let count = readlink(link, start, buffer.count)
            return count < 0 ? nil : String(decoding: UnsafeRawBufferPointer(buffer)[..<count], as: UTF8.self)
        }
    }
}
