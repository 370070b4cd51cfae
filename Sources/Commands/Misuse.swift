internal import Glibc
internal import VolumeFS

/// Command lines that cannot be meant as they are, and what was meant.
package enum Misuse {
    /// For a first word that is no command: a failure unless it can be a pool to mount.
    static func unknownCommand(_ word: String, _ rest: ArraySlice<String>) -> Failure? {
        if word.hasPrefix("-") { return nil }
        if let next = rest.first, !next.contains("/"), CommandTable.find(next) != nil, access(next, F_OK) != 0 {
            return .usage(next, "the command comes first: volfs \(next) \(word)")
        }
        if word.contains("/") || access(word, F_OK) == 0 { return nil }
        // A pool's file is mostly called something with a dot, or somewhere else.
        if !isCommandWord(word) && Spelling.nearest(word, of: CommandTable.words) == nil && rest.contains(where: Path.isDirectory) { return nil }
        let advice = foreign[word] ?? Spelling.advice(word, of: CommandTable.words, otherwise: "see: volfs help")
        return .usage(word, "no such command, and no such file; \(advice)")
    }

    private static func isCommandWord(_ word: String) -> Bool { word.allSatisfy { $0 == "-" || ("a"..."z").contains($0) } }

    /// What other programs call what is done otherwise here.
    private static let foreign: [String: String] = [
        "send": "write a snapshot with volfs export, what has changed with volfs diff, or read both over NBD: volfs-nbd(7)",
        "receive": "make a volume of an image with volfs import", "recv": "make a volume of an image with volfs import",
        "promote": "nothing depends on an origin, which is forgotten by: volfs detach POOL NAME",
        "flatten": "nothing depends on an origin, which is forgotten by: volfs detach POOL NAME", "mv": "volumes are renamed by: volfs rename POOL OLD NEW",
        "move": "volumes are renamed by: volfs rename POOL OLD NEW", "df": "see: volfs info POOL", "du": "see: volfs list POOL -o name,used,unique",
        "trim": "a discard in a volume, as of fstrim, gives its space back at once", "jobs": "see: volfs status POOL",
        "metrics": "read .ctl/metrics below the mountpoint", "cancel": "cancel a scrub by: volfs scrub POOL --stop",
        "trash": "see: volfs list POOL -t trash; also volfs undelete and volfs purge", "remove": "see: volfs help destroy",
        "stop": "see: volfs help umount", "start": "see: volfs help mount", "fsck": "see: volfs help check", "extend": "see: volfs help grow",
        "shrink-volume": "see: volfs help resize", "freeze": "see: volfs help snapshot", "ps": "see: volfs help top",
    ]

    /// For a property that cannot be set: what does it.
    static func property(_ name: String, pool: String, object: String) -> String? {
        if let absence = VolumeFileSystem.absence(of: name) { return absence }
        return ["volsize", "size", "volumesize"].contains(name) ? "a volume's size is changed by: volfs resize \(Path.quoted(pool)) \(object) SIZE" : nil
    }

    /// For operands of which there are too few or too many.
    package static func miscounted(_ operands: [String], _ command: Command, isPool: (String) -> Bool) -> Failure {
        let usage = "usage: \(command.synopsis)"
        if operands.count > command.count.upperBound {
            let extra = operands[command.count.upperBound]
            if command.name == "create" && Size.parse(extra) != nil {
                return .usage(extra, "a pool's size is an option; write it as: volfs create \(Path.quoted(operands[0])) --size \(extra)")
            }
            return .usage(extra, "is one word too many; \(usage)")
        }
        var names = command.operands.split(separator: " ").map { String($0.prefix { $0 != "…" }) }
        if command.takesPool { names.insert("POOL", at: 0) }
        // Of a pool and others, it is the pool that was forgotten if nothing that was given is one.
        let isWithoutPool = command.takesPool && !(operands.first.map(isPool) ?? false)
        let missing = isWithoutPool ? "POOL" : operands.count < names.count ? names[operands.count] : "an operand"
        return .usage(command.name, "\(missing) is missing; \(usage)")
    }

    /// For a pool that does not come first.
    static func misordered(_ operands: [String], _ command: Command) -> Failure? {
        guard command.takesPool, operands.count > 1, !isPool(operands[0]), let pool = operands.dropFirst().first(where: isPool) else { return nil }
        return .usage(pool, "the pool comes first; usage: \(command.synopsis)")
    }

    /// A file that is a pool, or where one is mounted.
    static func isPool(_ word: String) -> Bool {
        let path = Path.absolute(word)
        if MountTable().mount(serving: path) != nil { return true }
        var status = stat()
        guard stat(path, &status) == 0, [S_IFREG, S_IFBLK].contains(status.st_mode & S_IFMT) else { return false }
        return (try? PoolFile.isPool(path)) ?? false
    }
}
