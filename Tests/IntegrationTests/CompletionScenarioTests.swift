internal import TestSupport
import Testing

/// Completions, by the shells themselves.
extension IntegrationTests {
    private static let setUp = """
        pool 256M; touch "$M/root" "$M/other"; mkdir "$M/.ctl/snap/root/before" "$M/.ctl/snap/root/after:1"
        mkdir bin; ln -s "$V" bin/volfs; export PATH=$T/bin:$PATH; for shell in bash zsh fish; do volfs completion $shell > c.$shell; done

        """

    /// bash completes commands, options, values and names; at a terminal too, where it takes `root@be` for three words.
    @Test func bashCompletes() throws {
        try scenario(
            Self.setUp + """
            cat > try.bash <<'END'
            source ./c.bash
            # LINE WANT…: what completes the line.
            try() {
                COMP_LINE=$1; COMP_POINT=${#1}; shift; COMPREPLY=(); _volfs
                for want in "$@"; do printf '%s\\n' "${COMPREPLY[@]}" | grep -qx -- "$want" || { echo "'$COMP_LINE' has no '$want': ${COMPREPLY[*]}"; exit 1; }; done
            }
            none() { COMP_LINE=$1; COMP_POINT=${#1}; COMPREPLY=(); _volfs; [ ${#COMPREPLY[@]} = 0 ] || { echo "'$1' has ${COMPREPLY[*]}"; exit 1; }; }
            try "volfs p m -o tra" trash; try "volfs mount p m -o ro,tra" ro,trash
            COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
            try "volfs sna" snapshot; try "volfs check $1 --da" --data; try "volfs ls $1 --sor" --sort
            try "volfs clone $1 root@" root@before; try "volfs info $1 o" other; try "volfs rollback $1 " root@before
            try "volfs list $1 -t snap" snapshot; try "volfs list $1 --type=vol" volume; try "volfs list $1 -o name,si" name,size
            try "volfs list $1 -o name -t clone o" other; try "volfs check $1 --progress j" json
            try "volfs wait $1 fr" freed; try "volfs completion z" zsh; try "volfs help ro" rollback
            try "volfs export $1 root ./c.b" ./c.bash; try "volfs import $1 c.z" c.zsh; try "volfs list data.p" data.pool
            try "volfs info $1 root@after:" 1; none "volfs swap $1 root@"; none "volfs new $1 r"
            VOLFS_POOL=$1 try "volfs info ro" root
            COMP_WORDBREAKS+=@; try "volfs info $1 root@be" @before; try "volfs info $1 root@after:" 1
            END
            bash try.bash "$M"
            cat > try.py <<'END'
            import os, pty, select, sys, time
            pid, terminal = pty.fork()
            if pid == 0:
                os.environ.update(TERM="dumb", PS1="> ", INPUTRC="/dev/null")
                os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
            def wait(text):
                seen, end = b"", time.time() + 30
                while text not in seen:
                    assert time.time() < end, seen
                    if select.select([terminal], [], [], 1)[0]: seen += os.read(terminal, 4096)
                return seen
            os.write(terminal, b"source ./c.bash; echo rea''dy\\n"); wait(b"ready")
            os.write(terminal, b"volfs info %s root@be\\t" % sys.argv[1].encode()); wait(b"before ")
            os.write(terminal, b"\\n"); wait(b"type        snapshot")
            os.write(terminal, b"volfs info %s root@af\\t" % sys.argv[1].encode()); wait(b"fter:1 ")
            os.write(terminal, b"\\n"); wait(b"type        snapshot"); os.write(terminal, b"exit\\n")
            END
            timeout 100 python3 try.py "$M"
            unmount_pool
            """)
    }

    /// fish completes the same; zsh's script, which only a terminal could run, is one that zsh takes.
    @Test func zshAndFishComplete() throws {
        try scenario(
            Self.setUp + """
            zsh -n c.zsh; fish --no-execute c.fish
            try() { fish --no-config --command "source c.fish; complete -C '$1'" | cut -f 1 | grep -qx -- "$2" || fail "'$1' has no '$2'"; }
            try "volfs sna" snapshot; try "volfs check $M --da" --data; try "volfs info $M root@be" root@before; try "volfs clone $M o" other
            try "volfs list $M --type sn" snapshot; try "volfs wait $M fr" freed
            zsh -f -c 'autoload -Uz compinit && compinit -u -d zdump; compdef -n _volfs volfs 2>/dev/null; fpath=($PWD $fpath); functions[_volfs]=$(<c.zsh); whence -w _volfs' | grep -q function
            unmount_pool
            """, tools: ["zsh", "fish"])
    }
}
