internal import Glibc
internal import LinuxIO

/// A FUSE filesystem by its device's number: who serves it, and where it is mounted. Nothing is asked of the filesystem itself.
struct FuseConnection: Equatable {
    /// `MAJOR:MINOR`, as in /proc/PID/mountinfo.
    let device: String

    /// A place where it is mounted. The process is one that sees it there, and nil where this one does.
    struct Place: Equatable {
        var mountpoint: String
        var process: Int32?

        /// What ends it.
        var remedy: String {
            guard let process else { return "umount \(Path.quoted(mountpoint))" }
            return "nsenter --target \(process) --mount umount \(Path.quoted(mountpoint))"
        }

        /// `/mnt/vols`, or where somebody else sees it.
        var text: String {
            process.map { "\(mountpoint) in another mount namespace, that of \(MountHolders.name($0))" } ?? mountpoint
        }
    }

    /// Those that a process serves. None where what it has open is not for this one to know.
    static func served(by process: Int32) -> [FuseConnection] {
        let directory = "/proc/\(process)"
        return Directory.names(in: "\(directory)/fd").compactMap { name in
            guard MountHolders.target("\(directory)/fd/\(name)") == "/dev/fuse" else { return nil }
            let line = readText("\(directory)/fdinfo/\(name)")?.split(separator: "\n").first { $0.hasPrefix("fuse_connection:") }
            return line?.split(whereSeparator: \.isWhitespace).last.map { FuseConnection(device: "0:\($0)") }
        }
    }

    /// Where it is mounted: here, or else where any other process sees it. Nil if it is nowhere, as after a lazy unmount.
    var place: Place? {
        if let mount = MountInfo.all().last(where: { $0.device == device }) { return Place(mountpoint: mount.mountpoint, process: nil) }
        for process in MountHolders.others {
            guard let text = readText("/proc/\(process)/mountinfo"), text.contains(" \(device) ") else { continue }
            if let mount = MountInfo.parse(text).last(where: { $0.device == device }) { return Place(mountpoint: mount.mountpoint, process: process) }
        }
        return nil
    }

    /// Who serves it; 0 if that is not known.
    var server: Int32 { MountHolders.others.first { Self.served(by: $0).contains(self) } ?? 0 }
}
