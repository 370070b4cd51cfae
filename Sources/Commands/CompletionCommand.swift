internal import VolumeFS

/// `volfs completion`: what a shell needs to complete commands, options, pools and names, from the table of commands.
package enum CompletionCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        say(try script(for: arguments.operands[0]), end: "")
        return 0
    }

    package static func script(for shell: String) throws(Failure) -> String {
        switch shell {
        case "bash": BashCompletion.script
        case "zsh": ZshCompletion.script
        case "fish": FishCompletion.script
        default: throw .usage(shell, "bash, zsh or fish")
        }
    }

    /// A command's name and what else it is called.
    static func names(_ command: Command) -> [String] { [command.name] + command.aliases }

    /// Words that an operand can be, where they are known beforehand.
    static func words(_ operand: Command.Operand) -> [String]? {
        switch operand {
        case .words(let words): words
        case .command: CommandTable.commands.map(\.name)
        case .property: VolumeFileSystem.propertyNames
        case .setting: VolumeFileSystem.settableNames
        default: nil
        }
    }

    /// What `volfs list -t` calls the objects that an operand can be; nil if it is none.
    static func objectType(_ operand: Command.Operand) -> String? {
        switch operand {
        case .volume: "volume"
        case .snapshot: "snapshot"
        case .object: "all"
        case .trash: "trash"
        default: nil
        }
    }

    /// A help text between single quotes, and without what the shells' own notations mean something by.
    static func quoted(_ text: String) -> String { text.filter { !"'[]:\\`$".contains($0) } }
}
