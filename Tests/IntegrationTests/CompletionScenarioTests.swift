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
            try "volfs get $1 root uni" unique; try "volfs wait $1 fr" freed; try "volfs completion z" zsh; try "volfs help ro" rollback
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

    /// zsh completes at a terminal: what it then takes for the words of the command is printed.
    @Test func zshCompletes() throws {
        try scenario(
            Self.setUp + """
            mkdir z; cp c.zsh z/_volfs
            cat > lines <<END
            info $M root@be => info $M root@before
            snaps => snapshot
            rollback $M root@be => rollback $M root@before
            list $M -o name,si => list $M -o name,size
            list $M --columns=name,si => list $M --columns=name,size
            list $M -t snap => list $M -t snapshot
            $P $M -o snap => $P $M -o snapshots
            mount $P $M -o ro,snap => mount $P $M -o ro,snapshots
            get $M root uniq => get $M root unique
            set $M root quo => set $M root quota
            wait $M scr => wait $M scrub
            check $M --da => check $M --data
            check $M --progress=j => check $M --progress=json
            END
            cat > try.py <<'END'
            import os, pty, select, sys, time
            pid, terminal = pty.fork()
            if pid == 0:
                os.environ.update(TERM="dumb", PS1="> ")
                os.execvp("zsh", ["zsh", "-f", "-i"])
            seen = b""
            def wait(text):
                global seen
                end = time.time() + 30
                while text not in seen:
                    assert time.time() < end, (text, seen)
                    if select.select([terminal], [], [], 1)[0]: seen += os.read(terminal, 4096)
                seen = seen.split(text, 1)[1]
            open("set-up", "w").write('''
            fpath=(./z $fpath); autoload -Uz compinit; compinit -u -d zdump
            v() { print -r -- "GOT<$*>" }
            compdef _volfs v; bindkey '^I' complete-word; echo rea\"\"dy
            ''')
            os.write(terminal, b"source ./set-up\\n"); wait(b"ready")
            for line in open("lines"):
                typed, want = line.rstrip("\\n").split(" => ")
                os.write(terminal, b"v %s\\t\\n" % typed.encode()); wait(b"GOT<%s>" % want.encode())
            os.write(terminal, b"exit\\n")
            END
            timeout 100 python3 try.py
            unmount_pool
            """, tools: ["zsh"])
    }

    /// fish completes the same.
    @Test func fishCompletes() throws {
        try scenario(
            Self.setUp + """
            fish --no-execute c.fish
            try() { fish --no-config --command "source c.fish; complete -C '$1'" | cut -f 1 | grep -qx -- "$2" || fail "'$1' has no '$2'"; }
            none() { ! fish --no-config --command "source c.fish; complete -C '$1'" | cut -f 1 | grep -qx -- "$2" || fail "'$1' has '$2'"; }
            try "volfs sna" snapshot; try "volfs check $M --da" --data; try "volfs info $M root@be" root@before; try "volfs clone $M o" other
            try "volfs list $M --type sn" snapshot; try "volfs wait $M fr" freed; try "volfs list $M -o name,si" name,size; try "volfs list $M --columns=name,si" --columns=name,size
            try "volfs mount $P $M -o ro,snap" ro,snapshots; try "volfs $P $M -o sn" snapshots; none "volfs $P $M -o sn" snapshot; none "volfs $P $M sn" snapshot
            try "volfs get $M root uni" unique; try "volfs set $M root quo" quota; none "volfs set $M root uni" unique
            unmount_pool
            """, tools: ["fish"])
    }
}
