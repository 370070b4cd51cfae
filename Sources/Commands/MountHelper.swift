/// What mount(8) and umount(8) run for this type of filesystem: the same program, called by another name.
enum MountHelper {
    /// The command line that `words` mean for the program `name`; nil if that is no helper. `mount.volfs SOURCE DIRECTORY
    /// [-sfnvrw] [-t TYPE] [-o OPTIONS]`, `umount.volfs DIRECTORY [-flnrv] [-t TYPE]`.
    static func translated(_ name: String, _ words: [String]) throws(Failure) -> [String]? {
        switch name {
        case "mount.volfs", "mount.fuse.volfs": try mount(words)
        case "umount.volfs", "umount.fuse.volfs": try unmount(words)
        default: nil
        }
    }

    private static func mount(_ words: [String]) throws(Failure) -> [String] {
        var operands: [String] = [], options: [String] = []
        var isSloppy = false, isFake = false
        var rest = words[...]
        while let word = rest.popFirst() {
            switch word {
            case "-o": options += (rest.popFirst() ?? "").split(separator: ",").map(String.init)
            case "-t": _ = rest.popFirst()
            case _ where word.hasPrefix("-") && word.count > 1:
                for letter in word.dropFirst() {
                    switch letter {
                    case "s": isSloppy = true
                    case "f": isFake = true
                    case "r": options.append("ro")
                    case "n", "v", "w": break
                    default: throw .usage("-\(letter)", "mount.volfs takes -s -f -n -v -r -w, -t TYPE and -o OPTIONS")
                    }
                }
            default: operands.append(word)
            }
        }
        guard operands.count == 2 else { throw .usage("mount.volfs", "give a pool and a directory") }
        if isSloppy { options = options.filter { (try? MountSettings($0, mountpoint: "/", source: "/")) != nil } }
        if isFake { return ["info", operands[0]] }
        return ["mount", operands[0], operands[1]] + (options.isEmpty ? [] : ["-o", options.joined(separator: ",")])
    }

    private static func unmount(_ words: [String]) throws(Failure) -> [String] {
        var operands: [String] = [], isLazy = false
        var rest = words[...]
        while let word = rest.popFirst() {
            if word == "-t" {
                _ = rest.popFirst()
            } else if word.hasPrefix("-") {
                // A forced unmount of a mount that works is a lazy one.
                if word.contains("l") || word.contains("f") { isLazy = true }
            } else {
                operands.append(word)
            }
        }
        guard operands.count == 1 else { throw .usage("umount.volfs", "give a directory") }
        return ["umount", operands[0]] + (isLazy ? ["--lazy"] : [])
    }
}
