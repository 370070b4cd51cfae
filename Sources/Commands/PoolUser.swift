internal import Glibc
internal import LinuxIO

/// A process that keeps others from a pool: what it is, and how that ends, as far as it can be seen from here.
struct PoolUser {
    let process: Int32

    /// For a sentence that begins with `in use by`; behind the semicolon what to do.
    func text(of pool: String) -> String {
        if process == 0 { return "another process, which cannot be seen from here, as one in a container or on another machine; end that first" }
        let connections = FuseConnection.served(by: process)
        if let place = connections.lazy.compactMap(\.place).first {
            let remedy = place.process == nil ? "volfs umount \(Path.quoted(place.mountpoint))" : place.remedy
            return "process \(process), which has it mounted at \(place.text); first: \(remedy)"
        }
        guard let words = command else { return "\(Failure.holder(process)); end that first" }
        if words == "serve" { return "process \(process), a volfs serve; to end that: kill \(process)" }
        if words != "mount" { return "process \(process), a volfs \(words); wait until that has ended" }
        if !connections.isEmpty {
            return "process \(process), which was unmounted with --lazy and serves what is open still; close that, or wait: volfs umount --wait SECONDS \(Path.quoted(pool))"
        }
        return "process \(process), which mounts it, or is about to; first have it unmounted by who runs that"
    }

    var isServing: Bool { command == "serve" }

    /// The command of volfs that it runs. Nil for another program.
    private var command: String? {
        guard let words = readText("/proc/\(process)/cmdline")?.split(separator: "\0", omittingEmptySubsequences: false).map(String.init), let program = words.first,
            let name = program.split(separator: "/").last, name.contains("volfs")
        else { return nil }
        let first = words.dropFirst().first { !$0.hasPrefix("-") } ?? ""
        return CommandTable.find(first)?.name ?? CommandTable.mount.name
    }
}
