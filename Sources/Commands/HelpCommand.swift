/// `volfs help`.
enum HelpCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        guard let name = arguments.operands.first else { return about(nil) }
        guard let command = CommandTable.find(name) else { throw .usage(name, "no such command; " + Spelling.advice(name, of: CommandTable.words, otherwise: "see: volfs help")) }
        return about(command)
    }

    static func about(_ command: Command?) -> Int32 {
        say(CommandTable.help(command), end: "")
        return 0
    }
}
