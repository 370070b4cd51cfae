internal import TestSupport
import Testing

/// Verbs of the control directory, typed as in a shell, and as commands on a pool that is not mounted.
extension IntegrationTests {
    /// Back to a snapshot, keeping or dropping what there is; refused while open; the inode stays.
    @Test func rollback() throws {
        try scenario(
            """
            pool 512M; echo one > "$M/v"; mkdir "$M/.ctl/snap/v/s1"; echo two-longer > "$M/v"; mkdir "$M/.ctl/snap/v/s2"; echo three > "$M/v"
            inode=$(stat -c %i "$M/v")
            # What is refused changes nothing.
            untouched() { same "$(ls "$M/.ctl/snap/v" | tr '\\n' ' ')$(cat "$M/v")" "$before" "after a refused rollback"; }
            before=$(ls "$M/.ctl/snap/v" | tr '\\n' ' ')three
            exec 5<"$M/v"; fails 1 bash -c "echo s1 > '$M/.ctl/vol/v/rollback'"; says 'busy'; untouched; exec 5<&-
            fails 1 bash -c "echo none > '$M/.ctl/vol/v/rollback'"; untouched; fails 4 "$V" rollback "$P" v@none; untouched
            echo s1 > "$M/.ctl/vol/v/rollback"
            same "$(cat "$M/v")" one; same "$(stat -c %s "$M/v")" 4; same "$(stat -c %i "$M/v")" "$inode"
            same "$(cat "$M/v@s2")" two-longer; kept=$(ls "$M/.ctl/snap/v" | grep '^pre-rollback-2'); same "$(cat "$M/v@$kept")" three
            echo s2 > "$M/.ctl/vol/v/rollback"; same "$(ls "$M/.ctl/snap/v" | grep -c pre-rollback)" 2
            echo 's1 discard' > "$M/.ctl/vol/v/rollback"; same "$(ls "$M/.ctl/snap/v" | grep -c pre-rollback)" 2
            fails 1 bash -c "echo nothing > '$M/.ctl/vol/v/rollback'"; fails 1 bash -c "echo 's1 s2' > '$M/.ctl/vol/v/rollback'"
            "$V" rollback "$P" v@s2 --discard; same "$(cat "$M/v")" two-longer
            unmount_pool; "$V" rollback "$P" v@s1; "$V" list "$P" -H -o name | grep -c pre-rollback | grep -q 3
            fails 4 "$V" rollback "$P" v@none; fails 2 "$V" rollback "$P" v
            clean; mount_pool; same "$(cat "$M/v")" one; unmount_pool
            """)
    }

    /// Two names exchanged at one moment: each keeps its inode and its snapshots.
    @Test func swapOfTwoVolumes() throws {
        try scenario(
            """
            pool 512M; echo old > "$M/golden"; echo new > "$M/next"; mkdir "$M/.ctl/snap/next/s"; inode=$(stat -c %i "$M/next")
            "$V" swap "$P" golden next
            same "$(cat "$M/golden") $(cat "$M/next") $(cat "$M/golden@s")" "new old new"; same "$(stat -c %i "$M/golden")" "$inode"
            fails 4 "$V" swap "$P" golden none
            unmount_pool; "$V" swap "$P" next golden; mount_pool; same "$(cat "$M/golden") $(cat "$M/next@s")" "old new"
            unmount_pool; clean
            """)
    }

