internal import TestSupport
import Testing

/// What the control directory does beside snapshots and clones, with the tools of a shell.
extension IntegrationTests {
    /// Members join and leave by links, and follow their volume through renames and remounts; one mkdir is one moment for all.
    @Test func groupsOfVolumes() throws {
        try scenario(
            """
            pool 512M; cd "$M"; for v in a b c; do "$V" new "$M" $v 1M; done
            same "$(ls .ctl/group)" all; same "$(ls .ctl/group/all/members | tr '\\n' ' ')" "a b c "; same "$(ls .ctl/group/all)" "$(printf 'members\\nsnap')"
            mkdir .ctl/group/db; same "$(ls .ctl/group/db/members)" ""
            ln -s ../../../../a .ctl/group/db/members/a; ln -s b .ctl/group/db/members/; ln -s "$M/c" .ctl/group/db/members/c
            same "$(readlink .ctl/group/db/members/b)" ../../../../b; cmp b .ctl/group/db/members/b
            rm .ctl/group/db/members/c; same "$(ls .ctl/group/db/members | tr '\\n' ' ')" "a b "
            mkdir .ctl/group/db/snap/n1; same "$(ls .ctl/group/db/snap)" n1; same "$(ls | grep n1 | tr '\\n' ' ')" "a@n1 b@n1 "; same "$(ls .ctl/group/all/snap)" ""
            # All or none.
            mkdir .ctl/snap/b/n2; fails 1 mkdir .ctl/group/db/snap/n2; says 'File exists'; same "$(ls .ctl/snap/a)" n1
            tail -1 .ctl/errors | grep -q 'errno=17: b has a snapshot n2 already, so none was made' || fail "$(tail -1 .ctl/errors)"
            echo 1 > .ctl/vol/a/prop/snapshot_limit; fails 1 mkdir .ctl/group/db/snap/n3; says 'Too many links'; same "$(ls .ctl/snap/b | tr '\\n' ' ')" "n1 n2 "
            tail -1 .ctl/errors | grep -q 'snapshot_limit allows 1 snapshot of a' || fail "$(tail -1 .ctl/errors)"; echo > .ctl/vol/a/prop/snapshot_limit
            echo why > .ctl/snap/b/n1/prop/hold; fails 1 rmdir .ctl/group/db/snap/n1; says busy; same "$(ls .ctl/snap/a)" n1; echo > .ctl/snap/b/n1/prop/hold
            exec 5<b@n1; fails 1 rmdir .ctl/group/db/snap/n1; says busy; same "$(ls .ctl/snap/a)" n1; exec 5<&-; rmdir .ctl/group/db/snap/n1
            same "$(ls .ctl/snap/a .ctl/snap/b | grep -c n1)" 0
            # The property is the same thing.
            same "$(cat .ctl/vol/a/prop/group)" db; echo db,web > .ctl/vol/c/prop/group; same "$(ls .ctl/group | tr '\\n' ' ')" "all db web "
            fails 1 bash -c 'echo all > .ctl/vol/c/prop/group'; fails 1 bash -c 'echo a,a > .ctl/vol/c/prop/group'; fails 1 bash -c 'echo "a b" > .ctl/vol/c/prop/group'
            mv c d; same "$(ls .ctl/group/web/members)" d; ln -s d .ctl/clone/e; same "$(ls .ctl/group/web/members)" d; rm e
            fails 1 rmdir .ctl/group/db; says 'not empty'; fails 1 rmdir .ctl/group/all; says 'not permitted'
            fails 1 ln -s ../../../../none .ctl/group/db/members/none; fails 1 ln -s a .ctl/group/db/members/x; says Invalid; fails 1 ln -sf b .ctl/group/web/members/d; says Invalid
            kill -9 $(daemon); cd /; sleep 0.3; mount_pool; cd "$M"
            same "$(ls .ctl/group/db/members | tr '\\n' ' ')" "a b d "; rm .ctl/group/db/members/*; same "$(ls .ctl/group | tr '\\n' ' ')" "all db web "
            fails 1 mkdir .ctl/group/db/snap/n; says Invalid; rmdir .ctl/group/db; fails 1 mkdir .ctl/group/db/snap/n; says 'No such'; fails 1 mkdir .ctl/group/a,b; says Invalid
            # Whose volumes: joining is the owner's, and a snapshot is of the owner of all members.
            chmod 755 "$T"; chown 1234 a b; as() { fails $1 setpriv --reuid=1234 --regid=1234 --clear-groups "${@:2}"; }
            as 1 mkdir .ctl/group/mine; says 'Permission denied'; mkdir .ctl/group/mine
            as 0 ln -s a .ctl/group/mine/members/a; as 0 ln -s b .ctl/group/mine/members/b; as 1 ln -s d .ctl/group/mine/members/d; says 'Permission denied'
            as 0 mkdir .ctl/group/mine/snap/s; as 1 mkdir .ctl/group/all/snap/s; says 'Permission denied'; ln -s d .ctl/group/mine/members/d
            as 1 mkdir .ctl/group/mine/snap/t; says 'Permission denied'; as 1 rm .ctl/group/mine/members/d; says 'Permission denied'; rm .ctl/group/mine/members/d
            as 0 mkdir .ctl/snap/a@x .ctl/snap/a,b@y; as 0 mv .ctl/snap/a@x .ctl/snap/a@z; as 1 mkdir .ctl/snap/a,d@q; says 'Permission denied'; as 0 rmdir .ctl/snap/a@z .ctl/snap/a@y .ctl/snap/b@y
            as 0 rmdir .ctl/group/mine/snap/s; as 0 rm .ctl/group/mine/members/a
            cd /; unmount_pool; clean
            """, tools: ["setpriv"])
    }

