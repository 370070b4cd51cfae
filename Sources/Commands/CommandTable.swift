internal import VolumeFS

/// Every command there is.
package enum CommandTable {
    private static let json = Option(name: "json", letter: nil, value: nil, help: "print JSON; errors too")
    private static let options = Option(name: "options", letter: "o", value: "OPT,…", help: "mount options, see mount.volfs(8)")
    private static let foreground = Option(name: "foreground", letter: "f", value: nil, help: "stay in the foreground")
    private static let background = Option(
        name: "background", letter: nil, value: nil, help: "go to the background, also below a service manager")
    private static let configuration = Option(name: "config", letter: nil, value: "FILE", help: "read options, pool and mountpoint from FILE")
    private static let fake = Option(name: "dry-run", letter: "n", value: nil, help: "only find out whether it could be mounted")
    private static let debug = Option(name: "debug", letter: "d", value: nil, help: "foreground, and print every request")

    package static let commands: [Command] = [
        Command(
            name: "create", operands: "", help: "make a pool in a new file",
            options: [
                Option(name: "size", letter: "s", value: "SIZE", help: "its size; the file is sparse (default: 9/10 of what the host has free)"),
                Option(name: "force", letter: nil, value: nil, help: "replace an existing file"), json,
            ], count: 1...1),
        Command(
            name: "mount", operands: "MOUNTPOINT", help: "mount a pool; the word `mount` may be left out",
            options: [options, configuration, foreground, background, debug, fake], count: 0...2),
        Command(
            name: "umount", aliases: ["unmount"], operands: "", help: "unmount, and wait until everything is stored",
            options: [
                Option(name: "lazy", letter: "l", value: nil, help: "detach now; what is open is served until it is closed"),
                Option(name: "config", letter: nil, value: "FILE", help: "unmount what FILE says"),
                Option(name: "wait", letter: nil, value: "SEC", help: "how long to wait for the daemon (default: until it ends)"),
            ], count: 0...1),
        Command(
            name: "list", aliases: ["ls"], operands: "[NAME…]", help: "list volumes and snapshots",
            options: [
                Option(name: "type", letter: "t", value: "TYPE", help: "volume, snapshot, clone or all (default)"),
                Option(name: "columns", letter: "o", value: "COL,…", help: "name, type, size, referenced, created, origin, snapshots, id, guid"),
                Option(name: "no-header", letter: "H", value: nil, help: "no header, columns separated by tabs"),
                Option(name: "exact", letter: "p", value: nil, help: "sizes in bytes, times in seconds"), json,
            ], count: 1...Int.max),
        Command(
            name: "info", aliases: ["show"], operands: "[NAME…]", help: "tell about the pool, or about volumes and snapshots",
            options: [json], count: 1...Int.max),
        Command(name: "new", aliases: ["volume"], operands: "NAME SIZE", help: "make a volume", options: [json], count: 3...3),
        Command(
            name: "resize", operands: "NAME [+|-]SIZE", help: "change a volume's size",
            options: [Option(name: "shrink", letter: nil, value: nil, help: "allow making it smaller, which cuts data off"), json],
            count: 3...3),
        Command(name: "snapshot", aliases: ["snap"], operands: "VOL@SNAP…", help: "make snapshots", options: [json], count: 2...Int.max),
        Command(name: "clone", operands: "VOL[@SNAP] NAME…", help: "make writable clones", options: [json], count: 3...Int.max),
        Command(
            name: "destroy", aliases: ["delete", "rm"], operands: "NAME…", help: "destroy volumes and snapshots",
            options: [
                Option(name: "dry-run", letter: "n", value: nil, help: "only print what would go"),
                Option(name: "recursive", letter: "r", value: nil, help: "a volume's snapshots too"),
                Option(name: "verbose", letter: "v", value: nil, help: "print what goes even if not asking"),
                Option(name: "yes", letter: "y", value: nil, help: "do not ask"), json,
            ], count: 2...Int.max),
        Command(name: "rename", operands: "OLD NEW", help: "rename a volume or a snapshot", options: [json], count: 3...3),
        Command(
            name: "rollback", operands: "VOL@SNAP", help: "put a volume back to a snapshot of it",
            options: [
                Option(name: "discard", letter: nil, value: nil, help: "do not keep what it holds as VOL@pre-rollback-TIME"), json,
            ], count: 2...2),
        Command(
            name: "import", operands: "FILE NAME", help: "make a volume from a raw image; - is standard input",
            options: [
                Option(name: "format", letter: nil, value: "raw", help: "take FILE as it is, whatever it looks like"),
                Option(name: "progress", letter: nil, value: "HOW", help: "always, never or json (default: on a terminal)"), json,
            ], count: 3...3),
        Command(
            name: "export", operands: "NAME FILE", help: "write a volume or snapshot to a sparse raw image; - is standard output",
            options: [
                Option(name: "force", letter: nil, value: nil, help: "replace FILE"),
                Option(name: "progress", letter: nil, value: "HOW", help: "always, never or json (default: on a terminal)"), json,
            ], count: 3...3),
        Command(name: "diff", operands: "VOL@A VOL@B", help: "print the ranges in which two versions of a volume differ", options: [json], count: 3...3),
        Command(
            name: "get", operands: "NAME [PROPERTY…]", help: "print properties of a volume or a snapshot", options: [json], count: 2...Int.max),
        Command(name: "set", operands: "NAME PROPERTY=VALUE…", help: "set properties; an empty value removes one", options: [json], count: 3...Int.max),
        Command(name: "grow", operands: "[+]SIZE", help: "make a pool larger, mounted or not", options: [json], count: 2...2),
        Command(name: "swap", operands: "A B", help: "two volumes exchange their names", options: [json], count: 3...3),
        Command(
            name: "check", operands: "", help: "verify a pool, mounted or not; changes nothing",
            options: [Option(name: "data", letter: nil, value: nil, help: "verify every block's contents too"), json], count: 1...1),
        Command(
            name: "scrub", operands: "", help: "read and verify everything in a pool, and mend damaged copies",
            options: [
                Option(name: "start", letter: nil, value: nil, help: "of a mounted pool: start it and return"),
                Option(name: "stop", letter: nil, value: nil, help: "cancel it"),
                Option(name: "status", letter: nil, value: nil, help: "tell how far it is"),
                Option(name: "wait", letter: nil, value: nil, help: "wait for its end and print what it found"), json,
            ], count: 1...1),
        Command(
            name: "repair", operands: "", help: "make a damaged, unmounted pool whole again as far as possible",
            options: [Option(name: "dry-run", letter: "n", value: nil, help: "only print what is wrong and what would be lost"), json],
            count: 1...1),
        Command(name: "dump", operands: "", help: "print an unmounted pool's metadata as text", count: 1...1),
        Command(
            name: "restore", operands: "FILE", help: "give a pool the metadata of a dump; its data must be where it was",
            options: [Option(name: "force", letter: nil, value: nil, help: "replace the metadata it has")], count: 2...2),
        Command(name: "completion", operands: "SHELL", help: "print completions for bash, zsh or fish", count: 1...1, takesPool: false),
        Command(name: "version", operands: "", help: "print versions", options: [json], count: 0...0, takesPool: false),
        Command(name: "help", operands: "[COMMAND]", help: "print this, or about one command", count: 0...1, takesPool: false),
    ]

    package static func find(_ name: String) -> Command? {
        commands.first { $0.name == name || $0.aliases.contains(name) }
    }

    /// The whole help, or one command's.
    package static func help(_ command: Command? = nil) -> String {
        if let command { return help(of: command) }
        var text = """
            Usage: volfs POOL MOUNTPOINT [-o OPT,…] [-f] [-d]
                   volfs --config FILE [-o OPT,…] [-f] [-d]
                   volfs COMMAND …

            Copy-on-write volumes as plain files. POOL is a pool's file, or where it is mounted; the environment's
            VOLFS_POOL stands in for one that is left out.

            Commands:

            """
        for command in commands {
            let form = command.synopsis.dropFirst("volfs ".count).split(separator: "[OPTION]")[0]
            text += "  " + form.padded(to: 34) + command.help + "\n"
        }
        return text + "\nvolfs help COMMAND tells a command's options. See volfs(1), mount.volfs(8) and volfs-ctl(7).\n"
    }

    private static func help(of command: Command) -> String {
        var text = "Usage: \(command.synopsis)\n\n\(command.help)\n"
        if !command.aliases.isEmpty { text += "Also called \(command.aliases.joined(separator: ", ")).\n" }
        if !command.options.isEmpty { text += "\n" }
        for option in command.options { text += "  " + option.synopsis.padded(to: 26) + option.help + "\n" }
        return text
    }
}

extension StringProtocol {
    /// With blanks behind it up to `width` characters, at least one.
    package func padded(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(1, width - count))
    }
}
