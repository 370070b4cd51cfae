internal import CLinux
internal import Glibc

/// `volfs events`: lines of `.ctl/events` as they come.
package enum EventsCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        var left = try TopCommand.number(arguments, "count", 1...Int(Int32.max)) ?? Int.max
        guard let mount = MountTable().mount(serving: path) else {
            throw Failure(.unreachable, path, "is not mounted; events are those of a mount", errno: ENODEV)
        }
        let file = "\(mount.mountpoint)/.ctl/events"
        let descriptor = volfs_open(file, O_RDONLY | O_CLOEXEC, 0)
        guard descriptor >= 0 else {
            if errno == ENOENT { throw Failure(.unreachable, file, "is not there; the daemon is of an older volfs, or mounted with ctl=off", errno: ENOENT) }
            let number = errno
            throw Failure(errno: number, object: file, reason: number == EACCES ? nil : String(cString: strerror(number)))
        }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 65_536), pending: [UInt8] = []
        while true {
            let count = read(descriptor, &bytes, bytes.count)
            if count < 0 && errno == EINTR { continue }
            // The mount is gone, and with it what there was to tell.
            if count == 0 || (count < 0 && [ENOTCONN, ENODEV, ECONNABORTED].contains(errno)) { return 0 }
            guard count > 0 else { throw Failure(errno: errno, object: file, reason: String(cString: strerror(errno))) }
            pending += bytes[..<count]
            while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeSubrange(...end)
                if line.isEmpty { continue }
                say(arguments.isJSON ? line : text(line))
                fflush(nil)
                left -= 1
                if left == 0 { return 0 }
            }
        }
    }

    /// `TIME KIND OBJECT NAME=VALUE …`; a line that is no object stays as it is.
    package static func text(_ line: String) -> String {
        guard let event = FlatJSON(line) else { return line }
        let head = ["time", "kind", "object"]
        let rest = event.fields.filter { $0.name != "schema" && !head.contains($0.name) && $0.value != "null" }
        return (head.map { event[$0] } + rest.map { "\($0.name)=\($0.value)" }).filter { !$0.isEmpty }.joined(separator: " ")
    }
}