    /// A reader of events blocks until something happens, sees all of it, and never keeps anybody else from being served.
    @Test func eventsAreReadAsTheyHappen() throws {
        try scenario(
            """
            pool 512M; cd "$M"; ls .ctl | grep -q events && fail listed
            for n in 1 2 3 4 5 6 7 8; do cat .ctl/events > "$T/e$n" & readers+=($!); done; sleep 0.5
            truncate -s 1M a; mkdir .ctl/snap/a/s; mv .ctl/snap/a/s .ctl/snap/a/t; ln -s a@t .ctl/clone/c; mv c d; echo hi > .ctl/vol/d/prop/comment
            echo t > .ctl/vol/a/rollback; rm a 2>/dev/null || true; "$V" swap "$M" a d; rmdir .ctl/snap/d/t
            mkdir .ctl/job/check; while [ "$(cat .ctl/job/check/state)" = running ]; do sleep 0.05; done; truncate -s 2M a; rm a
            for n in $(seq 100); do grep -q '"volume-deleted"' "$T/e8" && break; sleep 0.1; done
            cat > "$T/check.py" <<'END'
            import json, re, sys
            seen = [json.loads(line) for line in open(sys.argv[1])]
            for e in seen: assert e["schema"] == "volfs.event/1" and re.fullmatch(r"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ", e["time"]), e
            have = [(e["kind"], e["object"]) for e in seen]
            for want in [("volume-created", "a"), ("volume-resized", "a"), ("snapshot-created", "a@s"), ("snapshot-renamed", "a@t"), ("volume-cloned", "c"),
                         ("volume-renamed", "d"), ("property-changed", "d"), ("volume-rolled-back", "a"), ("refused", "a"), ("volumes-swapped", "a"),
                         ("snapshot-deleted", "d@t"), ("job-started", "check"), ("job-finished", "check"), ("volume-deleted", "a")]:
                assert want in have, (want, have)
            assert have.index(("volume-created", "a")) < have.index(("snapshot-created", "a@s")) < have.index(("volume-deleted", "a")), have
            END
            for n in 1 8; do python3 "$T/check.py" "$T/e$n"; done
            # A signal ends a reader that waits, and who does not want to wait is told so.
            kill ${readers[0]}; wait ${readers[0]} || true; fails 124 timeout 1 cat .ctl/events
            python3 - <<'END'
            import os
            f = os.open(".ctl/events", os.O_RDONLY | os.O_NONBLOCK)
            try: raise SystemExit(os.read(f, 100))
            except BlockingIOError: pass
            END
            fails 1 bash -c 'echo x > .ctl/events'; says 'not permitted'
            # One that does not read is told how much it missed; the memory is not its.
            exec 6<.ctl/events; for n in $(seq 600); do touch .ctl/none 2>/dev/null || true; done
            timeout 2 cat <&6 > "$T/slow" || true; exec 6<&-; python3 - "$T/slow" <<'END'
            import json, sys
            seen = [json.loads(line) for line in open(sys.argv[1])]
            missed = [e["count"] for e in seen if e["kind"] == "missed"]
            assert len(missed) == 1 and missed[0] + len([e for e in seen if e["kind"] == "refused"]) == 600, (missed, len(seen))
            END
            fails 1 bash -c 'for n in $(seq 70); do exec {f}<.ctl/events || exit 1; done'; says 'Too many open files'
            # Detached, the mount ends although readers were waiting; as it does when told to.
            pid=$(daemon); cd /; fails 32 umount "$M"; umount -l "$M";
            ended $pid; wait ${readers[@]} || true; mount_pool; cat "$M/.ctl/events" > "$T/last" & sleep 0.5; pid=$(daemon); kill $pid; ended $pid; wait
            grep -q '"kind":"state".*"stopping"' "$T/last" || fail "$(cat "$T/last")"; clean
            """, seconds: 180)
    }

