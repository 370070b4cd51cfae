internal import TestSupport
import Testing

extension IntegrationTests {
    /// What `rm -r` finds below `.ctl` it cannot remove: no snapshot of a group, no group, no origin, nothing in the trash. By itself each goes
    /// as ever. What goes to the trash is said to.
    @Test func removingTheControlDirectoryDestroysNothing() throws {
        try scenario(
            """
            pool 256M; cd "$M"; truncate -s 4M a b c; head -c 64K /dev/urandom > a; ln -s a .ctl/clone/vm; mkdir .ctl/group/db
            for v in a b; do ln -s ../../../../$v .ctl/group/db/members/$v; done
            mkdir .ctl/group/all/snap/s1 .ctl/group/db/snap/s2
            same "$(ls .ctl/group/db/snap/s2 | tr '\\n' ' ')" "a b "; same "$(ls .ctl/group/all/snap/s1 | tr '\\n' ' ')" "a b c vm "
            same "$(readlink .ctl/group/db/snap/s2/a)" ../../../../../a@s2; cmp a .ctl/group/db/snap/s2/a
            before=$("$V" list -H -o name,origin "$M"); groups=$(cat .ctl/vol/a/prop/group)
            for what in .ctl/group/all/snap .ctl/group/db .ctl/group .ctl; do
                rm -rf $what > "$T/out" 2>&1 && fail "rm -rf $what did it"; says 'Operation not permitted'
                same "$("$V" list -H -o name,origin "$M")" "$before" "after rm -rf $what"; same "$(cat .ctl/vol/a/prop/group)" "$groups" "groups after rm -rf $what"
            done
            for text in 'unlink .ctl/group/db/snap/s2/a errno=1: what a group.s snapshot shows .* rmdir .ctl/group/db/snap/s2$' 'if that is wanted: rm .ctl/clone/vm$' 'if that is wanted: rm .ctl/group/db/members/a$'; do grep -Eq "$text" .ctl/errors || fail "no line: $text"; done
            find .ctl/clone -delete > "$T/out" 2>&1 && fail "find did it"; python3 -c 'import shutil; shutil.rmtree(".ctl/clone")' 2> "$T/out" && fail "python did it"
            same "$("$V" list -H -o name,origin "$M")" "$before" "after find and python"
            # Each by itself goes as ever.
            rmdir .ctl/group/db/snap/s2; [ ! -e a@s2 ] && [ ! -e b@s2 ] && [ -e a@s1 ] || fail "rmdir of a group's snapshot"
            rm .ctl/clone/vm; [ ! -e .ctl/clone/vm ] || fail "the origin stays"; rm .ctl/group/db/members/*; same "$(cat .ctl/vol/a/prop/group)" ""; rmdir .ctl/group/db
            rmdir .ctl/group/all/snap/s1; [ ! -e a@s1 ] || fail "not removed"
            cd /; unmount_pool; mount_pool -o trash=1d; cd "$M"; rm c; rm -rf .ctl > "$T/out" 2>&1 && fail "rm -rf did it"; same "$(ls .ctl/trash)" c
            grep -Eq 'unlink .ctl/trash/c errno=1: nothing is deleted for good' .ctl/errors || fail "$(tail -3 .ctl/errors)"
            # What commands say of it.
            "$V" destroy -n "$M" b > "$T/out"; says 'would move b to the trash \\(0 B referenced, which is free 1 day later\\)'; "$V" destroy --json -n "$M" b | python3 -c 'import json, sys; o = json.load(sys.stdin); assert o["trashed"] == ["b"] and o["frees"] == 0, o'
            "$V" destroy -y -v "$M" b > "$T/out"; says 'will move b to the trash'; "$V" info "$M" > "$T/out"; says '^trash +b \\(0 B\\), c \\(0 B\\)$'; "$V" status "$M" > "$T/out"; says '^trash +b \\(0 B\\), c'
            same "$("$V" list -H -o name,type -t trash "$M" | tr '\\t\\n' '  ')" "b trash c trash "; same "$("$V" list -H -o name "$M" | tr '\\n' ' ')" "a vm "
            rm .ctl/trash/*; "$V" info "$M" > "$T/out"; says '^trash +empty'; rm a; cd /; unmount_pool; "$V" info "$P" > "$T/out"; says '^trash +a \\(64.0 KiB\\)'; clean
            """, tools: ["find", "python3"])
    }

