internal import TestSupport
import Testing

extension IntegrationTests {
    /// What a newcomer types wrong gets one line that names the thing and the remedy, and the right exit status.
    @Test func commandMistakes() throws {
        try scenario(
            """
            fails 32 "$V" "$T" "$M"; says "$T: is a directory; .*name a file"
            fails 32 "$V" "$T/none.pool" "$M"; says "no such file; .*volfs create"
            fails 4 "$V" list "$T/none.pool"; says "no such file"
            head -c 1M /dev/urandom > junk; fails 32 "$V" junk "$M"; says "junk: not a volfs pool"
            fails 8 "$V" list junk; says "not a volfs pool"
            qemu-img create -q -f qcow2 q.qcow2 10M; fails 8 "$V" list q.qcow2; says "qcow2 image"
            pool 256M
            fails 6 "$V" create "$P" --size 1G; says "is mounted at"
            fails 8 "$V" repair "$P"; says "is mounted at .* by process [0-9]+"
            mkdir "$T/other"; fails 32 "$V" "$P" "$T/other"; says "is mounted at $M by process $(daemon)"
            fails 32 "$V" "$P" "$T/missing"; says "mounted|mkdir"
            fails 2 "$V" "$P" "$M" -o snapshot=visible; says "snapshot=visible: no such mount option"
            fails 2 "$V" frobnicate; says "no such command"
            fails 2 "$V" list --colour "$P"; says "--colour: no such option"
            fails 2 "$V" new "$P" disk 10s; says "10s: not a size"
            for name in 'a,b' 'a b' .hidden; do fails 1 touch "$M/$name"; says "Invalid argument"; done
            fails 2 "$V" new "$P" 'a,b' 1M; says "letters, digits"
            "$V" new "$P" disk 1M; "$V" snapshot "$P" disk@s
            fails 5 "$V" new "$P" disk 1M; says "taken|exists"
            fails 4 "$V" info "$P" disk@none; says "disk@none: no such volume or snapshot"
            fails 4 "$V" clone "$P" disk@none vm; says "no volume or snapshot"
            fails 6 "$V" destroy "$P" disk -y; says "has 1 snapshot;"
            fails 2 "$V" resize "$P" disk 512K; says "--shrink"
            unmount_pool
            fails 5 "$V" create "$P" --size 1G; says "exists already; .*--force"
            fails 4 "$V" destroy "$P" nothing -y; says "nothing: no such"
            fails 6 "$V" destroy "$P" disk -y; says "has 1 snapshot;"
            cp --sparse=always "$P" short.pool; truncate -s 100M short.pool
            fails 32 "$V" short.pool "$M"; says "truncated: the file has 104857600 bytes, the pool needs"
            cp --sparse=always "$P" future.pool
            python3 - <<'END'
            # Every superblock claims format 2, with right checksums.
            def crc32c(data):
                crc = 0xffffffff
                for byte in data:
                    crc ^= byte
                    for _ in range(8): crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
                return crc ^ 0xffffffff
            f = open("future.pool", "r+b")
            for at in range(0, 2 << 20, 65536):
                f.seek(at); block = bytearray(f.read(4096))
                if block[:4] != b"VFSB": continue
                block[8] = 99; block[4:8] = bytes(4); block[4:8] = crc32c(block).to_bytes(4, "little")
                f.seek(at); f.write(block)
            END
            fails 8 "$V" list future.pool; says "pool of format 99"
            fails 32 "$V" future.pool "$M"; says "newer volfs"
            """, tools: ["qemu-img"])
    }