    /// A removed volume can be had back, after a remount without a trash too, until its time is over; it counts as used.
    @Test func trashGivesVolumesBack() throws {
        try scenario(
            """
            "$V" create "$P" --size 64M; mount_pool -o trash=100000s; cd "$M"; same "$(ls .ctl/trash)" ""
            head -c 20M /dev/urandom > root; sum=$(cksum < root); inode=$(stat -c %i root); truncate -s 1M vm
            mkdir .ctl/snap/root/s; fails 1 rm root; says 'not empty'; ln -s root@s .ctl/clone/c; rmdir .ctl/snap/root/s
            exec 5<root; fails 1 rm root; says busy; exec 5<&-
            rm root; same "$(ls)" "$(printf 'c\\nvm')"; same "$(ls .ctl/trash)" root; same "$(stat -c %i .ctl/trash/root)" "$inode"; [ ! -e .trash.1.root ] || fail "by its stored name"
            same "$(cut -f2 .ctl/list | tr '\\n' ' ')" "c vm "; same "$(json volumes)" 2; same "$("$V" list -H -o name "$P" | tr '\\n' ' ')" "c vm "; ls .ctl/clone .ctl/vol .ctl/snap .ctl/diff .ctl/group/all/members | grep root && fail "root is somewhere"
            fails 1 dd if=/dev/urandom of=big bs=1M count=60; says 'No space'; same "$(cat .ctl/state)" full
            grep -q 'errno=28: the pool is full: .*the trash holds [0-9]* bytes: rm .ctl/trash/' .ctl/errors || fail "$(cat .ctl/errors)"
            rm big; echo second > root; rm root; same "$(ls .ctl/trash | tr '\\n' ' ')" "big root root~2 "; rm .ctl/trash/big; freed; same "$(cat .ctl/state)" ready
            mv .ctl/trash/root old; same "$(cksum < old)" "$sum"; same "$(stat -c %i old)" "$inode"
            fails 1 mv -T -f '.ctl/trash/root~2' old; says 'File exists'; fails 1 mv '.ctl/trash/root~2' .; fails 1 mv old .ctl/trash/
            fails 1 bash -c 'echo x > ".ctl/trash/root~2"'; says 'not permitted'; same "$(cat '.ctl/trash/root~2')" second; fails 1 chmod 600 '.ctl/trash/root~2'; fails 1 touch .ctl/trash/x; fails 1 rmdir .ctl/trash
            kill -9 $(daemon); cd /; sleep 0.3; clean; "$V" dump "$P" > "$T/d"; "$V" restore "$P" "$T/d" --force; mount_pool; cd "$M"
            same "$(ls .ctl/trash)" 'root~2'; mv '.ctl/trash/root~2' root; same "$(cat root)" second; fails 2 ls .ctl/trash; same "$(ls | tr '\\n' ' ')" "c old root vm "
            rm old; same "$(ls | tr '\\n' ' ')" "c root vm "; cd /; unmount_pool
            mount_pool -o trash=1s; cd "$M"; rm root c vm; for _ in $(seq 100); do [ -z "$(ls .ctl/trash)" ] && break; sleep 0.1; done; same "$(ls .ctl/trash)" ""; freed; emptied 0
            cd /; unmount_pool; clean
            """)
    }

