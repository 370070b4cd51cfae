/// Who has a volume or a snapshot open.
public struct VolumeUser: Equatable, Sendable {
    /// Through which door.
    public enum Kind: String, Sendable { case fuse, nbd }

    /// 0 where its number cannot be known.
    public var process: Int32
    /// What the process is called, as comm in proc(5), or where a client of a network is.
    public var command: String
    public var writes: Bool
    public var kind: Kind
    /// Nanoseconds since 1970.
    public var since: UInt64

    public init(process: Int32, command: String, writes: Bool, kind: Kind, since: UInt64) {
        self.process = process
        // A name is what its owner chose: it must not end or forge a line.
        self.command = command.isEmpty ? "-" : String(command.map { $0.isWhitespace || $0 < " " || $0 == "\u{7f}" ? "_" : $0 })
        self.writes = writes
        self.kind = kind
        self.since = since
    }

    /// A line of `.ctl/vol/VOL/users`.
    var line: String {
        "pid=\(process) comm=\(command) mode=\(writes ? "rw" : "ro") kind=\(kind.rawValue) since=\(Wording.time(since))\n"
    }

    /// As a sentence names it: `process 812 (qemu-system-x86)`.
    public var text: String { kind == .nbd ? "NBD client \(command)" : "process \(process) (\(command))" }
}
