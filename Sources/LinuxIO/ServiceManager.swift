internal import CLinux
internal import Glibc

/// Tells a service manager how a daemon fares (sd_notify(3)); without one listening it does nothing.
public enum ServiceManager {
    public static var isListening: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// Nanoseconds within which a sign of life is expected, if one is (WATCHDOG_USEC, for this process).
    public static var watchdogInterval: UInt64? {
        guard let text = getenv("WATCHDOG_USEC"), let microseconds = UInt64(String(cString: text)), microseconds > 0, microseconds < 1 << 40
        else { return nil }
        if let process = getenv("WATCHDOG_PID"), String(cString: process) != "\(getpid())" { return nil }
        return microseconds * 1000
    }

    /// Whether standard error goes to journald: JOURNAL_STREAM names its device and inode.
    public static var hasJournal: Bool {
        var status = stat()
        guard let stream = getenv("JOURNAL_STREAM"), fstat(2, &status) == 0 else { return false }
        return String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
    }

    /// Whether a service manager started this very process, as a daemon that stays: not a program that it started, as mount(8)
    /// of a mount unit, which starts us and waits.
    public static var isService: Bool {
        if isListening { return true }
        guard getenv("JOURNAL_STREAM") != nil else { return false }
        guard let process = getenv("SYSTEMD_EXEC_PID") else { return true }
        return String(cString: process) == "\(getpid())"
    }

    /// Sends lines as `READY=1` or `STATUS=…` to the socket that NOTIFY_SOCKET names: a path, or behind `@` an abstract name.
    public static func notify(_ text: String) { send(text, with: nil) }

    /// With a descriptor: one that the manager is to keep (`FDSTORE=1`).
    static func send(_ text: String, with kept: Int32?) {
        guard let variable = getenv("NOTIFY_SOCKET") else { return }
        let path = Array(String(cString: variable).utf8)
        var address = sockaddr_un()
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard let first = path.first, first == UInt8(ascii: "/") || first == UInt8(ascii: "@"), path.count < capacity else { return }
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { name in
            name.copyBytes(from: path)
            if first == UInt8(ascii: "@") { name[0] = 0 }
        }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let length = MemoryLayout<sa_family_t>.size + path.count + (first == UInt8(ascii: "@") ? 0 : 1)
        withUnsafePointer(to: &address) { pointer in
            if let kept {
                _ = volfs_send_descriptor(descriptor, pointer, length, text, kept)
                return
            }
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { target in
                _ = text.withCString { sendto(descriptor, $0, strlen($0), Int32(MSG_NOSIGNAL), target, socklen_t(length)) }
            }
        }
    }
}