    /// Who has what open, by which process, and since when.
    @Test func usersOfAVolume() throws {
        try scenario(
            """
            pool 256M; cd "$M"; truncate -s 1M v; mkdir .ctl/snap/v/s; same "$(cat .ctl/vol/v/users)" ""
            sleep 60 <v & reader=$!; for _ in $(seq 100); do [ -n "$(cat .ctl/vol/v/users)" ] && break; sleep 0.1; done
            sleep 60 5<>v & writer=$!; for _ in $(seq 100); do grep -q mode=rw .ctl/vol/v/users && break; sleep 0.1; done
            grep -Eq "^pid=[0-9]+ comm=bash mode=ro kind=fuse since=20[0-9-]*T[0-9:]*Z$" .ctl/vol/v/users || fail "$(cat .ctl/vol/v/users)"
            same "$(grep -c mode=rw .ctl/vol/v/users)" 1; same "$(cat .ctl/vol/v/prop/open)" 2
            python3 -c 'import json; i = json.load(open(".ctl/vol/v/info.json")); assert i["open"] == 2 and i["properties"] == {} and i["snapshots"] == 1, i'
            echo on > .ctl/vol/v/prop/fixed; python3 -c 'import json; i = json.load(open(".ctl/vol/v/info.json")); assert i["properties"] == {"fixed": "on"}, i'
            fails 1 truncate -s 5 v; says busy; tail -1 .ctl/errors | grep -Eq 'errno=16: v is open: process [0-9]+ \\(bash\\) to read since .*, process [0-9]+ \\(bash\\) to write since .*; close, unmount or detach it' || fail "$(tail -1 .ctl/errors)"
            kill $reader $writer; wait || true
            # Read-only is a property of the volume too; what is open for writing cannot write any more.
            exec 5<>v; echo on > .ctl/vol/v/prop/readonly; fails 1 bash -c 'echo x >&5'; says 'Read-only'; exec 5<&-; fails 1 bash -c 'echo x > v'; says 'Read-only'; cat v > /dev/null
            fails 1 truncate -s 2M v; says 'Read-only'; fails 1 fallocate -p -o 0 -l 4096 v; says 'Read-only'; tail -1 .ctl/errors | grep -q 'the property readonly of v is on; first: echo off > .ctl/vol/v/prop/readonly' || fail "$(tail -1 .ctl/errors)"
            fails 1 bash -c 'echo s > .ctl/vol/v/rollback'; says 'Read-only'; echo off > .ctl/vol/v/prop/readonly; echo x | dd of=v conv=notrunc status=none
            cd /; unmount_pool; clean
            """)
    }