    /// One mkdir, all volumes, one moment: a counter written to two volumes by turns never differs by more than one.
    @Test func groupSnapshotIsOneMoment() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" a 1M; "$V" new "$M" b 1M
            cat > "$T/count.py" <<'END'
            import os, struct, sys
            a, b = (os.open(sys.argv[1] + "/" + name, os.O_RDWR) for name in "ab")
            for n in range(1, 1000000):
                for f in (a, b): os.pwrite(f, struct.pack("<Q", n), 0)
                if os.path.exists(sys.argv[2]): break
            END
            python3 "$T/count.py" "$M" "$T/stop" & writer=$!
            for n in $(seq 30); do mkdir "$M/.ctl/group/all/snap/g$n"; done
            touch "$T/stop"; wait $writer
            python3 - "$M" <<'END'
            import struct, sys
            seen = set()
            for n in range(1, 31):
                a, b = (struct.unpack("<Q", open("%s/%s@g%d" % (sys.argv[1], name, n), "rb").read(8))[0] for name in "ab")
                assert a - b in (0, 1), (n, a, b)
                seen.add(a)
            assert len(seen) > 1, seen
            END
            same "$(ls "$M/.ctl/group/all/snap" | wc -l)" 30; rmdir "$M/.ctl/group/all/snap/g7"
            same "$(ls "$M/.ctl/snap/a" "$M/.ctl/snap/b" | grep -c '^g7$')" 0
            mkdir "$M/.ctl/snap/b/only"; fails 1 mkdir "$M/.ctl/group/all/snap/only"; same "$(ls "$M/.ctl/snap/a" | grep -c only)" 0
            unmount_pool; clean
            """)
    }
}

extension IntegrationTests {
    /// Where two versions differ: what was written and what was discarded, and nothing else, however large the volume is.
    @Test func differencesBetweenVersions() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" v 200G
            head -c 64K /dev/urandom | dd of="$M/v" bs=64K seek=1000000 conv=notrunc status=none
            head -c 1M /dev/urandom | dd of="$M/v" bs=1M conv=notrunc status=none
            mkdir "$M/.ctl/snap/v/a"
            head -c 12K /dev/urandom | dd of="$M/v" bs=4K seek=3 conv=notrunc status=none
            fallocate --punch-hole --offset 65536000000 --length 8K "$M/v"
            mkdir "$M/.ctl/snap/v/b"; head -c 4K /dev/urandom | dd of="$M/v" bs=4K seek=100 conv=notrunc status=none
            want='12288 12288\n65536000000 8192 z'
            same "$(cat "$M/.ctl/diff/v/a..b")" "$(printf "$want")"; same "$("$V" diff "$P" v@a v@b)" "$(printf "$want")"
            same "$(cat "$M/.ctl/diff/v/b..head")" "409600 4096"; same "$("$V" diff "$P" v@b v)" "409600 4096"
            "$V" diff "$P" v@a v@b --json | python3 -c 'import json,sys; r = json.load(sys.stdin)["ranges"]; assert r[1]["hole"] and r[0]["length"] == 12288, r'
            fails 1 cat "$M/.ctl/diff/v/a..none"; fails 2 "$V" diff "$P" v v@a
            unmount_pool; same "$("$V" diff "$P" v@a v@b)" "$(printf "$want")"; clean
            """)
    }

    /// Raw images in and out, sparse, through pipes, mounted or not; a qcow2 image and a half copied one do not become volumes.
    @Test func importAndExport() throws {
        try scenario(
            """
            pool 512M
            truncate -s 1G image; head -c 3M /dev/urandom | dd of=image bs=1M seek=500 conv=notrunc status=none; printf end | dd of=image bs=1 seek=$((1073741824 - 3)) conv=notrunc status=none
            "$V" import "$P" image disk --progress=json 2>progress; grep -q '"done":1073741824' progress
            same "$(stat -c %s "$M/disk")" 1073741824; cmp image "$M/disk"
            [ $(json allocated) -lt 8000000 ] || fail "not sparse: $(json allocated)"
            "$V" export "$P" disk out; cmp image out; [ $(stat -c %b out) -lt 20000 ] || fail "not sparse: $(stat -c %b out)"
            fails 5 "$V" export "$P" disk out; says force; "$V" export "$P" disk out --force
            mkdir "$M/.ctl/snap/disk/s"; "$V" export "$P" disk@s - | cmp - image
            "$V" create other.pool --size 64M; cp other.pool before
            fails 5 "$V" export "$P" disk "$P" --force; says 'is a pool'; fails 5 "$V" export "$P" disk other.pool --force; says 'is a pool'
            cmp other.pool before; same "$(cat "$M/.ctl/state")" ready; ls | grep export && fail "a half image stayed"
            head -c 5000001 /dev/urandom > odd; "$V" import "$P" - piped < odd; cmp odd "$M/piped"
            fails 5 "$V" import "$P" odd piped; fails 4 "$V" import "$P" none x
            qemu-img create -q -f qcow2 q.qcow2 10M; fails 8 "$V" import "$P" q.qcow2 q; says 'qemu-img convert'
            fails 2 "$V" import "$P" q.qcow2 q --format qcow2; "$V" import "$P" q.qcow2 asis --format raw; cmp q.qcow2 "$M/asis"
            for kind in vmdk vdi vpc vhdx qed; do qemu-img create -q -f $kind q.$kind 10M; fails 8 "$V" import "$P" q.$kind q; says 'image, not raw; convert it: qemu-img'; fails 8 "$V" import "$P" - q < q.$kind; done
            qemu-img create -q -f vpc -o subformat=fixed q.fixed 10M; fails 8 "$V" import "$P" q.fixed q; says 'a VHD image'
            for program in gzip xz bzip2; do $program -c odd > odd.c; fails 8 "$V" import "$P" odd.c q; says "decompress it: $program -dc odd.c . volfs import $P - q"; fails 8 "$V" import "$P" - q < odd.c; says "put before it: $program -dc"; done
            $program -dc odd.c | "$V" import "$P" - unpacked; cmp odd "$M/unpacked"; for suffix in qcow2 VMDK xz; do fails 2 "$V" export "$P" disk out.$suffix; says "is raw"; [ ! -e out.$suffix ] || fail "it is there"; done; "$V" export "$P" disk out.qcow2 --format raw; cmp image out.qcow2
            truncate -s 2G big; head -c 560M /dev/urandom > big; fails 7 "$V" import "$P" big big
            ls "$M" | grep import && fail "a half volume stayed"
            unmount_pool
            "$V" import "$P" odd direct; "$V" export "$P" direct out2; cmp odd out2; fails 8 "$V" import "$P" q.qcow2 q
            clean
            """, tools: ["qemu-img", "gzip", "xz", "bzip2"])
    }
}

