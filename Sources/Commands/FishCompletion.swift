/// Completions for fish.
enum FishCompletion {
    static var script: String {
        let all = CommandTable.commands.flatMap { CompletionCommand.names($0) }.joined(separator: " ")
        var lines = [
            "# fish completion for volfs; made by: volfs completion fish",
            "function __volfs_names -a type",
            "    set -l words (commandline -opc)",
            "    set -l pool (string match -v -- '-*' $words[3..-1])[1]",
            "    test -n \"$pool\"; or set pool $VOLFS_POOL",
            "    test -n \"$pool\"; and volfs list $pool -H -o name -t $type 2>/dev/null",
            "end",
        ]
        for command in CommandTable.commands { lines += entries(command, all) }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func entries(_ command: Command, _ all: String) -> [String] {
        let names = CompletionCommand.names(command).joined(separator: " ")
        var lines = ["complete -c volfs -n 'not __fish_seen_subcommand_from \(all)' -a \(command.name) -d '\(CompletionCommand.quoted(command.help))'"]
        let when = "complete -c volfs -n '__fish_seen_subcommand_from \(names)'"
        for option in command.options {
            let letter = option.letter.map { " -s \($0)" } ?? ""
            let value = option.value == nil ? "" : option.choices.isEmpty ? " -r" : " -x -a '\(option.choices.joined(separator: " "))'"
            lines.append("\(when) -l \(option.name)\(letter)\(value) -d '\(CompletionCommand.quoted(option.help))'")
        }
        for operand in command.kinds {
            if let words = CompletionCommand.words(operand) { lines.append("\(when) -a '\(words.joined(separator: " "))'") }
            if let type = CompletionCommand.objectType(operand) { lines.append("\(when) -a '(__volfs_names \(type))'") }
        }
        return lines
    }
}