    /// Times move when something in a directory was made, renamed or removed, and at no other time; lists are in order.
    @Test func timesOfDirectories() throws {
        try scenario(
            """
            pool 256M; cd "$M"; truncate -s 1M v; truncate -s 1M w; mkdir .ctl/group/g; ln -s v .ctl/group/g/members/v
            dirs=". .ctl .ctl/snap .ctl/snap/v .ctl/vol .ctl/vol/v .ctl/clone .ctl/group .ctl/group/g .ctl/group/g/members .ctl/group/g/snap .ctl/group/all/snap .ctl/group/all/members .ctl/diff .ctl/diff/v .ctl/job .ctl/stats .ctl/metrics .ctl/README .ctl/size"
            times() { stat -c '%n %.9Y %.9Z %h' $dirs; }
            # Which of them moved since the last look.
            moved() { local now; now=$(times); same "$( (diff <(echo "$before") <(echo "$now") || true) | sed -n 's/^> \\([^ ]*\\) .*/\\1/p' | tr '\\n' ' ')" "$1" "${2:-moved}"; before=$now; }
            before=$(times); moved ""; cat .ctl/stats > /dev/null; ls -R .ctl > /dev/null; dd if=/dev/urandom of=w bs=4k count=1 conv=notrunc status=none; moved "" "nothing was made"
            mkdir .ctl/snap/v/b; moved ". .ctl/snap/v .ctl/group/g/snap .ctl/group/all/snap "
            mv .ctl/snap/v/b .ctl/snap/v/c; moved ". .ctl/snap/v .ctl/group/g/snap .ctl/group/all/snap "
            mkdir .ctl/snap/v/a; mkdir .ctl/snap/v@d; before=$(times); same "$(ls -U .ctl/snap/v | tr '\\n' ' ')" "a c d "
            kept=$(stat -c '%.9Y %.9Z' .ctl/snap/v .ctl/snap/v/*); cd /; unmount_pool; mount_pool; cd "$M"; same "$(stat -c '%.9Y %.9Z' .ctl/snap/v .ctl/snap/v/*)" "$kept" "after a remount"; before=$(times)
            created=$(stat -c %Z .ctl/snap/v/c); sleep 1.1; mv .ctl/snap/v/c .ctl/snap/v/e; echo x > .ctl/snap/v/e/prop/hold; echo > .ctl/snap/v/e/prop/hold; same "$(stat -c %Z .ctl/snap/v/e)" "$created" "ctime is when it was made"; before=$(times)
            rmdir .ctl/snap/v/e; moved ". .ctl/snap/v .ctl/group/g/snap .ctl/group/all/snap "
            ln -s v .ctl/clone/x; moved ". .ctl/snap .ctl/vol .ctl/clone .ctl/group/all/members .ctl/diff "
            mv x y; moved ". .ctl/snap .ctl/vol .ctl/clone .ctl/group/all/members .ctl/diff "; rm .ctl/clone/y; moved ".ctl/clone "
            rm y; moved ". .ctl/snap .ctl/vol .ctl/clone .ctl/group/all/members .ctl/diff "
            mkdir .ctl/group/h; moved ".ctl/group "; rmdir .ctl/group/h; moved ".ctl/group "; ln -s w .ctl/group/g/members/w; moved ".ctl/group .ctl/group/g/members "
            mkdir .ctl/job/check; moved ".ctl/job "
            # Of a file: mtime is the last change of its bytes, which touch sets; ctime of anything of it, its bytes too, which nothing sets.
            touch -d 2020-01-02T03:04:05Z w; same "$(stat -c %Y w)" 1577934245; old=$(stat -c %.9Z w); chmod 600 w; [ "$(stat -c %.9Z w)" != "$old" ] || fail "ctime stays"; same "$(stat -c %Y w)" 1577934245
            moves() { local old=$(stat -c %.9Z w); "$@"; [[ $(stat -c %.9Z w) > $old ]] || fail "ctime stays: $*"; }
            put() { dd if=/dev/urandom of=w bs=4k count=1 conv=notrunc status=none; }; kept=$(stat -c '%.9Y %.9Z' v@a)
            moves put; moves fallocate -p -o 0 -l 4096 w; moves touch -d 2020-01-02T03:04:05Z w; moves put; moves touch -d @4000000000 w; same "$(stat -c %Y w)" 4000000000
            [ "$(stat -c %Z w)" -lt 4000000000 ] || fail "ctime in the future"; moves put; [ "$(stat -c %Y w)" -lt 4000000000 ] || fail "mtime in the future"; moves cp --sparse=never v w
            put; old=$(stat -c %.9Z w); kill -9 $(daemon); cd /; sleep 0.3; mount_pool; cd "$M"; [[ ! $(stat -c %.9Z w) < $old ]] || fail "ctime of what a recovery brings back"
            old=$(stat -c %.9Z w); cd /; unmount_pool; mount_pool; cd "$M"; same "$(stat -c %.9Z w)" "$old" "ctime after a remount"; same "$(stat -c '%.9Y %.9Z' v@a)" "$kept" "times of a snapshot"
            same "$(stat -c %h w v@a)" "$(printf '1\\n1')"; same "$(stat -c %X w)" "$(stat -c %Y w)"; same "$(stat -c %Y v@a)" "$(stat -c %Z .ctl/snap/v/a)"
            cd /; unmount_pool; clean
            """)
    }

