/// The locks of flock(2) that a process has, from /proc/locks: by what is open, whatever its name is by now.
public struct HeldLocks: Equatable, Sendable {
    public let process: Int32
    /// Each by its device and inode, as the kernel writes them.
    private let files: Set<Substring>

    /// Of process 0, which stands for one that is not known, none. Any thread may call.
    public init(of process: Int32) {
        self.process = process
        var files: Set<Substring> = []
        for line in process == 0 ? [] : (readText("/proc/locks") ?? "").split(separator: "\n") where line.contains("FLOCK") && !line.contains("->") {
            let words = line.split(separator: " ")
            if let at = words.firstIndex(of: "\(process)"), at + 1 < words.count { files.insert(words[at + 1]) }
        }
        self.files = files
    }

    /// Whether the process has one of them still.
    public var isHeld: Bool { !files.isEmpty && !files.isDisjoint(with: HeldLocks(of: process).files) }
}
