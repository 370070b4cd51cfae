/// Completions for fish.
enum FishCompletion {
    static var script: String {
        let all = CommandTable.commands.flatMap { CompletionCommand.names($0) }.joined(separator: " ")
        var lines = [
            "# fish completion for volfs; made by: volfs completion fish",
            "function __volfs_first",
            "    test (count (commandline -opc)) -eq 1",
            "end",
            "function __volfs_is",
            "    set -l words (commandline -opc)",
            "    test (count $words) -ge 2; and contains -- $words[2] $argv",
            "end",
            "function __volfs_mounts",
            "    test (count (commandline -opc)) -ge 2; and not __volfs_is \(all)",
            "end",
            "# The last of several words with commas between.",
            "function __volfs_list",
            "    set -l begun (string replace -r '^--[a-z-]+=' '' -- (commandline -ct) | string replace -r '[^,]*$' '')",
            "    printf '%s\\n' $begun$argv",
            "end",
            "function __volfs_names -a type",
            "    set -l words (commandline -opc)",
            "    set -l pool (string match -v -- '-*' $words[3..-1])[1]",
            "    test -n \"$pool\"; or set pool $VOLFS_POOL",
            "    test -n \"$pool\"; and volfs list $pool -H -o name -t $type 2>/dev/null",
            "end",
        ]
        for command in CommandTable.commands { lines += entries(command) }
        lines += CommandTable.mount.options.map { option($0, when: "complete -c volfs -n __volfs_mounts") }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func option(_ option: Option, when: String) -> String {
        let letter = option.letter.map { " -s \($0)" } ?? "", words = option.choices.joined(separator: " ")
        let value = option.value == nil ? "" : option.choices.isEmpty ? " -r" : " -x -a '\(option.isList ? "(__volfs_list \(words))" : words)'"
        return "\(when) -l \(option.name)\(letter)\(value) -d '\(CompletionCommand.quoted(option.help))'"
    }

    private static func entries(_ command: Command) -> [String] {
        let names = CompletionCommand.names(command).joined(separator: " ")
        var lines = ["complete -c volfs -n __volfs_first -a \(command.name) -d '\(CompletionCommand.quoted(command.help))'"]
        let when = "complete -c volfs -n '__volfs_is \(names)'"
        lines += command.options.map { option($0, when: when) }
        for operand in command.kinds {
            if let words = CompletionCommand.words(operand) { lines.append("\(when) -a '\(words.joined(separator: " "))'") }
            if let type = CompletionCommand.objectType(operand) { lines.append("\(when) -a '(__volfs_names \(type))'") }
        }
        return lines
    }
}
