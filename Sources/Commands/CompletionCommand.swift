/// `volfs completion`: what a shell needs to complete commands, options, pools and names, from the table of commands.
package enum CompletionCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        say(try script(for: arguments.operands[0]), end: "")
        return 0
    }

    package static func script(for shell: String) throws(Failure) -> String {
        switch shell {
        case "bash": bash
        case "zsh": zsh
        case "fish": fish
        default: throw .usage(shell, "bash, zsh or fish")
        }
    }

    private static func options(_ command: Command) -> String {
        command.options.map { "--\($0.name)" + ($0.letter.map { " -\($0)" } ?? "") }.joined(separator: " ")
    }

    /// Names have an @, which bash takes for the end of a word unless it is told not to.
    private static var bash: String {
        let cases = CommandTable.commands.map { command in
            "        \(([command.name] + command.aliases).joined(separator: "|"))) options='\(options(command))' ;;"
        }
        return """
            # bash completion for volfs; made by: volfs completion bash
            _volfs() {
                local COMP_WORDBREAKS=${COMP_WORDBREAKS//[@:]/} cur prev words cword options='' pool=''
                if declare -F _init_completion >/dev/null; then _init_completion -n @: || return; else
                    words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; cur=${words[cword]}
                fi
                if [ "$cword" -eq 1 ]; then
                    COMPREPLY=($(compgen -W "\(CommandTable.commands.map(\.name).joined(separator: " "))" -- "$cur") $(compgen -f -- "$cur"))
                    return
                fi
                case "${words[1]}" in
            \(cases.joined(separator: "\n"))
                    *) COMPREPLY=($(compgen -f -- "$cur")); return ;;
                esac
                case "$cur" in -*) COMPREPLY=($(compgen -W "$options" -- "$cur")); return ;; esac
                for word in "${words[@]:2:cword-2}"; do case "$word" in -*) ;; *) pool=$word; break ;; esac; done
                if [ -n "${pool:-$VOLFS_POOL}" ]; then
                    COMPREPLY=($(compgen -W "$(volfs list "${pool:-$VOLFS_POOL}" -H -o name 2>/dev/null)" -- "$cur"))
                fi
                [ -n "$pool" ] || COMPREPLY+=($(compgen -f -- "$cur"))
            }
            complete -o filenames -F _volfs volfs

            """
    }

    private static var zsh: String {
        let commands = CommandTable.commands.map { "        '\($0.name):\(quoted($0.help))'" }.joined(separator: "\n")
        let cases = CommandTable.commands.map { command in
            let options = command.options.map { "'--\($0.name)\($0.value == nil ? "" : "=")[\(quoted($0.help))]'" }.joined(separator: " ")
            return "        \(command.name)) _arguments \(options) '*:name:_volfs_names' ;;"
        }
        return """
            #compdef volfs
            # zsh completion for volfs; made by: volfs completion zsh
            _volfs_names() {
                local pool=${${words[(r)*.pool]}:-$VOLFS_POOL}
                [[ -n $pool ]] && compadd -- ${(f)"$(volfs list $pool -H -o name 2>/dev/null)"}
                _files
            }
            _volfs() {
                local -a commands=(
            \(commands)
                )
                if (( CURRENT == 2 )); then _describe command commands; _files; return; fi
                case $words[2] in
            \(cases.joined(separator: "\n"))
                esac
            }
            _volfs "$@"

            """
    }

    private static var fish: String {
        var lines = ["# fish completion for volfs; made by: volfs completion fish"]
        for command in CommandTable.commands {
            lines.append("complete -c volfs -n __fish_use_subcommand -a \(command.name) -d '\(quoted(command.help))'")
            for option in command.options {
                let letter = option.letter.map { " -s \($0)" } ?? "", value = option.value == nil ? "" : " -r"
                lines.append("complete -c volfs -n '__fish_seen_subcommand_from \(command.name)' -l \(option.name)\(letter)\(value) -d '\(quoted(option.help))'")
            }
        }
        lines.append("complete -c volfs -n 'test -n \"$VOLFS_POOL\"' -a '(volfs list $VOLFS_POOL -H -o name 2>/dev/null)'")
        return lines.joined(separator: "\n") + "\n"
    }

    private static func quoted(_ text: String) -> String { text.filter { $0 != "'" && $0 != "[" && $0 != "]" && $0 != ":" } }
}
