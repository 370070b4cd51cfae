internal import LinuxIO
internal import VolumeFS

/// Who has a volume or a snapshot open, from a line of its file `users`.
package struct VolumeUse: Equatable, Sendable {
    package var object: String
    package var process: Int32
    package var command: String
    package var mode: String
    package var kind: String
    /// RFC 3339, or "" where the daemon does not say.
    package var since: String

    /// Nil for a line that is none.
    package init?(object: String, line: some StringProtocol) {
        var fields: [String: String] = [:]
        for word in line.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
        }
        guard let process = fields["pid"].flatMap({ Int32($0) }) else { return nil }
        self.object = object
        self.process = process
        command = fields["comm"] ?? Self.command(of: process)
        mode = fields["mode"] ?? "-"
        kind = fields["kind"] ?? "-"
        since = fields["since"] ?? ""
    }

    /// As a sentence names it: `pid 812 (qemu-system-x86)`.
    package var text: String { process == 0 ? "another process" : "pid \(process) (\(command))" }

    private static func command(of process: Int32) -> String {
        readText("/proc/\(process)/comm").map { String($0.prefix { $0 != "\n" }) } ?? "gone"
    }

    /// Without those that have ended and left what they opened to a loop device.
    static func living(_ users: [VolumeUse], _ mountpoint: String) -> [VolumeUse] {
        users.filter { user in
            user.process == 0 || readText("/proc/\(user.process)/comm") != nil || loopDevices(of: "\(mountpoint)/\(user.object)").isEmpty
        }
    }

    /// Who has what open, `VOL by pid 812 (qemu)` or `VOL by /dev/loop0`.
    static func sentences(_ users: [VolumeUse], _ mountpoint: String) -> [String] {
        let loops = Set(users.map(\.object)).sorted().flatMap { object in loopDevices(of: "\(mountpoint)/\(object)").map { "\(object) by \($0)" } }
        return living(users, mountpoint).map { "\($0.object) by \($0.text)" } + loops
    }

    /// Loop devices that a file is attached to. Their user is the process that attached them, which is gone.
    static func loopDevices(of path: String) -> [String] {
        Directory.names(in: "/sys/block").filter { name in
            name.hasPrefix("loop") && LoopFile(directory: "/sys/block/\(name)")?.path == path
        }.map { "/dev/\($0)" }.sorted()
    }
}

extension VolumeUse {
    var json: JSON {
        .fields([
            ("object", .text(object)), ("pid", .number(Int64(process))), ("command", .text(command)), ("mode", .text(mode)),
            ("kind", .text(kind)), ("since", since.isEmpty ? .null : .text(since)),
        ])
    }
}