extension IntegrationTests {
    /// A pool that is full grows under a mounted filesystem, which goes on writing.
    @Test func poolGrowsWhileUsed() throws {
        try scenario(
            """
            pool 64M; "$V" new "$M" v 1G; fails 1 dd if=/dev/urandom of="$M/v" bs=1M count=100 conv=notrunc
            full=$(stat --file-system -c %b "$M"); head -c 20M "$M/v" | cksum > sum
            fails 2 "$V" grow "$P" 32M; fails 2 "$V" grow "$P" nonsense; fails 1 bash -c "echo 5 > '$M/.ctl/size'"
            "$V" grow "$P" +256M; same "$(cat "$M/.ctl/size")" $((320 << 20)); same "$(stat -c %s "$P")" $((320 << 20))
            [ $(stat --file-system -c %b "$M") -gt $((full * 4)) ] || fail "capacity did not follow"
            dd if=/dev/urandom of="$M/v" bs=1M count=150 conv=notrunc,fsync status=none; sum=$(cksum < "$M/v")
            echo $((640 << 20)) > "$M/.ctl/size"; dd if=/dev/urandom of="$M/w" bs=1M count=200 status=none
            kill -9 $(daemon); sleep 0.3; clean; mount_pool; same "$(cksum < "$M/v")" "$sum"
            unmount_pool; "$V" grow "$P" 1G; clean; mount_pool; same "$(cksum < "$M/v")" "$sum"; unmount_pool
            """)
    }
}

extension IntegrationTests {
    /// A pool of several zones is cut within one, to the segment, and grows again; each zone's header can be told again.
    @Test func largePoolIsCutAnywhere() throws {
        try scenario(
            """
            pool 100G; "$V" new "$P" v 10G; head -c 20M /dev/urandom | dd of="$M/v" bs=1M conv=notrunc status=none; mkdir "$M/.ctl/snap/v/s"; sum=$(head -c 30M "$M/v" | md5sum)
            "$V" shrink "$P" 50G; size=$(stat -c %s "$P"); [ $size -le $((50 << 30)) ] && [ $size -gt $(((50 << 30) - (2 << 20))) ] || fail "$size"
            "$V" grow "$P" 80G; unmount_pool; "$V" shrink "$P" 70G; clean
            "$V" dump "$P" | sed -n 's/^zone .*offset=\\([0-9]*\\).*/\\1/p' > zones; same "$(wc -l < zones)" 3; zone=$(sed -n 2p zones)
            dd if=/dev/zero of="$P" bs=4096 seek=$((zone / 4096)) count=1 conv=notrunc status=none; fails 1 "$V" repair "$P"; says 'zone header'; clean
            mount_pool; same "$(head -c 30M "$M/v@s" | md5sum)" "$sum"; unmount_pool
            """)
    }

    /// What a dry run says comes out, of a mounted pool and of another one; and other sizes of blocks than there are.
    @Test func dryRunTellsTheNewSize() throws {
        try scenario(
            """
            fails 2 "$V" create "$P" --size 1G --block-size 8K; says 'block-size 8K: every pool has blocks of 4K'; [ ! -e "$P" ] || fail made
            "$V" create "$P" --size 1G --block-size 4K
            planned() { "$V" shrink "$P" $1 -n | grep -o '([0-9]* bytes)' | tr -dc 0-9; }
            for size in 777777K 555M; do
                free=$(planned $size); mount_pool; same "$(planned $size)" "$free"; same "$(getfattr -n user.volfs.smaller.1000000000000 "$M" 2>&1 | grep -c Invalid)" 1
                unmount_pool; "$V" shrink "$P" $size; same "$(stat -c %s "$P")" "$free"
            done
            "$V" version > "$T/out"; says "libfuse $(dpkg-query -W -f '${Version}' libfuse3-3 | cut -d- -f1), FUSE protocol of the kernel 7\\.[0-9]"
            "$V" version --json > "$T/out"; says '"format":[0-9]*,"libfuse":"3.*","fuse_protocol":"7'
            """, tools: ["getfattr"])
    }