    /// Sizes that a pool or a volume cannot have are refused with what it has; what changes nothing says so.
    @Test func sizesThatCannotBe() throws {
        try scenario(
            """
            pool 256M; "$V" new "$P" a 1M; "$V" snapshot "$P" a@s; "$V" new "$P" half 1.5M; same "$("$V" get "$P" half size)" 1572864
            fails 2 "$V" resize "$M" a -5M --shrink; says 'a: has 1.0 MiB only'; same "$("$V" get "$M" a size)" 1048576; "$V" resize "$M" a 0 --shrink; "$V" resize "$M" a 1M
            fails 9 "$V" resize "$M" a@s 1G; says "a@s: is a snapshot, which never changes; .*volfs clone $M a@s NEW"
            fails 2 "$V" shrink "$M" -1G; says '-1G: the pool has 256.0 MiB only'; "$V" shrink "$M" -100M -n > "$T/out"; says 'from 256.0 MiB to 156.0 MiB'
            for form in "$M" "$P"; do
                fails 2 "$V" shrink "$form" 1M; says 'for itself; this one has [0-9]+ bytes'; cp "$T/out" "$T/least"; fails 2 "$V" shrink "$form" 1M -n; same "$(cat "$T/out")" "$(cat "$T/least")"
                fails 2 "$V" grow "$form" +1M; says 'grows by two segments'; fails 2 "$V" grow "$form" 1.3G; says 'no whole number of bytes'
            done
            fails 1 "$V" grow "$M" +8000P; says 'takes no file of that size'
            head -c 100M /dev/urandom > "$M/big"; fails 7 "$V" shrink "$M" 64M; says 'are in use, which have no place in 64.0 MiB'; least=$(python3 -c 'import os,sys; print(os.getxattr(sys.argv[1], "user.volfs.smallest").decode())' "$M"); says "choose a larger size, as $((least >> 20)).0 MiB$"; fails 7 "$V" shrink -n "$M" $((least - (4 << 20))); says 'a larger size, as'; "$V" shrink -n "$M" $least; fails 7 "$V" shrink -n "$M" 64M; says 'are in use, which have no place in 64.0 MiB'
            truncate -s 300M "$P"; "$V" grow "$M" +20M 2> "$T/out"; says 'has 300.0 MiB now, not 276.0 MiB'
            for form in "$M" "$P"; do
                "$V" swap "$form" a a 2> "$T/out"; says 'a: is both of them; nothing was done'; "$V" rename "$form" a a 2> "$T/out"; says 'nothing was done'; fails 4 "$V" rename "$form" none none; says "volfs list $form"
                fails 7 "$V" shrink "$form" 64M; says 'no place'; fails 2 "$V" set "$form" a volsize=2M; says "volfs resize $form a SIZE"; fails 2 "$V" set "$form" a quota=none; says 'leave it empty'
                fails 2 "$V" set "$form" a what=1; says 'there is comment'; grep -q hold "$T/out" && fail "a volume has no hold"
                "$V" set "$form" a comment="$(printf 'one\\ntwo')"; "$V" get "$form" a > "$T/out"; says '^comment +one.ntwo$'; "$V" get --json "$form" a | python3 -c 'import json, sys; p = json.load(sys.stdin)["properties"]; assert p["size"] == 1 << 20 and p["comment"] == "one\\ntwo", p'
                "$V" set "$form" a comment=; [ "$form" = "$P" ] || unmount_pool
            done
            fails 2 "$V" grow "$P" +1M; says 'a pool grows by two segments'; fails 2 "$V" shrink "$P" 1M; says 'this one has [0-9]+ bytes'; clean
            # A device has what it has, mounted and not.
            P=$(truncate -s 64M disk; attach disk); "$V" create "$P"; fails 7 "$V" grow "$P" 128M; says 'has 67108864 bytes \\(64.0 MiB\\) and no more; make that larger first'
            mount_pool; fails 7 "$V" grow "$M" 128M; says 'has 67108864 bytes \\(64.0 MiB\\) and no more; make that larger first'; fails 1 eval 'echo 134217728 > "$M/.ctl/size"'; says 'No space left'
            truncate -s 128M disk; losetup -c "$P"; "$V" grow "$M" 128M; same "$(cat "$M/.ctl/size")" 134217728; unmount_pool; clean; losetup -d "$P"
            """, tools: ["python3"])
    }