    /// Words that are mistyped, left out, too many or in the wrong order.
    @Test func mistypedCommandLines() throws {
        try scenario(
            """
            pool 256M; head -c 64K /dev/urandom > img; "$V" new "$P" v 1M
            for word in lst statu; do fails 2 "$V" $word "$P"; says "$word: no such command, .*did you mean (list|status)"; fails 2 "$V" $word "$M"; says "no such command"; done
            for command in "list" "create" "check" "serve"; do "$V" $command s3://b/p 2> "$T/out" && fail "$command"; says "s3://b/p: this volfs has no back end for s3://; a pool is a file, a block device or an export"; done
            fails 2 "$V" s3://b/p "$T"; says "no back end for s3://"; fails 2 "$V" none.pool "$T" -o cache=999T; says "cache=999T: is more than the .* of memory that this machine has"
            fails 2 "$V" umount none.pool --wait x; says "needs seconds"; fails 2 "$V" export "$P" v "$T/q" --format qcow2; says "only raw images"; "$V" export "$P" v "$T/r" --format raw; rm "$T/r"
            fails 2 "$V" nothing; says "no such command, and no such file; see: volfs help"; fails 2 "$V" nothing "$T"; says "no such command, and no such file"; fails 32 "$V" nothing.pool "$T"; says "no such file"
            fails 2 "$V" "$P" list; says "list: the command comes first: volfs list $P"; fails 2 "$V" help lst; says "mean list"
            fails 2 "$V" create new.pool 1G; says "write it as: volfs create new.pool --size 1G"; [ ! -e new.pool ] || fail "made"
            fails 2 "$V" create new.pool --size 1M; says "8M or more"
            fails 2 "$V" create "$M/inner" --size 64M; says "inner: would be a pool inside a volume; .*volfs new $M inner SIZE"; same "$(ls "$M")" v
            fails 8 "$V" list "$M/v"; says "in the mount of a pool, and no pool itself; .*: $M"
            fails 2 "$V" "$P" "$M" extra; says "extra: is one word too many"; fails 32 "$V" "$T" "$P"; says "mount on a directory|the pool comes first"
            fails 2 "$V" new "$P" 1G w; says "w: not a size; the name comes before it: w 1G"; fails 2 "$V" new v 1G; says "POOL is missing"
            fails 2 "$V" snapshot v@s "$P"; says "the pool comes first"; fails 2 "$V" snapshot "$P" v; says "as v@NAME"
            fails 2 "$V" grow +1G "$P"; says "the pool comes first"; fails 2 "$V" set "$P" quota=1G v; says "the name comes before it"
            "$V" snapshot "$P" v@s; fails 2 "$V" rename "$P" v@s t; says "write the new name as v@t"; fails 2 "$V" rollback "$P" v; says "as v@NAME"
            cd "$T"; fails 4 "$V" import "$P" w img; says "the file comes before the name"; fails 4 "$V" export "$P" v "$T/no/img"; says "$T/no: no such directory"
            for form in "$M" "$P"; do
                "$V" set "$form" v quota=5g; same "$("$V" get "$form" v quota)" 5368709120; fails 2 "$V" set "$form" v quota=much; says "not a size"; "$V" set "$form" v quota=
            done
            unmount_pool; mount_pool -o ro
            fails 9 "$V" new "$P" w 1M; says "mounted read-only at $M; unmount it"; fails 8 "$V" scrub "$P"; says "mounted read-only at $M"
            fails 32 "$V" "$M" "$T/img"; says "the pool comes first: volfs $T/img $M"
            unmount_pool; "$V" set "$P" v quota=1M; fails 2 "$V" set "$P" v quota=x; clean
            """)
    }

    /// A volume that is made with its room reserved, or not at all.
    @Test func reservedFromTheStart() throws {
        try scenario(
            """
            pool 256M
            for form in "$M" "$P"; do
                "$V" new "$form" kept 64M --reserve; same "$("$V" get "$form" kept reservation)" 67108864
                fails 7 "$V" new "$form" huge 1T --reserve; says "huge: "; fails 4 "$V" info "$form" huge; "$V" new "$form" thin 1T
                same "$("$V" get "$form" thin reserved)" 0; "$V" destroy -y "$form" thin kept; [ "$form" = "$P" ] || unmount_pool
            done
            clean
            """)
    }

