/// Completions for zsh.
enum ZshCompletion {
    static var script: String {
        let commands = CommandTable.commands.map { "        '\($0.name):\(CompletionCommand.quoted($0.help))'" }.joined(separator: "\n")
        return """
            #compdef volfs
            # zsh completion for volfs; made by: volfs completion zsh
            _volfs_objects() {
                local pool=${${(@)words[2,CURRENT-1]:#-*}[1]:-$VOLFS_POOL}
                [[ -n $pool ]] && compadd -- ${(f)"$(volfs list $pool -H -o name -t ${@[-1]} 2>/dev/null)"}
            }
            # The last of several words with commas between.
            _volfs_list() { compset -P '*,'; compadd -S '' -- "$@" }
            _volfs() {
                local -a commands=(
            \(commands)
                )
                if (( CURRENT == 2 )); then _describe command commands; _files; return; fi
                local command=$words[2]
                shift words; (( CURRENT-- ))
                case $command in
            \(CommandTable.commands.map(entry).joined(separator: "\n"))
                    *) _arguments -s -S \(mountForm) ;;
                esac
            }
            _volfs "$@"

            """
    }

    /// The pool is where a command would be.
    private static var mountForm: String {
        (CommandTable.mount.options.flatMap(specifications).map { "'\($0)'" } + ["'1:directory:_files -/'"]).joined(separator: " ")
    }

    private static func entry(_ command: Command) -> String {
        let options = command.options.flatMap(specifications).map { "'\($0)'" }
        var operands = command.takesPool ? ["'1:pool:_files'"] : []
        for (index, kind) in command.kinds.enumerated() {
            let isLast = index == command.kinds.count - 1 && command.count.upperBound == Int.max
            operands.append("'\(isLast ? "*" : "\(operands.count + 1)"):\(label(kind)):\(action(kind))'")
        }
        let words = (options + operands).joined(separator: " ")
        return "        \(CompletionCommand.names(command).joined(separator: "|"))) _arguments -s -S \(words) ;;"
    }

    /// Either spelling of an option, the long one with its value behind an equals sign or a blank.
    private static func specifications(_ option: Option) -> [String] {
        let help = "[\(CompletionCommand.quoted(option.help))]"
        let value = option.value.map { ":\(CompletionCommand.quoted($0)):" + values(option) } ?? ""
        let long = "--\(option.name)\(option.value == nil ? "" : "=")\(help)\(value)"
        return [long] + (option.letter.map { ["-\($0)\(option.value == nil ? "" : "+")\(help)\(value)"] } ?? [])
    }

    /// With a blank in front it is called without what `_arguments` would pass to it.
    private static func values(_ option: Option) -> String {
        if option.choices.isEmpty { return "_files" }
        let words = option.choices.joined(separator: " ")
        return option.isList ? " _volfs_list \(words)" : "(\(words))"
    }

    private static func label(_ operand: Command.Operand) -> String { CompletionCommand.objectType(operand) == nil ? "word" : "name" }

    private static func action(_ operand: Command.Operand) -> String {
        if let words = CompletionCommand.words(operand) { return "(\(words.joined(separator: " ")))" }
        if let type = CompletionCommand.objectType(operand) { return "_volfs_objects \(type)" }
        switch operand {
        case .file: return "_files"
        case .directory: return "_files -/"
        default: return " "
        }
    }
}
