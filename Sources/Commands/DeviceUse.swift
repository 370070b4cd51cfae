internal import Glibc
internal import LinuxIO

/// What else a block device that cannot be claimed is used for, as far as that can be seen.
struct DeviceUse {
    let path: String

    /// What is wrong, and what to do.
    var text: String {
        guard let numbers else { return "is in use; end that first" }
        if let mount = MountInfo.all().first(where: { isOne(of: numbers, $0) }) { return "is in use: mounted at \(mount.mountpoint); unmount it first" }
        return use(of: numbers) ?? "is in use, all or a part of it: mounted elsewhere, or by another program; end that first, see: lsblk \(path)"
    }

    /// Whether it is something that does not end by itself. A pool on the device does, when its daemon has stored everything.
    var isLasting: Bool {
        guard let numbers else { return false }
        return MountInfo.all().contains { $0.kind != "fuse.volfs" && isOne(of: numbers, $0) } || use(of: numbers) != nil
    }

    var isDevice: Bool { numbers != nil }

    /// By the kernel: as swap space, or as a part of something.
    private func use(of numbers: [String]) -> String? {
        let swaps = (readText("/proc/swaps") ?? "").split(separator: "\n").compactMap { $0.split(separator: " ").first.map(String.init) }
        if let swap = swaps.first(where: { Self.number(ofDevice: $0).map(numbers.contains) ?? false }) { return "is in use as swap space; first: swapoff \(swap)" }
        let holder = numbers.lazy.compactMap { Directory.names(in: "/sys/dev/block/\($0)/holders").first }.first
        return holder.map { "is in use as a part of \($0); take it out of that first" }
    }

    /// Nil for what is no block device.
    private var numbers: [String]? {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFBLK ? Self.numbers(status.st_rdev) : nil
    }

    /// `MAJOR:MINOR` of the device and its partitions.
    private static func numbers(_ device: dev_t) -> [String] {
        let own = DeviceNumber.text(device), directory = "/sys/dev/block/\(own)"
        return [own] + Directory.names(in: directory).sorted().compactMap { name in
            access("\(directory)/\(name)/partition", F_OK) == 0 ? readText("\(directory)/\(name)/dev")?.trimmed : nil
        }
    }

    /// By its number, or, as some filesystems have one of their own, by what it was mounted from.
    private func isOne(of numbers: [String], _ mount: MountInfo) -> Bool {
        numbers.contains(mount.device) || mount.source.hasPrefix("/dev/") && Self.number(ofDevice: mount.source).map(numbers.contains) ?? false
    }

    private static func number(ofDevice path: String) -> String? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return nil }
        return DeviceNumber.text(status.st_rdev)
    }
}