    /// A message names the one thing that is wrong, and what it advises works as it is printed.
    @Test func messagesNameWhatIsWrong() throws {
        try scenario(
            """
            pool 256M; for v in a b; do "$V" new "$M" $v 1M; done; "$V" snapshot "$M" a@n1; mkdir "$M/.ctl/group/x"; ln -s ../../../../a "$M/.ctl/group/x/members/a"
            for word in jobs trim df metrics send promote nothing; do fails 2 "$V" $word "$M"; says "$word: no such command"; done; fails 2 "$V" mv "$M" a b; says 'volfs rename'; fails 2 "$V" send "$M" a@n1; says 'volfs export'; fails 2 "$V" cancel "$M" scrub; says 'scrub POOL --stop'
            fails 32 "$V" nothing.pool "$T"; says 'no such file'; fails 2 "$V" list --jsno "$P"; says 'did you mean --json'; fails 8 "$V" check "$T"
            fails 4 "$V" snapshot "$M" a@x b@x nosuch@x; says '^volfs: nosuch@x: no such volume'; fails 2 "$V" snapshot "$M" @x; says '@x: the volume is missing'
            fails 5 "$V" snapshot "$M" -g x n1; says '^volfs: x@n1: '; fails 4 "$V" snapshot "$M" -g nosuch n2; says 'nosuch: no such group'
            fails 2 "$V" clone "$M" a@n1 vm2 vm3 x@y; says "^volfs: x@y: '@' is for snapshots"; [ ! -e "$M/vm2" ] || fail 'a clone is there'
            truncate -s 1536M "$M/b"; fails 2 "$V" resize "$M" b -500M; says 'from 1.5 GiB to 1.0 GiB .1086324736 bytes. and lose'; "$V" resize "$M" b 1M --shrink
            fails 4 "$V" clone "$M" a@none x1 x2 x3; same "$(wc -l < "$T/out")" 1 "lines"
            for command in 'get 0a@' 'destroy -y none' 'swap none a' 'resize none 1G' 'rollback none@x'; do fails 4 "$V" ${command%% *} "$M" ${command#* }; says "volfs (list|new) $M"; done
            "$V" hold "$M" a@n1 --reason why; fails 6 "$V" destroy -y "$M" a@n1; says '^volfs: a@n1: is held \\(why\\); release it first: volfs release .* a@n1$'; "$V" release "$M" a@n1
            "$V" set "$M" a readonly=on; fails 9 "$V" resize "$M" a 2M; says "first: volfs set $M a readonly=off"; "$V" set "$M" a readonly=; "$V" set "$M" a snapshot_limit=1; fails 1 "$V" snapshot "$M" a@n2; says "volfs set $M a snapshot_limit=N"
            fails 1 "$V" list "$M/.ctl"; says "is in the mount of a pool, .*: $M"
            loop=$(attach "$M/b"); fails 6 "$V" destroy -y "$M" b; says "$loop"; grep -q losetup "$T/out" && fail "a process that is gone"; "$V" status "$M" > "$T/out"; says "b by $loop"; losetup -d $loop
            ln "$P" "$T/hard.pool"; "$V" list -H -o name "$T/hard.pool" > "$T/out"; says '^a@n1'; fails 32 "$V" "$T/hard.pool" "$T"; says "mounted at $M"
            "$V" top -n 2 -d 0.1 "$M" > /dev/null; fails 2 "$V" top -d 0 "$M"; grep '^# HELP volfs_pool_state' "$M/.ctl/metrics" > /dev/null; grep starting "$M/.ctl/metrics" && fail "starting"
            "$V" check "$M" > "$T/check"; "$V" check "$M" > "$T/out"; says 'clean: [1-9][0-9]* nodes'; "$V" scrub "$M" --start; "$V" wait "$M" scrub; "$V" scrub "$M" --status > "$T/out"; says '^scrub: clean$'
            ln -s "$V" "$T/mount.volfs"; "$T/mount.volfs" --help > "$T/out"; says '^Usage: volfs mount'
            kill -9 $(daemon); for command in 'snapshot a@z' 'status' 'list'; do fails 10 "$V" ${command%% *} "$M" $([ "$command" = "${command#* }" ] || echo ${command#* }); says "its daemon is gone; clear the dead mount with: volfs umount $M"; done; "$V" umount "$M"
            mount_pool -o ctl=off; fails 10 "$V" snapshot "$P" a@1; says 'mounted without .ctl'; fails 8 "$V" scrub "$P"; says "mounted without .ctl"; unmount_pool
            mount_pool -o ro; "$V" check "$M" > "$T/out"; says '^clean'; unmount_pool
            head -c 4M /dev/urandom > junk; for command in check scrub; do fails 8 "$V" $command junk; says 'not a volfs pool'; done
            "$V" dump "$P" > dump; fails 4 "$V" restore "$P" none; says 'none: cannot be read: No such file'; fails 2 "$V" restore "$P" dump; says 'add --force'; fails 2 "$V" restore junk dump; says 'no pool begins there'; fails 4 "$V" restore none.pool dump; says 'no such file'
            : > small; fails 1 "$V" restore small dump; says "^volfs: $T/small: has 0 bytes, and dump is the dump of a pool of $(stat -c %s "$P"); make it as large: truncate -s $(stat -c %s "$P") $T/small"; $(sed 's/.*as large: //' "$T/out"); "$V" restore small dump
            dd if=/dev/zero of="$P" bs=1M count=2 conv=notrunc status=none; fails 2 "$V" restore "$P" dump; says 'is not the data of the pool that dump tells of'; "$V" restore "$P" dump --force; clean
            """, tools: ["pgrep"])
    }