    /// A pool becomes smaller under a mounted filesystem that is written to, with snapshots, clones and shared blocks; what has no
    /// place is refused, and has changed nothing; afterwards it grows again.
    @Test func poolShrinksWhileUsed() throws {
        try scenario(
            """
            pool 1G; "$V" new "$M" v 400M; loop=$(attach "$M/v"); mkfs.ext4 -q "$loop"; mkdir fs; mount "$loop" fs
            head -c 60M /dev/urandom > fs/a; sync -f fs; mkdir "$M/.ctl/snap/v/s"; ln -s v@s "$M/.ctl/clone/c"; head -c 60M /dev/urandom > fs/b; sync -f fs
            head -c 40M /dev/urandom > "$M/w"; cat "$M/w" > "$M/copy"; sums=$(cksum "$M/v@s" "$M/w" "$M/copy" fs/a fs/b)
            (while [ ! -e "$T/stop" ]; do head -c 3M /dev/urandom > fs/busy; sync -f fs; done) & writer=$!
            fails 7 "$V" shrink "$P" 128M; says 'are in use, which have no place in 128.0 MiB'; same "$(stat -c %s "$P")" $((1 << 30))
            fails 2 "$V" shrink "$P" 2G
            fails 0 "$V" shrink "$P" 512M -n; says 'would make the pool smaller'; same "$(stat -c %s "$P")" $((1 << 30)); fails 7 "$V" shrink -n "$P" 64M
            fails 1 mkdir "$M/.ctl/job/shrink"; says 'not permitted'
            "$V" shrink "$P" 512M --progress json 2> "$T/progress"; touch "$T/stop"; wait $writer
            tail -1 "$T/progress" | grep -q '"schema":"volfs.progress/1","operation":"shrink","done":' || fail "$(cat "$T/progress")"
            [ $(stat -c %s "$P") -le $((512 << 20)) ] || fail "still $(stat -c %s "$P")"; [ $(stat --file-system -c %b "$M") -lt $((512 << 8)) ] || fail "df: $(stat --file-system -c %b "$M")"
            same "$(cksum "$M/v@s" "$M/w" "$M/copy" fs/a fs/b)" "$sums"; umount fs; e2fsck -fn "$loop" > /dev/null; losetup -d "$loop"
            kill -9 $(daemon); sleep 0.3; clean; mount_pool; same "$(cksum "$M/v@s" "$M/w" "$M/copy" | cksum)" "$(echo "$sums" | head -3 | cksum)"
            "$V" grow "$P" 1G; head -c 300M /dev/urandom > "$M/more"; sum=$(cksum < "$M/more"); unmount_pool
            "$V" check "$P" --data | grep '^clean'; mount_pool; same "$(cksum < "$M/more")" "$sum"; rm "$M/more"; freed; unmount_pool
            "$V" shrink "$P" 512M; clean; [ $(stat -c %s "$P") -le $((512 << 20)) ] || fail "unmounted: $(stat -c %s "$P")"
            """, tools: ["mkfs.ext4", "e2fsck"], seconds: 240)
    }

    /// Who waits for a shrink that somebody cancels is told that it was, as the one who asked for it is. One that ends first is done again.
    @Test func waitTellsHowAShrinkEnded() throws {
        try scenario(
            """
            pool 1500M; cancelled=no; gone() { ! kill -0 $1 2>/dev/null; }
            for try in {1..8}; do
                head -c 600M /dev/urandom > "$M/front"; head -c 400M /dev/urandom > "$M/back"; rm "$M/front"; freed
                "$V" shrink "$P" 500M > shrunk 2>&1 & shrinking=$!
                until [ -e "$M/.ctl/job/shrink" ] || gone $shrinking; do :; done
                "$V" wait "$M" shrink > waited 2>&1 & waiting=$!
                until gone $waiting || ls -l /proc/$waiting/fd | grep -q events; do :; done
                rmdir "$M/.ctl/job/shrink" || true
                asked=0; wait $shrinking || asked=$?; told=0; wait $waiting || told=$?
                case "$asked $told" in
                    "0 0" | "0 4" | *" 4") "$V" grow "$P" 1500M || true; rm "$M/back"; freed ;;
                    "0 "* | *" 0") fail "shrink: $asked, wait: $told: $(cat shrunk waited)" ;;
                    *) grep -q 'shrink: was cancelled' waited || fail "$(cat waited)"; same "$(stat -c %s "$P")" $((1500 << 20)); cancelled=yes; break ;;
                esac
            done
            same $cancelled yes; (until [ -e "$M/.ctl/job/shrink" ]; do :; done; "$V" wait "$M" shrink || [ $? = 4 ]) & waiting=$!
            "$V" shrink "$P" 500M; wait $waiting; unmount_pool; clean
            """, seconds: 240)
    }
}