    /// Whatever changed, and through whichever door, the next look shows it; a snapshot comes from the page cache, and never one of
    /// the same name from before.
    @Test func nothingStaleIsSeen() throws {
        try scenario(
            """
            pool 512M; cd "$M"
            for n in 1 2 3 4 5 6 7 8; do
                head -c 300K /dev/urandom > v; mkdir .ctl/snap/v/s; cmp v v@s; cmp v .ctl/snap/v/s/data; cmp v v@s; sum=$(cksum < v); inode=$(stat -c %i v@s)
                [ "${last:-}" != "$inode" ] || fail "the same inode"; last=$inode; head -c 300K /dev/urandom > v; same "$(cksum < v@s)" "$sum"
                if [ $((n % 2)) = 0 ]; then rmdir .ctl/snap/v/s; else rmdir .ctl/snap/v@s; fi; [ ! -e v@s ] || fail "a stale name"; [ ! -e .ctl/snap/v/s ] || fail "a stale directory"
            done
            mkdir .ctl/snap/v/s; stat v v@s .ctl/vol/v/info .ctl/snap/v/s/info > /dev/null; "$V" rename "$P" v w; [ ! -e v ] && [ ! -e v@s ] && [ ! -e .ctl/vol/v ] && [ ! -e .ctl/snap/v ] && [ -e w@s ] || fail "after a rename"
            truncate -s 5 w; same "$(stat -c %s w)" 5; echo s > .ctl/vol/w/rollback; same "$(stat -c %s w)" 307200; "$V" resize "$P" w 1M; same "$(stat -c %s w)" 1048576
            exec 5<w@s; head -c 10 <&5 > /dev/null; chmod 640 w; same "$(stat -c %a w)" 640; chown 5:6 w; same "$(stat -c %u:%g w .ctl/vol/w/info)" "$(printf '5:6\\n5:6')"; exec 5<&-
            ln -s w@s .ctl/clone/c; readlink .ctl/clone/c > /dev/null; mv .ctl/snap/w/s .ctl/snap/w/t; same "$(readlink .ctl/clone/c)" ../../w@t; stat .ctl/vol/c/origin > /dev/null; rmdir .ctl/snap/w/t
            [ ! -L .ctl/clone/c ] && [ ! -L .ctl/vol/c/origin ] || fail "a stale link"; "$V" swap "$P" w c; same "$(stat -c %s c)" 1048576; "$V" destroy "$P" c -r -y; [ ! -e c ] || fail "a destroyed volume"
            # Twice from the page cache: the daemon is not asked again for what it gave.
            head -c 8M /dev/urandom > v; mkdir .ctl/snap/v/s; cat v@s > /dev/null; reads=$(json reads); cat v@s > /dev/null; same "$(json reads)" "$reads" "requests for what is cached"
            cd /; unmount_pool; clean
            """)
    }

    /// What is being freed is a job as long as it lasts; nobody can start or cancel it.
    @Test func freeingIsAJob() throws {
        try scenario(
            """
            pool 512M; cd "$M"; fails 1 mkdir .ctl/job/freeing; says 'not permitted'; fails 1 mkdir .ctl/job/nothing; says Invalid
            cat .ctl/events > "$T/events" & head -c 100M /dev/urandom > v; truncate -s 1G v; mkdir .ctl/snap/v/s; rmdir .ctl/snap/v/s; rm v
            for _ in $(seq 300); do grep -q 'job-finished.*freeing' "$T/events" && break; sleep 0.1; done
            same "$(grep -c '"kind":"job-started","object":"freeing"' "$T/events")" "$(grep -c '"kind":"job-finished","object":"freeing","state":"clean"' "$T/events")" "$(cat "$T/events")"
            freed; [ ! -e .ctl/job/freeing ] || fail "still there"; kill %1; wait || true; cd /; unmount_pool; clean
            """)
    }
}
