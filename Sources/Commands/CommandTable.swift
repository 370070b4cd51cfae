internal import VolumeFS

/// Every command there is.
package enum CommandTable {
    package static let commands: [Command] = poolCommands + objectCommands + transferCommands + watchCommands + careCommands + otherCommands

    /// What a command line can begin with.
    package static var words: [String] { commands.flatMap { [$0.name] + $0.aliases } }

    package static func find(_ name: String) -> Command? {
        commands.first { $0.name == name || $0.aliases.contains(name) }
    }

    /// The command that a line without one is, as in `volfs POOL MOUNTPOINT`.
    package static let mount: Command = {
        guard let mount = find("mount") else { preconditionFailure("the table has no mount") }
        return mount
    }()

    /// What `mount -o` takes, by the words that can be completed.
    package static var mountWords: [String] { mount.options.first { $0.name == "options" }?.choices ?? [] }

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
