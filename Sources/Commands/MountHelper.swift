internal import CLinux
internal import Glibc
internal import LinuxIO

/// What mount(8) and umount(8) run for this type of filesystem: the same program, called by another name.
package struct MountHelper {
    private let unmounts: Bool

    /// Nil if the program's name is that of no helper.
    package init?(program: String) {
        switch program.split(separator: "/").last {
        case "mount.volfs", "mount.fuse.volfs": unmounts = false
        case "umount.volfs", "umount.fuse.volfs": unmounts = true
        default: return nil
        }
    }

    /// The command line that `words` mean: `mount.volfs SOURCE DIRECTORY [-sfnvrw] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]` or
    /// `umount.volfs DIRECTORY [-flnrv] [-N NAMESPACE] [-t TYPE]`. Enters the namespace, if one is given.
    package func translated(_ words: [String]) throws(Failure) -> [String] {
        if words.contains("--help") || words == ["-h"] { return [unmounts ? "umount" : "mount", "--help"] }
        return unmounts ? try unmount(words) : try mount(words)
    }

    /// mount(8)'s number for a command's exit status. 1 is that of an unmount by which something was lost.
    package func status(_ status: Int32) -> Int32 { status == 0 || (unmounts && status == 1) ? status : 32 }

    /// 1 for wrong usage and missing permission, 2 for what the system lacks, 32 for a mount that failed.
    package static func status(of failure: Failure) -> Int32 {
        switch (failure.status, failure.errno) {
        case (.usage, _), (.permission, _), (_, EPERM), (_, EACCES): 1
        case (_, ENOMEM), (_, EMFILE), (_, ENFILE), (_, EAGAIN): 2
        default: 32
        }
    }

    /// Whether it is mount(8) that waits for this process, by way of mount.fuse3(8) and its shell.
    static var isCalledByMount: Bool {
        func name(_ process: Int32) -> String? { readText("/proc/\(process)/comm")?.trimmed }
        let parent = getppid()
        guard name(parent) == "sh" else { return name(parent) == "mount" }
        // Behind the name, which may have blanks and brackets: state and parent.
        let fields = readText("/proc/\(parent)/stat")?.split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 1 && Int32(fields[1]).flatMap(name) == "mount"
    }

    private func mount(_ words: [String]) throws(Failure) -> [String] {
        var operands: [String] = [], options: [String] = [], flags: [String] = []
        var isSloppy = false
        var rest = words[...]
        while let word = rest.popFirst() {
            switch word {
            case "-o": options.append(rest.popFirst() ?? "")
            case "-t": _ = rest.popFirst()
            case "-N": try Self.enter(rest.popFirst() ?? "")
            case _ where word.hasPrefix("-") && word.count > 1:
                for letter in word.dropFirst() {
                    switch letter {
                    case "s": isSloppy = true
                    case "f": flags = ["--dry-run"]
                    case "r": options.append("ro")
                    case "n", "v", "w": break
                    default: throw .usage("-\(letter)", "mount.volfs takes -s -f -n -v -r -w, -N NAMESPACE, -t TYPE and -o OPTIONS")
                    }
                }
            default: operands.append(word)
            }
        }
        guard operands.count == 2 else { throw .usage("mount.volfs", "give a pool and a directory") }
        var list = options.filter { !$0.isEmpty }.joined(separator: ",")
        if isSloppy {
            list = MountWord.list(list).filter { (try? MountSettings([$0], mountpoint: "/", source: "/")) != nil }
                .map { word in word.value.map { "\(word.name)=\"\($0)\"" } ?? word.name }.joined(separator: ",")
        }
        // mount(8) waits for us, also where its own unit is below a service manager.
        return ["mount", operands[0], operands[1], "--background"] + flags + (list.isEmpty ? [] : ["-o", list])
    }

    private func unmount(_ words: [String]) throws(Failure) -> [String] {
        var operands: [String] = [], isLazy = false
        var rest = words[...]
        while let word = rest.popFirst() {
            switch word {
            case "-t": _ = rest.popFirst()
            case "-N": try Self.enter(rest.popFirst() ?? "")
            case _ where word.hasPrefix("-"):
                // A forced unmount of a mount that works is a lazy one.
                if word.contains("l") || word.contains("f") { isLazy = true }
            default: operands.append(word)
            }
        }
        guard operands.count == 1 else { throw .usage("umount.volfs", "give a directory") }
        return ["umount", operands[0]] + (isLazy ? ["--lazy"] : [])
    }

    /// A process, or a file that stands for a namespace.
    private static func enter(_ namespace: String) throws(Failure) {
        let path = UInt32(namespace) == nil ? namespace : "/proc/\(namespace)/ns/mnt"
        guard volfs_enter_mount_namespace(path) == 0 else {
            throw Failure(.mount, "-N \(namespace)", "cannot be entered: \(String(cString: strerror(errno)))", errno: errno)
        }
    }
}
