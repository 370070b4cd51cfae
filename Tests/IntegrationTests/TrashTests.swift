internal import TestSupport
import Testing

extension IntegrationTests {
    /// What was removed under a mount with a trash is listed, named where it is looked for, taken back and deleted for good, by commands
    /// and by the daemon's own words; mounted and not.
    @Test func trashIsListedTakenBackAndEmptied() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mount_pool -o trash=1d; cd "$M"; head -c 64K /dev/urandom > gone; sum=$(cksum < gone); touch other; guid=$("$V" get "$M" gone guid); created=$("$V" get "$M" gone created)
            rm gone; echo second > gone; rm gone; same "$("$V" list "$M" -H -o name,type,guid -t trash | head -1)" "gone	trash	$guid"
            "$V" list "$M" -t trash > "$T/out"; says '^NAME +SIZE +REFERENCED +CREATED +REMOVED$'; says "^gone +64.0 KiB +64.0 KiB +$created +20"; says '^gone~2 +7 B'
            "$V" list --json -t trash "$M" | python3 -c 'import json,sys; o = json.load(sys.stdin)["objects"]; assert [x["name"] for x in o] == ["gone", "gone~2"] and all(x["type"] == "trash" and x["removed"] >= x["created"] for x in o), o'
            shown() { "$V" list "$1" -t trash -o name,size,created,removed,guid; }; shown "$M" > "$T/mounted"; cd "$T"; unmount_pool; shown "$P" | diff mounted -; mount_pool -o trash=1d; cd "$M"
            # Of two of a name the one that was removed last is what is missed.
            looked() { for c in "info $1 gone" "get $1 gone" "clone $1 gone x" "snapshot $1 gone@x" "destroy -y $1 gone" "export $1 gone -" "resize $1 gone 1G" "hold $1 gone@x" "rollback $1 gone@s" "set $1 gone comment=x" "rename $1 gone b" "swap $1 other gone" "diff $1 gone@a gone" "copy $1 gone x"; do
                fails 4 "$V" $c; says "^volfs: gone.*it is in the trash; take it back: volfs undelete $1 $2( gone)?$"; done; }
            looked "$M" gone~2; fails 1 mkdir .ctl/snap/gone@x; fails 1 ln -s gone .ctl/clone/x
            same "$(grep -cE 'errno=2: there is no volume.* gone; it is in the trash; take it back: mv .ctl/trash/gone~2 gone$' .ctl/errors)" 3 "$(cat .ctl/errors)"
            fails 4 "$V" info "$M" none; says 'no such volume or snapshot; see: volfs list'; fails 4 "$V" undelete "$M" none; says "none: is not in the trash; see: volfs list $M -t trash"; fails 2 "$V" undelete "$M" gone a,b
            "$V" undelete --json "$M" gone > "$T/out"; says 'volfs.change/1.*"name":"gone"'; same "$(cksum < gone)" "$sum"; fails 5 "$V" undelete "$M" gone~2; says 'gone: the name gone is taken'; "$V" undelete "$M" gone~2 back; same "$(cat back)" second
            # For good: all or nothing of several names.
            rm gone back; fails 4 "$V" purge -y "$M" gone none; says 'none: is not in the trash'; fails 2 "$V" purge "$M"; says 'purge: there is no terminal to ask on; add -y'; says 'will delete gone for good \\(64.0 KiB referenced\\)'
            "$V" purge -n "$M" > "$T/out"; same "$(wc -l < "$T/out")" 2; "$V" purge -n --json "$M" gone > "$T/out"; says '"schema":"volfs.destroy/1","dry_run":true'; same "$(ls .ctl/trash | xargs)" "back gone"
            "$V" purge --json -y "$M" back > "$T/out"; says '"name":"back"'; same "$(ls .ctl/trash)" gone; cd "$T"; unmount_pool
            looked "$P" gone; "$V" list "$P" -t trash -o name > "$T/out"; says '^gone'; "$V" undelete "$P" gone back; fails 4 "$V" purge "$P" gone -y; "$V" purge "$P" -y 2> "$T/out"; says 'its trash is empty'; same "$("$V" list -H -o name "$P" | xargs)" "back other"; clean
            mount_pool -o trash=1d; same "$(cksum < "$M/back")" "$sum"; rm "$M/back"; exec 5<"$M/.ctl/trash/back"; fails 6 "$V" purge -y "$M"; says 'back: is open'; exec 5<&-; "$V" purge -y "$M"; same "$(ls "$M/.ctl/trash")" ""; freed; unmount_pool; clean
            """, tools: ["python3"])
    }

    /// What is deleted is what was asked about, not what has its name when the answer comes; and a name in the trash is looked for there.
    @Test func answersAreAboutWhatWasAsked() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mount_pool -o trash=1d; echo first > "$M/root"; rm "$M/root"; echo first > "$M/v"; mkdir "$M/.ctl/snap/v/s"
            python3 - "$V" "$M" <<'END'
            import os, pty, subprocess, sys
            program, mount = sys.argv[1:]; terminal, other = pty.openpty()
            for verb, name, meanwhile in (
                ("purge", "root", '"$0" undelete . root saved; echo second > root; rm root'), ("destroy", "v@s", 'rmdir .ctl/snap/v/s; mkdir .ctl/snap/v/s'),
                ("destroy", "v", 'mv v w; echo second > v')):
                if name == "v": os.rmdir(mount + "/.ctl/snap/v/s")
                command = subprocess.Popen([program, verb, mount, name], stdin=other, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); said = b""
                while b"[y/N]" not in said:
                    part = os.read(command.stderr.fileno(), 1000); assert part, said; said += part
                subprocess.run(["bash", "-ec", meanwhile, program], cwd=mount, check=True); os.write(terminal, b"y\\n"); _, said = command.communicate(timeout=60)
                assert command.returncode == 4 and b"volfs: %s: is not what it was when this began" % name.encode() in said, (command.returncode, said)
            END
            same "$(cat "$M/.ctl/trash/root" "$M/v" "$M/w" "$M/saved" | xargs)" "second second first first"
            echo third > "$M/root"; for form in "$M" "$P"; do
                [ "$form" = "$M" ] || unmount_pool
                same "$("$V" list "$form" root -t trash -H -o name,type)" "root	trash"; same "$("$V" list "$form" root -t trash,volume -H -o type | sort | xargs)" "trash volume"; same "$("$V" list "$form" root -H -o type)" volume
                fails 4 "$V" list "$form" v -t trash; says '^volfs: v: is not in the trash; see: volfs list'
            done; clean
            """, tools: ["python3"])
    }
}