    /// Without /dev/fuse, and with a pool of somebody else's, the message says what to do.
    @Test func missingDeviceAndPermission() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            fails 32 unshare --mount sh -c 'mount -t tmpfs none /dev && exec "$0" "$1" "$2"' "$V" "$P" "$M"; says "/dev/fuse: is not there; .*modprobe fuse"
            chmod 755 "$T"; cp "$V" "$T/volfs"
            fails 9 setpriv --reuid=65534 --regid=65534 --clear-groups "$T/volfs" list "$P"; says "permission denied; run as"
            mount_pool; for command in check scrub; do fails 8 setpriv --reuid=65534 --regid=65534 --clear-groups "$T/volfs" $command "$M"; says "$command: permission denied; run as"; done; unmount_pool
            """, tools: ["unshare", "setpriv"])
    }

    /// An ordinary user makes, mounts, snapshots, clones, rolls back, removes and unmounts in a pool of their own, with plain tools, and
    /// the daemon is theirs; unmounted by command and by fusermount3, it ends, and all is there again.
    @Test func ordinaryUser() throws {
        try scenario(
            """
            chmod 755 "$T"; cp "$V" "$T/volfs"; mkdir "$T/home" "$T/home/mnt"; chown -R 65534:65534 "$T/home"
            cat > "$T/user" <<'END'
            set -eu
            cd "$1"; V=../volfs
            "$V" create data.pool --size 256M
            if "$V" data.pool mnt -o allow_other 2> said; then exit 1; fi
            grep -q 'fusermount3: ' said; grep -q 'mnt: cannot be mounted: fusermount3 refused' said; ! grep '/dev/fuse' said || exit 1
            "$V" data.pool mnt; cd mnt
            truncate -s 10M root; echo old | dd of=root conv=notrunc status=none; mkdir .ctl/snap/root/v1
            echo new | dd of=root conv=notrunc status=none; ln -s root@v1 .ctl/clone/vm1
            [ "$(head -c 3 root@v1)$(head -c 3 vm1)$(head -c 3 root)" = oldoldnew ]
            echo v1 > .ctl/vol/root/rollback; [ "$(head -c 3 root)" = old ]; mv .ctl/snap/root/v1 .ctl/snap/root/first; echo why > .ctl/snap/root/first/prop/hold; ! rmdir .ctl/snap/root/first || exit 1
            echo > .ctl/snap/root/first/prop/hold; rmdir .ctl/snap/root/pre-rollback-*; mkdir .ctl/group/g; ln -s root .ctl/group/g/members/root; mkdir .ctl/group/g/snap/all; rmdir .ctl/snap/root/all
            [ "$(stat -c %u . root root@first vm1 .ctl/snap/root | sort -u)" = 65534 ]; [ "$(stat -c %a root@first)" = 444 ]
            daemon=$(grep -oP '"pid":\\K[0-9]+' .ctl/stats.json); [ "$(stat -c %u /proc/$daemon)" = 65534 ]; cd ..; "$V" list -H -o name mnt; "$V" umount mnt; [ ! -e mnt/root ]; [ ! -e /proc/$daemon ] || grep -q '^State:.[XZ]' /proc/$daemon/status
            # Nobody may look into what processes of others have there, so a reader of events may not be all that keeps the mount.
            "$V" data.pool mnt; "$V" events mnt > /dev/null & reader=$!; until ls -l /proc/$reader/fd 2> /dev/null | grep -q ctl/events; do sleep 0.05; done
            got=0; "$V" umount mnt 2> said || got=$?; [ $got = 6 ]; grep -q "is in use: .*ctl/events open; close it" said
            [ -e mnt/vm1 ]; kill $reader; wait $reader || true; "$V" umount mnt
            ../volfs data.pool mnt; [ "$(head -c 3 mnt/vm1)" = old ]; rm mnt/vm1; [ ! -e mnt/.ctl/clone/vm1 ]; rmdir mnt/.ctl/snap/root/first; rm mnt/root; [ -z "$(ls mnt)" ]; touch mnt/last; fusermount3 -u mnt; [ ! -e mnt/last ]
            # The kernel has unmounted before the daemon has stored everything.
            for _ in $(seq 200); do "$V" list -H -o name data.pool 2> said && exit 0; sleep 0.05; done; cat said; exit 1
            END
            # A device node that everybody may open, as udev makes it, in a namespace of its own.
            mknod "$T/fuse" c 10 229; chmod 666 "$T/fuse"
            unshare --mount sh -c 'mount --bind "$1/fuse" /dev/fuse && exec setpriv --reuid=65534 --regid=65534 --clear-groups bash "$1/user" "$1/home"' sh "$T" > "$T/out"
            same "$(tr '\\n' ' ' < "$T/out")" "root root@first vm1 last "
            P=$T/home/data.pool; clean
            """, tools: ["setpriv", "unshare", "fusermount3"])
    }

    /// Each refusal of the mount has its errno, and its reason in .ctl/errors.
    @Test func refusalsOfTheMount() throws {
        try scenario(
            """
            pool 512M; cd "$M"
            truncate -s 8M root; mkdir .ctl/snap/root/v1; truncate -s 8M other; ln -s root@v1 .ctl/clone/vm1
            refuses() { local text=$1; shift; fails 1 "$@"; says "$text"; [ "$(tail -1 .ctl/errors)" != "${last:-}" ] || fail "no reason: $*"; last=$(tail -1 .ctl/errors); }
            refuses "Read-only file system" dd if=/dev/zero of=root@v1 count=1 status=none
            refuses "Read-only file system" truncate -s 4M root@v1
            refuses "Read-only file system" chmod u+w root@v1
            refuses "Read-only file system" touch root@v1
            refuses "Operation not permitted" rm -f root@v1
            refuses "Directory not empty" rm root
            refuses "Operation not permitted" mkdir directory
            refuses "Operation not permitted" ln -s root link
            refuses "Operation not permitted" touch new@snap
            refuses "File name too long" touch $(printf 'a%.0s' $(seq 200))
            # The kernel, which has just looked the name up, answers this one itself.
            fails 1 mkdir .ctl/snap/root/v1; says "File exists"
            refuses "File exists" mv -f -T vm1 other
            refuses "subdirectory of itself|Invalid argument" mv -f .ctl/snap/root/v1 .ctl/snap/other/v1
            # mv has its own words for EINVAL.
            refuses "subdirectory of itself|Invalid argument" mv -f vm1 vm1@x
            refuses "Operation not permitted" rmdir .ctl/snap/root
            refuses "Operation not permitted" mkdir .ctl/thing
            refuses "Operation not permitted" touch .ctl/snap/root/v1/file
            refuses "Operation not permitted" rm -f .ctl/snap/root/v1/data
            refuses "No such file" ln -s missing@v1 .ctl/clone/x
            refuses "Invalid argument" ln -s /etc/passwd .ctl/clone/x
            refuses "Invalid argument" ln -sf root@v1 .ctl/clone/vm1; [ "$(ls | wc -l)" = 4 ] || fail "ln -sf left something"
            fails 2 ls .ctl/snap/nothing; says "No such file"
            exec 7<>other; (sleep 0.5; exec 7>&-) &
            fails 1 rm other; says "Device or resource busy"; grep -q 'unlink other errno=16' .ctl/errors || fail "no reason"
            cat .ctl/vol/other/users | grep -q pid= || fail "no users"
            exec 7>&-; rm other
            # Close and remove right behind it: the release may still be on its way.
            for _ in $(seq 20); do truncate -s 1M quick; loop=$(attach quick); losetup -d $loop; rm quick; done
            ls -a | grep -q '^.ctl$' && fail ".ctl is listed"
            [ -d .ctl ] || fail ".ctl cannot be reached"
            """)
    }

    /// Plain file tools do what they do elsewhere, and what cannot be seen twice is not.
    @Test func plainFileTools() throws {
        try scenario(
            """
            pool 1G; cd "$M"
            head -c 5000001 /dev/urandom > "$T/f"; cp "$T/f" copied; cmp "$T/f" copied; same "$(stat -c %s copied)" 5000001
            dd if="$T/f" of=dd bs=4097 status=none; cmp "$T/f" dd
            echo tail >> copied; same "$(tail -c 5 copied)" tail
            chmod 600 copied; chown 1234:4321 copied; touch -d 2020-01-02T03:04:05Z copied
            inode=$(stat -c %i copied)
            truncate -s 10M sparse; echo x | dd of=sparse bs=1M seek=5 conv=notrunc status=none
            same "$(stat -c %b sparse)" 8 "one block is allocated"
            cp --sparse=always sparse sparse2; same "$(stat -c %b sparse2)" 8
            dd if=/dev/zero of=zeros bs=1M count=8 status=none; same "$(stat -c %b zeros)" 0 "zeros take no space"
            same "$(stat -f -c %S .)" 4096 "f_bsize is the unit of allocation"; same "$(stat -f -c %l .)" 255 "f_namemax"; same "$(stat -c %o copied)" 131072 "st_blksize"
            truncate -s 3M sparse; truncate -s 10M sparse; cmp -n 10485760 sparse /dev/zero
            mkdir .ctl/snap/copied/s1; [ -e copied@s1 ] || fail "no file"; cmp copied copied@s1
            mv .ctl/snap/copied/s1 .ctl/snap/copied/s2; [ ! -e copied@s1 ] || fail "stale name"; cmp copied copied@s2
            same "$(stat -c %i copied@s2)" "$(stat -c %i .ctl/snap/copied/s2/data)"
            time=$(stat -c %Y .ctl/snap/copied); sleep 1.1; mkdir .ctl/snap/copied@s3; [ $(stat -c %Y .ctl/snap/copied) -gt $time ] || fail "mtime stays"
            same "$(ls .ctl/snap/copied | tr '\\n' ' ')" "s2 s3 "
            mv copied renamed; cmp renamed renamed@s2
            rmdir .ctl/snap/renamed/s2 .ctl/snap/renamed/s3; [ ! -e renamed@s2 ] || fail "stale name"
            python3 -c 'import json; json.load(open(".ctl/stats.json")); json.load(open(".ctl/vol/renamed/info.json"))'
            cd /; unmount_pool; mount_pool; cd "$M"
            same "$(stat -c '%a %u %g %i' renamed)" "600 1234 4321 $inode" "mode, owner and inode after a remount"
            same "$(ls)" "$(printf 'dd\\nrenamed\\nsparse\\nsparse2\\nzeros')"
            rm *; freed; emptied 0
            """)
    }

    /// Every command prints the same of a mounted and of an unmounted pool, and JSON parses.
    @Test func commandsOnMountedAndUnmountedPool() throws {
        try scenario(
            """
            "$V" create "$P" --size 1G --json | python3 -m json.tool > /dev/null
            both() { "$V" "$@" > "$T/unmounted"; mount_pool; "$V" "$@" > "$T/mounted"; unmount_pool; diff "$T/unmounted" "$T/mounted" || fail "$*"; }
            "$V" new "$P" a 10M; "$V" snapshot "$P" a@s1; "$V" snapshot "$P" a@s2; "$V" clone "$P" a@s1 b c; "$V" clone "$P" a d; "$V" rename "$P" d e
            "$V" resize "$P" a +5M; "$V" rename "$P" a@s2 a@s3
            mount_pool
            "$V" new "$P" f 10M; "$V" snapshot "$M" f@x; VOLFS_POOL=$P "$V" clone f@x g; "$V" rename "$P" f@x f@y; "$V" resize "$P" g 5M --shrink
            "$V" destroy "$P" f@y -y; "$V" destroy "$P" b -n | grep -q 'would destroy b'; "$V" destroy "$P" b -y
            unmount_pool
            both list "$P"; both list -H -p -o name,type,size,referenced,used,unique,written,created,origin,snapshots,id,guid "$P"; both list --json "$P"
            both info "$P" a a@s1; both info --json "$P" g; both list -t snapshot "$P"; both list -t clone -H -o name,origin "$P"
            same "$("$V" list -H -o name "$P" | tr '\\n' ' ')" "a a@s1 a@s3 c e f g "
            same "$("$V" list -H -p -o name,size,origin "$P" a c e g | tr '\\t\\n' ', ')" "a,15728640,- c,10485760,a@s1 e,10485760,a g,5242880,- "
            "$V" destroy -r -y "$P" a c e f g; same "$("$V" list -H "$P")" ""
            "$V" check --json "$P" | python3 -c 'import json,sys; assert json.load(sys.stdin)["clean"]'
            "$V" version --json | python3 -m json.tool > /dev/null; "$V" help | grep -q umount; "$V" help list | grep -q -- --json
            """)
    }
}
