internal import TestSupport
import Testing

/// Commands that watch a pool, and what they say of it, mounted or not.
extension IntegrationTests {
    /// status, stats, iostat, top, wait and events tell what is true at that moment.
    @Test func commandsThatWatch() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" a 8M; head -c 1M /dev/urandom | dd of="$M/a" conv=notrunc,fsync bs=1M iflag=fullblock status=none
            field() { python3 -c 'import json,sys; print(json.loads(sys.stdin.readlines()[int(sys.argv[2])])[sys.argv[1]])' "$1" "${2:-0}"; }
            same "$("$V" status "$P" --json | field state)" ready; same "$("$V" status "$M" --json | field mountpoint)" "$M"
            same "$("$V" status "$P" --json | field pid)" "$(daemon)"; "$V" status "$P" | grep -q "^mounted  *at $M, by process $(daemon) "
            "$V" stats "$P" > stats; head -1 stats | grep -q ready; same "$("$V" stats "$P" --json | field written_bytes)" 1048576
            exec 5<"$M/a"; "$V" status "$P" | grep -q "^open  *a by pid $$ (bash)"; "$V" top "$P" -n 1 | grep -q "^a  *$$  *bash  *ro"
            loop=$(attach "$M/a"); "$V" top "$P" -n 1 | grep -q "^a .*$loop"; losetup -d "$loop"
            fails 6 "$V" destroy "$P" a -y; says "a: is open; open by pid $$ \\(bash\\)"
            fails 6 "$V" destroy "$P" a -y --json; same "$(field hint < out)" "open by pid $$ (bash); close, unmount or detach it"; same "$(field errno < out)" EBUSY
            fails 6 "$V" umount "$P"; says "a is open by pid $$ \\(bash\\)"; "$V" snapshot "$P" a@1; "$V" snapshot "$P" a@2
            # All or nothing, and -n says the same.
            for flag in -y -n; do fails 6 "$V" destroy "$P" a -r $flag; says "^volfs: a: is open; open by pid $$"; same "$("$V" list "$P" -H -o name | xargs)" "a a@1 a@2"; done
            fails 6 "$V" rollback "$P" a@1 -n; says "a: is open"; fails 6 "$V" resize "$P" a 1M --shrink -n --json; same "$(field errno < out)" EBUSY; "$V" resize "$P" a 9M -n
            exec 5<&-; "$V" destroy "$P" a@1 a@2 -y; "$V" top "$P" -n 2 -d 1 | grep -c 'nothing is open' | grep -q 2
            same "$("$V" iostat "$P" --json | field written_bytes)" 1048576
            (sleep 1; dd if=/dev/zero of="$M/a" bs=64K count=4 conv=notrunc status=none) & "$V" iostat "$P" 3 2 --json > io; wait $!
            same "$(field writes 1 < io) $(field written_bytes 1 < io)" "4 262144"; same "$("$V" iostat "$P" 0.1 3 -H | wc -l)" 3
            fails 2 "$V" iostat "$P" never; fails 4 "$V" wait "$P" scrub; fails 2 "$V" wait "$P" --timeout x
            "$V" scrub "$P" --start --json | field job | grep -q scrub; "$V" wait "$P" scrub --json | field state | grep -q clean
            "$V" scrub "$P" --status --json | field state | grep -q clean; "$V" scrub "$P" --wait | grep -q '^clean'
            same "$("$V" check "$P" --progress=json 2>&1 >/dev/null | field operation)" check
            head -c 40M /dev/urandom > "$M/b"; "$V" destroy "$P" b -y; "$V" wait "$P"; same "$(json hidden)" "$(json waiting)"
            unmount_pool
            same "$("$V" status "$P" --json | field state)" unmounted; "$V" status "$P" | grep -q '^mounted  *no'; "$V" stats "$P" | grep -q unmounted
            "$V" wait "$P"; fails 4 "$V" wait "$P" scrub
            for command in iostat top events; do fails 10 "$V" $command "$P"; says 'not mounted'; done
            same "$("$V" check "$P" --data --progress=json 2>&1 >/dev/null | field operation)" check; "$V" check "$P" --progress=never 2> err; same "$(cat err)" ""
            """)
    }

    /// What happens is printed when it does, for people and as JSON; the command ends with the mount.
    @Test func eventsAreFollowed() throws {
        try scenario(
            """
            pool 256M; "$V" events "$P" --json -n 3 > json & first=$!; "$V" events "$M" > text & second=$!
            # Both are reading when their files are open.
            for reader in $first $second; do until ls -l /proc/$reader/fd 2>/dev/null | grep -q ctl/events; do sleep 0.05; done; done
            "$V" new "$M" a 1M; "$V" snapshot "$M" a@s; "$V" rename "$M" a b; wait $first
            python3 -c 'import json; lines = [json.loads(l) for l in open("json")]; assert len(lines) == 3 and all(l["schema"] == "volfs.event/1" for l in lines), lines'
            "$V" snapshot "$M" b@x; (cd "$M"; fails 6 "$V" umount "$M"; says 'has its directory there')
            # Who only waits for events keeps no mount.
            "$V" umount "$M" --wait 20; got=0; wait $second || got=$?; same $got 0; clean
            grep -qE '^20[0-9-]+T[0-9:]+Z [a-z-]+ a@s' text || fail "$(cat text)"
            """)
    }

    /// Snapshots of several volumes by one command are of one moment, mounted or not, and all or none.
    @Test func snapshotsOfOneMoment() throws {
        try scenario(
            """
            pool 512M; for name in a b c; do "$V" new "$M" $name 1M; done
            cat > count.py <<'END'
            import os, struct, sys
            a, b = (os.open(sys.argv[1] + "/" + name, os.O_RDWR) for name in "ab")
            for n in range(1, 1000000):
                for f in (a, b): os.pwrite(f, struct.pack("<Q", n), 0)
                if os.path.exists(sys.argv[2]): break
            END
            python3 count.py "$M" stop & writer=$!
            for n in $(seq 20); do "$V" snapshot "$P" a@g$n b@g$n; done; touch stop; wait $writer
            python3 - "$M" <<'END'
            import struct, sys
            for n in range(1, 21):
                a, b = (struct.unpack("<Q", open("%s/%s@g%d" % (sys.argv[1], name, n), "rb").read(8))[0] for name in "ab")
                assert a - b in (0, 1), (n, a, b)
            END
            check() {
                fails 2 "$V" snapshot "$P" a@x b@y; says 'of one moment and have one name'; fails 2 "$V" snapshot "$P" a@x a@x; says twice
                "$V" snapshot "$P" c@$1; fails 5 "$V" snapshot "$P" a@$1 b@$1 c@$1; same "$("$V" list "$P" -H -o name | grep -c "@$1")" 1
                fails 4 "$V" snapshot "$P" a@$1 none@$1; fails 4 "$V" info "$P" a@$1
                "$V" snapshot "$P" --group all all-$1; same "$("$V" list "$P" -H -o name | grep "@all-$1" | xargs)" "a@all-$1 b@all-$1 c@all-$1"
                fails 2 "$V" snapshot "$P" --group all a@x; fails 4 "$V" snapshot "$P" --group nobody x
            }
            check mounted; unmount_pool; check unmounted; clean
            """)
    }

    /// A filesystem is frozen while its snapshot is made, and thawed whatever happens: its snapshot needs no recovery.
    @Test func snapshotOfFrozenFilesystem() throws {
        try scenario(
            """
            pool 512M; truncate -s 64M "$M/v" "$M/w"; loop=$(attach "$M/v"); mkfs.ext4 -q "$loop"; mkdir fs; mount "$loop" fs; echo data > fs/file
            recovers() { local copy=$(attach --read-only "$M/$1"); dumpe2fs -h "$copy" 2>/dev/null | grep -q needs_recovery && echo yes || echo no; losetup -d "$copy"; }
            works() { timeout 10 touch "fs/$1" || fail "frozen after $1"; }
            "$V" snapshot "$P" v@plain; same "$(recovers v@plain)" yes
            "$V" snapshot "$P" v@frozen w@frozen --freeze fs; works success; same "$(recovers v@frozen)" no
            fails 5 "$V" snapshot "$P" v@frozen --freeze fs; works failure
            fails 2 "$V" snapshot "$P" v@x --freeze "$T"; says 'has the pool itself in it'; fails 1 "$V" snapshot "$P" v@x --freeze /proc; says 'cannot be frozen'
            # What certainly is another filesystem.
            "$V" snapshot "$P" --group all all --freeze fs; fails 2 "$V" snapshot "$P" w@x --freeze fs; says "in $M/v, not in w"; truncate -s 64M image; mkdir other
            disk=$(attach image); mkfs.ext4 -q "$disk"; mount "$disk" other; fails 2 "$V" snapshot "$P" v@x w@x --freeze other; says "--freeze other: is a filesystem in $T/image, not in v or w"
            timeout 10 touch other/file; umount other; losetup -d "$disk"; fails 4 "$V" info "$P" v@x
            # On a loop device that is on a loop device.
            lower=$(attach "$M/w"); upper=$(attach $lower); mkfs.ext4 -q "$upper"; mount "$upper" other; "$V" snapshot "$P" w@deep --freeze other 2> said; [ ! -s said ] || fail "$(cat said)"; same "$(recovers w@deep)" no
            fails 2 "$V" snapshot "$P" v@x --freeze other; says "is a filesystem in $M/w, not in v"; umount other; losetup -d $upper; losetup -d $lower
            # Killed at any moment, also while it is frozen.
            for n in $(seq 0 40); do
                "$V" snapshot "$P" v@k$n --freeze fs & command=$!
                python3 -c "import time; time.sleep($n * 0.002)"; kill -KILL $command 2>/dev/null || true; wait $command 2>/dev/null || true
                works killed-$n
            done
            umount fs; losetup -d "$loop"; unmount_pool; clean
            """, tools: ["fsfreeze", "mkfs.ext4", "dumpe2fs"], seconds: 200)
    }

    /// What was cloned from is forgotten, by command and by rm; what it shares stays shared.
    @Test func detachedClone() throws {
        try scenario(
            """
            pool 256M; head -c 1M /dev/urandom > "$M/a"; "$V" snapshot "$P" a@s; "$V" clone "$P" a@s b c; before=$(json allocated)
            rm "$M/.ctl/clone/b"; same "$("$V" list "$P" -H -o name,origin b c | tr '\\t\\n' ' ,')" "b -,c a@s,"; fails 2 ls "$M/.ctl/clone/b"
            "$V" detach "$P" c; cmp "$M/a" "$M/c"; same "$(json allocated)" "$before"; fails 1 rm "$M/.ctl/clone/b"
            fails 2 "$V" detach "$P" a@s; fails 4 "$V" detach "$P" none; "$V" detach "$P" b
            "$V" clone "$P" a@s d; unmount_pool; "$V" detach "$P" d; same "$("$V" list "$P" -t clone -H)" ""; clean
            """)
    }

    /// Snapshots that are held stay; destroying prints what goes and changes nothing with -n, as all that destroys does.
    @Test func holdsAndDryRuns() throws {
        try scenario(
            """
            pool 256M; head -c 1M /dev/urandom > "$M/a"; "$V" snapshot "$P" a@s; "$V" new "$M" b 10M; head -c 64K /dev/urandom > "$M/a"
            both() {
                "$V" hold "$P" a@s --reason "for the audit"; fails 6 "$V" destroy "$P" a@s -y; says 'is held'
                "$V" snapshot "$P" a@0; for flag in -y -n; do fails 6 "$V" destroy "$P" -r a b $flag; says 'a@s: is held .for the audit.; release it first: volfs release'; same "$("$V" list "$P" -H -o name | sort | xargs)" "a a@0 a@s b"; done; "$V" destroy "$P" a@0 -y; same "$("$V" get "$P" a@s hold)" "for the audit"
                "$V" release "$P" a@s; fails 4 "$V" release "$P" a@s; says 'not held'; fails 2 "$V" hold "$P" a; fails 4 "$V" hold "$P" a@none
                "$V" list "$P" > before
                same "$("$V" rollback "$P" a@s -n)" "would put a, 64.0 KiB, back to a@s, 1.0 MiB; what it holds now is kept as a@pre-rollback-TIME"
                "$V" set "$P" b comment=x; "$V" rollback "$P" a@s -n --discard | grep -q 'holds now goes: 64.0 KiB referenced'
                same "$("$V" resize "$P" b 4M --shrink --dry-run)" "would cut b from 10.0 MiB to 4.0 MiB: what it has in its last 6.0 MiB goes"
                fails 2 "$V" resize "$P" b 4M -n; "$V" resize "$P" b 20M -n --json | grep -q '"schema":"volfs.plan/1","command":"resize","dry_run":true'
                "$V" destroy "$P" -rn a > plan; same "$(head -2 plan)" "$(printf 'would destroy a@s (1.0 MiB referenced, frees 1.0 MiB)\\nwould destroy a (64.0 KiB referenced, frees 68.0 KiB)')"
                "$V" list "$P" | diff before -
            }
            both
            # At a terminal, standard output is for the object, and what goes is said before it is asked.
            python3 - "$V" "$P" <<'END'
            import os, pty, subprocess, sys
            terminal, other = pty.openpty()
            for name, word in (("b", "it"), ("a@s b", "them")):
                command = subprocess.Popen([sys.argv[1], "destroy", sys.argv[2], *name.split(), "--json"], stdin=other, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                os.write(terminal, b"n\\n"); out, said = command.communicate(timeout=60); question = said.find(b"Destroy %s? [y/N]" % word.encode())
                assert command.returncode == 1 and out == b"" and 0 <= said.find(b"will destroy b (") < question, (out, said)
            END
            unmount_pool; both; "$V" dump "$P" > dump; cp "$P" copy
            "$V" create "$P" --force -n --size 64M | tee plan | grep -q "would destroy a@s"; grep -q 'replace the pool' plan
            same "$("$V" restore "$P" dump -n)" "would replace the metadata of $P, now of a, a@s, b, by that of dump"; fails 1 "$V" restore "$P" before -n
            cmp "$P" copy; "$V" create new.pool -n --size 64M; [ ! -e new.pool ] || fail made; clean
            """)
    }

    /// Sorted, of some types, with the snapshots of those named.
    @Test func listsAsAsked() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; "$V" new "$P" b 3M; "$V" new "$P" a 20M; "$V" new "$P" c 100K; "$V" snapshot "$P" a@s; "$V" clone "$P" a@s d
            names() { "$V" list "$P" -H -o name "$@" | xargs; }
            same "$(names)" "a a@s b c d"; same "$(names -s size)" "c b a a@s d"; same "$(names -S size -t volume)" "a d b c"; same "$(names -S name)" "d c b a@s a"
            same "$(names -t volume,snapshot c a)" "c a"; same "$(names -r a)" "a a@s"; same "$(names -t clone)" d; same "$(names -t snapshot,clone)" "a@s d"
            fails 2 "$V" list "$P" -s colour; says 'there are name'; fails 2 "$V" list "$P" -t volume,thing; fails 4 "$V" list "$P" none
            "$V" info "$P" a b --json | python3 -c 'import json,sys; o = json.load(sys.stdin); assert o["schema"] == "volfs.list/1" and len(o["objects"]) == 2'
            """)
    }

    /// Every command that takes --json prints one object with a schema, and so does every failure.
    @Test func everythingAsJSON() throws {
        try scenario(
            """
            schema() { local want=$1 got; shift; got=$("$@" | python3 -c 'import json,sys; print(json.load(sys.stdin)["schema"])'); same "$got" "volfs.$want/1" "$*"; }
            field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
            J=--json; schema create "$V" create "$P" --size 64M $J
            both() {
                schema change "$V" new "$P" a 1M $J; schema change "$V" resize "$P" a 2M $J; schema change "$V" snapshot "$P" a@s $J
                schema change "$V" clone "$P" a@s b $J; schema change "$V" detach "$P" b $J; schema change "$V" rename "$P" b c $J; schema change "$V" swap "$P" a c $J
                schema change "$V" swap "$P" a c $J; schema change "$V" rollback "$P" a@s --discard $J; schema change "$V" hold "$P" a@s $J; schema change "$V" release "$P" a@s $J
                schema properties "$V" get "$P" a $J; schema change "$V" set "$P" a comment=x $J; head -c 10K /dev/urandom > image; schema change "$V" import "$P" image i $J
                rm -f e; schema export "$V" export "$P" i e $J; schema change "$V" copy "$P" i k $J; schema diff "$V" diff "$P" a@s a $J
                for command in list info status stats wait check scrub; do "$V" $command "$P" $J | python3 -c 'import json,sys; assert json.load(sys.stdin)["schema"].startswith("volfs.")'; done
                fails 2 "$V" set "$P" a fixed=maybe $J; same "$(field object < out) $(field code < out)" "a 2"; fails 4 "$V" get "$P" a hold $J; same "$(field object < out)" a
                schema stats "$V" stats "$P" $J; schema pool "$V" info "$P" $J; schema plan "$V" resize "$P" a 8M -n $J
                schema destroy "$V" destroy "$P" -r -y a c i k $J
                for wrong in "info $P none" "new $P a,b 1M" "list $P -s no" "import $P none x"; do
                    "$V" $wrong $J 2>err >/dev/null && fail "$wrong"; python3 -c 'import json; o = json.load(open("err")); assert o["schema"] == "volfs.error/1" and o["code"] and o["object"] and o["message"], o'
                done
            }
            # The code is what the command ends with, and the errno has a name.
            for wrong in "check none" "scrub $P --start --stop" "repair none" "check $P --no" "mount none.pool $M" "mount -n none.pool $M" "none.pool $M" "list nbd://127.0.0.1:1/x"; do
                got=0; "$V" $wrong $J 2> err > /dev/null || got=$?
                python3 -c 'import json,sys; o = json.load(open("err")); assert o["code"] == int(sys.argv[1]) > 0 and not (o["errno"] or "").isdigit(), (sys.argv, o)' $got "$wrong"
            done
            schema plan "$V" mount -n "$P" "$M" $J; same "$("$V" mount -n "$P" "$M")" ""; same "$("$V" stats "$P" $J | field pid)" None
            both; mount_pool -o trash=1h; both; "$V" list "$P" -t trash $J | python3 -c 'import json,sys; o = [x for x in json.load(sys.stdin)["objects"] if x["type"] == "trash"]; assert o and all(len(x["guid"]) == 36 and x["removed"] >= x["created"] for x in o), o'
            fails 32 "$V" mount "$P" "$M" -n; says "is mounted at"; schema grow "$V" grow "$P" +16M $J; unmount_pool
            "$V" dump "$P" > dump; schema restore "$V" restore "$P" dump --force $J; schema repair "$V" repair "$P" -n $J; schema version "$V" version $J
            """)
    }

    /// In a top with the sticky bit only what is one's own can be destroyed; with something else among it nothing is.
    @Test func stickyTopKeepsAll() throws {
        try scenario(
            """
            chmod 755 "$T"; cp "$V" "$T/volfs"; "$V" create "$P" --size 256M; mount_pool -o dir_mode=1777; as() { setpriv --reuid=1234 --regid=1234 --clear-groups "$@"; }
            as truncate -s 1M "$M/mine"; truncate -s 1M "$M/other"
            fails 9 as "$T/volfs" destroy "$M" mine other -y; says 'other: permission denied; run as its owner'; fails 9 as "$T/volfs" destroy "$M" mine other -n; same "$(ls "$M" | xargs)" "mine other"
            as "$T/volfs" destroy "$M" mine -y; same "$(ls "$M")" other; "$V" destroy "$M" other -y; unmount_pool; clean
            """, tools: ["setpriv"])
    }
}
