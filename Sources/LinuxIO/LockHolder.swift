internal import Glibc

/// Who has a lock of flock(2) on a file, from /proc/locks.
struct LockHolder {
    let process: Int32
    let isExclusive: Bool

    /// None that waits for it. Some filesystems have another number in stat(2) than there, so of one that has no disk of its own any lock
    /// counts that is on a file of that number, unless one is on this very file.
    static func all(of status: stat) -> [LockHolder] {
        let table = readText("/proc/locks") ?? "", device = DeviceNumber.parts(status.st_dev)
        func number(_ part: UInt) -> String { part < 16 ? "0" + String(part, radix: 16) : String(part, radix: 16) }
        let exact = "\(number(device.major)):\(number(device.minor)):\(status.st_ino)"
        var found: [(holder: LockHolder, isExact: Bool)] = []
        for line in table.split(separator: "\n") where line.contains("FLOCK") && !line.contains("->") {
            let words = line.split(separator: " ")
            guard let at = words.firstIndex(where: { $0.hasSuffix(":\(status.st_ino)") }), at > 0, let process = Int32(words[at - 1]) else { continue }
            found.append((LockHolder(process: process, isExclusive: words.contains("WRITE")), words[at] == exact))
        }
        let certain = found.filter(\.isExact)
        return (certain.isEmpty && device.major == 0 ? found : certain).map(\.holder)
    }
}
