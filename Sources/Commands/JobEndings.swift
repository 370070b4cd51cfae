internal import CLinux
internal import Glibc
internal import LinuxIO

/// How jobs of a kind end in a mount, for one that leaves no report: from `.ctl/events`, from the moment this is made.
struct JobEndings: ~Copyable {
    private let kind: String
    private let descriptor: Int32

    /// Nil if the mount has no events, or not for us.
    init?(of kind: String, mountpoint: String) {
        self.kind = kind
        descriptor = volfs_open("\(mountpoint)/.ctl/events", O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)
        if descriptor < 0 { return nil }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// `clean`, `cancelled` or `failed`, of the last that has ended, for whoever has seen that it is gone: that is told a moment later,
    /// which is waited for. Nil if nothing is told, as the mount has ended.
    func last() -> String? {
        var text: [UInt8] = [], bytes = [UInt8](repeating: 0, count: 65_536)
        for _ in 0..<500 {
            let count = read(descriptor, &bytes, bytes.count)
            if count > 0 {
                text += bytes[..<count]
                continue
            }
            if count == 0 || ![EAGAIN, EINTR].contains(errno) { return nil }
            if let state = state(in: text) { return state }
            pause(milliseconds: 20)
        }
        return nil
    }

    private func state(in text: [UInt8]) -> String? {
        let events = String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap { FlatJSON(String($0)) }
        return events.last { $0["kind"] == "job-finished" && $0["object"] == kind }?["state"]
    }
}