    /// A block device is a pool of its own size, which needs no force while it is empty; a mount that waits ends with who asked for it.
    @Test func devicesAndWaitingMounts() throws {
        try scenario(
            """
            truncate -s 512M disk; loop=$(attach disk); "$V" create -n $loop > "$T/out"; says 'make a pool of 512.0 MiB'; same "$(wc -l < "$T/out")" 1 "actions"
            fails 2 "$V" create $loop -s 100M; says 'whole of the device'; "$V" create $loop; "$V" new $loop v 1M; "$V" create -n $loop > "$T/out"; says 'destroy v'; says "replace the pool in $loop"
            fails 5 "$V" create $loop; says 'holds something already'; "$V" create --force $loop; same "$("$V" list -H $loop)" ""; losetup -d $loop
            pool 256M; unmount_pool; chmod 600 "$P"; chmod 755 "$T"; fails 32 "$V" "$P" "$M" -o setuid=nobody; says 'nobody, as whom setuid has the daemon run, may not open it; .*chown nobody'
            # A mount that waits for the pool ends with the command that asked for it.
            exec 5<>"$P"; flock -x 5; "$V" "$P" "$M" -o lock_wait=60 & waiting=$!
            for n in $(seq 100); do daemon=$(pgrep -P $waiting || true); [ -z "$daemon" ] || break; sleep 0.05; done; [ -n "$daemon" ] || fail "no daemon"
            kill -TERM $waiting; wait $waiting 2> /dev/null || true; ended $daemon; flock -u 5; exec 5>&-; mountpoint -q "$M" && fail "mounted"; clean
            """, tools: ["pgrep", "flock"])
    }

    /// Damaged data is named in ranges, with all that have it, as the cause of the pool's state, and where a copy shares it.
    @Test func damagedDataIsSaid() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; head -c 1M /dev/zero | tr '\\0' 'Q' > img; "$V" import "$P" img a; "$V" clone "$P" a b
            python3 - "$P" <<'EOF'
            import sys
            f = open(sys.argv[1], "r+b"); d = f.read(); at = d.find(b"Q" * 65536)
            assert at > 0
            f.seek(at); f.write(b"X" * 8192)
            EOF
            fails 8 "$V" export "$P" a image; says "volfs scrub $P"; fails 4 "$V" check --data "$P"; same "$(grep -c 8192 "$T/out")" 2 "ranges: $(cat "$T/out")"; says 'error: a: 8192 bytes at 0 do not match'; says 'error: b: 8192 bytes at 0'
            mount_pool; cat "$M/a" > /dev/null 2>&1 && fail "read"; fails 8 "$V" status "$M"; says 'degraded: damaged data was met; .*volfs scrub'; "$V" copy "$M" a a2 2> "$T/out"; says 'a2: shares blocks with a, and the pool has damaged data'; unmount_pool
            "$V" create two.pool --size 16M; head -c 64M /dev/urandom > big; "$V" import "$P" big w; fails 7 "$V" copy "$P" w w --to two.pool; says "volfs grow $T/two.pool"
            """, tools: ["python3"])
    }
}
