/// Completions for bash.
enum BashCompletion {
    static var script: String {
        """
        # bash completion for volfs; made by: volfs completion bash
        _volfs() {
            local line=${COMP_LINE:0:COMP_POINT} words=() cur='' previous='' pool='' options='' values='' kinds='' takes_pool=1
            local word kind='' at=0 skip='' breaks='' cut character index
            COMPREPLY=()
            # Taken apart at blanks alone: bash itself breaks words at @ and : too.
            read -ra words <<< "$line"
            case "$line" in *[[:space:]]) ;; *) cur=${words[-1]}; unset 'words[-1]' ;; esac
            if [ "${#words[@]}" -le 1 ]; then
                mapfile -t COMPREPLY < <(compgen -W '\(CommandTable.commands.map(\.name).joined(separator: " "))' -- "$cur"; compgen -f -- "$cur")
                return
            fi
            previous=${words[-1]}
            case "${words[1]}" in
        \(CommandTable.commands.map(entry).joined(separator: "\n"))
                *)
                    case "$previous" in -o | --options)
                        cut=${cur%"${cur##*,}"}; mapfile -t COMPREPLY < <(compgen -P "$cut" -W '\(CommandTable.mountWords.joined(separator: " "))' -- "${cur##*,}"); return ;;
                    esac
                    compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
            esac
            # A value of an option, behind it or behind its equals sign.
            case "$cur" in --*=*) previous=${cur%%=*}; cur=${cur#*=} ;; esac
            case "$values" in *" $previous "*)
                case "${words[1]} $previous" in
        \(CommandTable.commands.flatMap(choices).joined(separator: "\n"))
                    *) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
                esac
                return ;;
            esac
            case "$cur" in -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur"); return ;; esac
            # Which operand it is, options and their values not counted.
            for word in "${words[@]:2}"; do
                if [ -n "$skip" ]; then skip=''; continue; fi
                case "$values" in *" $word "*) skip=1; continue ;; esac
                case "$word" in -?*) continue ;; esac
                if [ -n "$takes_pool" ] && [ -z "$pool" ]; then
                    if [ -z "$VOLFS_POOL" ] || [ -e "$word" ]; then pool=$word; continue; fi
                    pool=$VOLFS_POOL
                fi
                at=$((at + 1))
            done
            if [ -n "$takes_pool" ] && [ -z "$pool" ]; then
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$cur")
                [ -n "$VOLFS_POOL" ] || return
                pool=$VOLFS_POOL
            fi
            for word in $kinds; do
                kind=$word
                if [ "$at" -eq 0 ]; then break; fi
                at=$((at - 1))
            done
            case "$kind" in
                file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
                directory) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
                =*) mapfile -t COMPREPLY < <(compgen -W "${kind//[=,]/ }" -- "$cur") ;;
                all | volume | snapshot | trash)
                    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$("${words[0]}" list "$pool" -H -o name -t "$kind" 2>/dev/null)" -- "$cur") ;;
            esac
            # What bash takes for words of their own stays on the line, so it is not given again.
            for character in @ : =; do case "$COMP_WORDBREAKS" in *"$character"*) breaks+=$character ;; esac; done
            if [ -n "$breaks" ] && [[ $cur == *[$breaks]* ]]; then
                cut=${cur%"${cur##*[$breaks]}"}
                # But for an @, which begins the word that it breaks off.
                cut=${cut%@}
                for index in "${!COMPREPLY[@]}"; do COMPREPLY[index]=${COMPREPLY[index]#"$cut"}; done
            fi
        }
        complete -F _volfs volfs

        """
    }

    /// `list|ls) options='…' values=' … ' kinds='…' ;;`.
    private static func entry(_ command: Command) -> String {
        let options = command.options.flatMap(words).joined(separator: " ")
        let values = command.options.filter { $0.value != nil }.flatMap(words).joined(separator: " ")
        let kinds = command.kinds.map(kind).joined(separator: " ")
        let pool = command.takesPool ? "" : " takes_pool=''"
        return "        \(CompletionCommand.names(command).joined(separator: "|"))) options='\(options)' values=' \(values) ' kinds='\(kinds)'\(pool) ;;"
    }

    private static func words(_ option: Option) -> [String] { ["--\(option.name)"] + (option.letter.map { ["-\($0)"] } ?? []) }

    private static func kind(_ operand: Command.Operand) -> String {
        if let words = CompletionCommand.words(operand) { return "=" + words.joined(separator: ",") }
        if let type = CompletionCommand.objectType(operand) { return type }
        switch operand {
        case .file: return "file"
        case .directory: return "directory"
        default: return "none"
        }
    }

    /// Lists of values are completed at their last comma.
    private static func choices(_ command: Command) -> [String] {
        command.options.filter { !$0.choices.isEmpty }.map { option in
            let patterns = CompletionCommand.names(command).flatMap { name in words(option).map { "'\(name) \($0)'" } }
            let list = option.choices.joined(separator: " ")
            return "                    \(patterns.joined(separator: "|"))) cut=${cur%\"${cur##*,}\"}; mapfile -t COMPREPLY < <(compgen -P \"$cut\" -W '\(list)' -- \"${cur##*,}\") ;;"
        }
    }
}
