/// What the daemon advises to whoever works below the mount, as commands for who typed one.
package enum CommandForm {
    /// `reason`, whose shell lines become `volfs COMMAND POOL …`, and whose other paths begin at the mountpoint: as printed they
    /// work anywhere.
    package static func translated(_ reason: String, mountpoint: String) -> String {
        var rest = reason.split(separator: " ", omittingEmptySubsequences: false).map(String.init)[...]
        var words: [String] = []
        while let word = rest.first {
            // A line to be typed stands behind a colon.
            if words.last?.hasSuffix(":") == true, let (count, text) = command(rest, behind: words.last ?? "", Path.quoted(mountpoint)) {
                words.append(text)
                rest = rest.dropFirst(count)
            } else {
                words.append(word.hasPrefix(".ctl/") ? "\(mountpoint)/\(word)" : word)
                rest = rest.dropFirst()
            }
        }
        return words.joined(separator: " ")
    }

    /// The command that a line means, and of how many words that is. Nil for one that there is no command for.
    private static func command(_ words: ArraySlice<String>, behind: String, _ pool: String) -> (Int, String)? {
        let line = Array(words.prefix(5))
        func word(_ index: Int) -> String { index < line.count ? bare(line[index]).word : "" }
        func end(_ index: Int) -> String { index < line.count ? bare(line[index]).end : "" }
        func made(_ count: Int, _ text: String) -> (Int, String) { (count, "volfs \(text)\(end(count - 1))") }
        switch word(0) {
        case "echo":
            guard let arrow = line.firstIndex(of: ">"), arrow > 0, arrow + 1 < line.count else { return nil }
            let value = line[1..<arrow].joined(separator: " "), path = word(arrow + 1)
            if path == ".ctl/size" { return made(arrow + 2, "grow \(pool) +SIZE") }
            guard let (object, below) = object(path), let property = below.last, below.first == "prop", below.count == 2 else { return nil }
            if property == "hold" { return made(arrow + 2, value.isEmpty ? "release \(pool) \(object)" : "hold \(pool) \(object)") }
            return made(arrow + 2, "set \(pool) \(object) \(property)=\(value)")
        case "rmdir":
            guard let (object, below) = object(word(1)), below.isEmpty, object.contains("@") else { return nil }
            if object.hasSuffix("@*") { return made(2, "list \(pool) -r \(object.dropLast(2)) tells which") }
            return made(2, "destroy \(pool) \(object)")
        case "mkdir":
            guard let (object, below) = object(word(1)), below.isEmpty, object.contains("@") else { return nil }
            return made(2, "snapshot \(pool) \(object)")
        case "ls":
            if line.count == 1 || line[0] != "ls" { return made(1, "list \(pool)") }
            guard let (object, below) = object(word(1)) else { return nil }
            return made(2, below == ["prop"] ? "get \(pool) \(object)" : "list \(pool) -r \(object)")
        case "ln":
            guard word(1) == "-s", word(3).hasPrefix(".ctl/clone/") else { return nil }
            return made(4, "clone \(pool) \(word(2)) \(word(3).dropFirst(11))")
        case "truncate":
            guard word(1) == "-s", line.count > 3 else { return nil }
            return made(4, behind == "larger:" ? "resize \(pool) \(word(3)) \(word(2))" : "new \(pool) \(word(3)) \(word(2))")
        case "mv":
            if word(1).hasPrefix(".ctl/trash/"), line.count > 2 {
                let old = word(1).dropFirst(11), isSame = old == word(2)
                return made(3, "undelete \(pool) \(old)\(isSame ? "" : " \(word(2))")")
            }
            if let (old, _) = object(word(1)), let (new, _) = object(word(2)), old.contains("@") { return made(3, "rename \(pool) \(old) \(new)") }
            return word(1).contains("/") || line.count < 3 ? nil : made(3, "rename \(pool) \(word(1)) \(word(2))")
        case "rm" where word(1).hasPrefix(".ctl/trash/"): return made(2, "purge \(pool)" + (word(1).hasSuffix("/*") ? "" : " \(word(1).dropFirst(11))"))
        case "rm": return word(1).contains("/") || line.count < 2 ? nil : made(2, "destroy \(pool) \(word(1))")
        default: return nil
        }
    }

    /// `.ctl/vol/VOL/…` and `.ctl/snap/VOL[/SNAP/…]`: the object, and what of its directory.
    private static func object(_ path: String) -> (object: String, below: [String])? {
        let parts = path.split(separator: "/").map(String.init)
        guard parts.count >= 3, parts[0] == ".ctl" else { return nil }
        if parts[1] == "vol" { return (parts[2], Array(parts.dropFirst(3))) }
        guard parts[1] == "snap" else { return nil }
        return parts.count == 3 ? (parts[2], []) : ("\(parts[2])@\(parts[3])", Array(parts.dropFirst(4)))
    }

    /// A word without what ends a sentence, and that.
    private static func bare(_ word: String) -> (word: String, end: String) {
        let count = word.reversed().prefix { ";,)".contains($0) }.count
        return (String(word.dropLast(count)), String(word.suffix(count)))
    }
}
