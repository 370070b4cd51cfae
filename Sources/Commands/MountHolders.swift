internal import Glibc
internal import LinuxIO

/// Who keeps a mount from being unmounted, as far as this process may see it.
struct MountHolders {
    let mountpoint: String

    /// One phrase each: loop devices, and processes with what they have there.
    func all() -> [String] { loopDevices() + processes() }

    /// True if there are processes that read `.ctl/events`, and nothing else is known to keep the mount. Nothing is known
    /// where others' processes cannot be looked into, by whoever is not root.
    var onlyFollowEvents: Bool {
        guard loopDevices().isEmpty, !MountInfo.all().contains(where: { $0.mountpoint.hasPrefix(mountpoint + "/") }) else { return false }
        let others = Self.others
        // Where /proc hides what is not one's own, the first process is hidden too. Root can see all but what something outside keeps from it.
        guard geteuid() == 0 || others.contains(1) && others.allSatisfy(Self.canBeSeen) else { return false }
        let uses = others.flatMap { process in Self.links(of: process).filter { isInside($0.target) } }
        return !uses.isEmpty && uses.allSatisfy { $0.name.hasPrefix("fd/") && $0.target == "\(mountpoint)/.ctl/events" }
    }

    /// Whether the process can be seen to have the file of that name open at the top of the mount.
    func has(_ name: String, open process: Int32) -> Bool {
        Self.links(of: process).contains { $0.name.hasPrefix("fd/") && $0.target == "\(mountpoint)/\(name)" }
    }

    /// Every process but this one.
    static var others: [Int32] { Directory.names(in: "/proc").compactMap { Int32($0) }.sorted().filter { $0 != getpid() } }

    /// False if what the process has open is not for this one to know. One that has ended has nothing.
    private static func canBeSeen(_ process: Int32) -> Bool {
        let number = read("/proc/\(process)/cwd").errno
        return number != EACCES && number != EPERM
    }

    /// What a process has of files: its directory, root, program and open files, by their names in its directory of /proc.
    private static func links(of process: Int32) -> [(name: String, target: String)] {
        let names = ["cwd", "root", "exe"] + Directory.names(in: "/proc/\(process)/fd").map { "fd/\($0)" }
        return names.compactMap { name in target("/proc/\(process)/\(name)").map { (name, $0) } }
    }

    /// Loop devices on volumes of the mount.
    func loopDevices() -> [String] {
        Directory.names(in: "/sys/block").filter { $0.hasPrefix("loop") }.sorted().compactMap { name in
            guard let file = LoopFile(directory: "/sys/block/\(name)")?.path, isInside(file) else { return nil }
            return "\(file.split(separator: "/").last ?? "") is attached to /dev/\(name)"
        }
    }

    /// Processes whose directory, root, program or open files are there.
    private func processes() -> [String] {
        let whats = ["cwd": "its directory", "root": "its root", "exe": "its program"]
        return Self.others.compactMap { process in
            guard let use = Self.links(of: process).first(where: { isInside($0.target) }) else { return nil }
            return "\(Self.name(process)) has " + (whats[use.name].map { "\($0) there" } ?? "\(use.target) open")
        }
    }

    /// `qemu (812)`.
    static func name(_ process: Int32) -> String {
        let name = readText("/proc/\(process)/comm")?.split(separator: "\n").first.map(String.init)
        return name.map { "\($0) (\(process))" } ?? "process \(process)"
    }

    private func isInside(_ path: String) -> Bool { path == mountpoint || path.hasPrefix(mountpoint + "/") }

    static func target(_ link: String) -> String? { read(link).target }

    /// Where a link leads, or why that is not known.
    private static func read(_ link: String) -> (target: String?, errno: Int32) {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress else { return (nil, ENOMEM) }
            let count = readlink(link, start, buffer.count)
            if count < 0 { return (nil, errno) }
            return (String(decoding: UnsafeRawBufferPointer(buffer)[..<count], as: UTF8.self), 0)
        }
    }
}
