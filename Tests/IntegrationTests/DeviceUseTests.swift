import TestSupport
import Testing

/// A block device is one user's alone, and a pool is used by one name of it.
extension IntegrationTests {
    private static let serve = """
        serve() { rm -f s; "$V" serve "$1" --nbd unix:"$T/s" > serving 2> log & serving=$!; for _ in $(seq 400); do [ -S s ] && return; sleep 0.05; done; fail "no server: $(cat log)"; }

        """

    /// What has a pool in use is not formatted, mounted or replaced; let go, it can be.
    @Test func deviceOfAPoolIsHeld() throws {
        try scenario(
            Self.serve + """
            truncate -s 256M disk; loop=$(attach disk); "$V" create $loop; "$V" $loop "$M"; echo kept > "$M/v"; mkdir d
            fails 1 mkfs.ext4 -q $loop; says 'in use'; fails 32 mount -t ext4 $loop d; fails 6 "$V" create --force $loop; says "mounted at $M by process $(daemon)"
            truncate -s 300M disk; losetup --set-capacity $loop; "$V" grow "$M" 300M; same "$(cat "$M/v")" kept; unmount_pool
            serve $loop; fails 1 mkfs.ext4 -q $loop; fails 6 "$V" create --force $loop; says "in use by process $serving"; kill $serving; ended $serving
            # By another node of it, whose lock is its own.
            "$V" $loop "$M"; mknod node b $(stat --format '0x%t 0x%T' $loop); fails 6 "$V" create --force node; says "mounted at $M"; unmount_pool
            serve $loop; fails 6 "$V" create --force node; says 'in use'; kill $serving; ended $serving
            "$V" check $loop | grep ^clean; "$V" $loop "$M"; same "$(cat "$M/v")" kept; unmount_pool; mkfs.ext4 -q -F $loop
            """, tools: ["mkfs.ext4"])
    }

    /// What somebody else has in use is not written, with force neither, and nothing is planned for it.
    @Test func deviceOfOthersIsLeftAlone() throws {
        try scenario(
            """
            truncate -s 256M disk; loop=$(attach disk); "$V" create $loop; "$V" dump $loop > dump; mkfs.ext4 -q -F $loop; mkdir d; mount $loop d; echo kept > d/file
            for words in create 'create --force' 'create -n --force' repair 'repair -n' 'repair --force' restore 'restore -n' 'restore --force'; do
                want=6; case $words in repair*) want=8; esac; from=; case $words in restore*) from=dump; esac
                fails $want "$V" $words $loop $from; says "in use: mounted at $T/d; unmount it first"
            done
            fails 32 "$V" $loop "$M" -o lock_wait=1; says "mounted at $T/d"; fails 6 "$V" new $loop v 1M; says "mounted at $T/d"; fails 8 "$V" list $loop; says 'not a volfs pool'
            umount d; e2fsck -fn $loop > out 2>&1 || fail "$(cat out)"; mount $loop d; same "$(cat d/file)" kept; umount d
            mkswap -q $loop; swapon $loop; fails 6 "$V" create --force $loop; says "swapoff $loop"; swapoff $loop; "$V" create --force $loop
            truncate -s 256M parts; echo ',100M' | sfdisk -q parts; whole=$(attach --partscan parts); part=${whole}p1
            # A kernel without partition tables of its own is told of them.
            [ -b $part ] || partx --add $whole; for _ in $(seq 50); do [ -b $part ] && break; sleep 0.1; done; mkfs.ext4 -q $part; mount $part d
            fails 6 "$V" create --force $whole; says "in use: mounted at $T/d"; fails 6 "$V" create --force $part; says "in use: mounted at $T/d"; umount d
            "$V" create --force $part; "$V" $part "$M"; fails 6 "$V" create --force $whole; says 'in use'; fails 6 "$V" create --force parts; says 'in use by process'; unmount_pool; "$V" check $part
            partx --delete $whole
            """, tools: ["mkfs.ext4", "mkswap", "sfdisk", "partx"])
    }

    /// An image is written over nothing on a device that somebody uses, over no pool, and over anything else if that is wanted.
    @Test func exportLeavesDevicesOfOthersAlone() throws {
        try scenario(
            """
            "$V" create "$P" --size 3G; mount_pool; "$V" new "$M" v 8M; echo image | dd of="$M/v" conv=notrunc status=none; truncate -s 300M disk; loop=$(attach disk); mkfs.ext4 -q -F $loop; mkdir d; mount $loop d; echo kept > d/file; sync
            for words in '' --force; do fails 6 "$V" export "$M" v $loop $words; says "in use: mounted at $T/d; unmount it first"; done
            umount d; e2fsck -fn $loop > out 2>&1 || fail "$(cat out)"; fails 5 "$V" export "$M" v $loop; says '--force to write over it'; mount $loop d; same "$(cat d/file)" kept; umount d
            "$V" create --force $loop; "$V" new $loop inner 1M; for words in '' --force; do fails 5 "$V" export "$M" v $loop $words; says 'a pool, which an export never replaces'; done
            "$V" $loop d; for words in '' --force; do fails 6 "$V" export "$M" v $loop $words; says "mounted at $T/d"; done; echo deep | dd of=d/inner conv=notrunc status=none; "$V" umount d; "$V" check $loop
            dd if=/dev/zero of=$loop bs=1M status=none 2> out || true; "$V" new "$M" large 1G; fails 7 "$V" export "$M" large $loop; says 'choose a larger device'
            "$V" export "$M" v $loop; cmp -n 8M "$M/v" $loop; echo other | dd of="$M/v" conv=notrunc status=none; fails 5 "$V" export "$M" v $loop; "$V" export "$M" v $loop --force; cmp -n 8M "$M/v" $loop
            # Not into a mount: the part would be a volume.
            fails 1 "$V" export "$M" v "$M/w"; says 'volfs clone'; [ ! -e "$M/w.volfs-export" ] || fail "a part of it is a volume"
            """, tools: ["mkfs.ext4"])
    }

    /// A file and a loop device on it are one pool, whichever is used first; parts of a file are others.
    @Test func poolIsUsedByOneName() throws {
        try scenario(
            Self.serve + """
            refused() {
                fails 32 "$V" "$1" a -o lock_wait=1; says "$2"; fails 6 "$V" create --force "$1"; says "$2"; fails 6 "$V" new "$1" w 1M; says "$2"; fails 8 "$V" repair "$1"; says "$2"
            }
            "$V" create "$P" --size 256M; loop=$(attach "$P"); mkdir a b
            serve "$P"; refused $loop "in use by process $serving"; fails 6 "$V" create -n --force $loop; says "process $serving"; kill $serving; ended $serving
            serve $loop; refused "$P" "in use by process $serving"; kill $serving; ended $serving
            mount_pool; echo kept > "$M/v"; fails 32 "$V" $loop a; says "mounted at $M"; fails 6 "$V" create --force $loop; says "mounted at $M"; "$V" list $loop | grep '^v'; unmount_pool
            "$V" $loop a; fails 32 "$V" "$P" "$M"; says "mounted at $T/a"; fails 6 "$V" create --force "$P"; says "mounted at $T/a"; same "$(cat a/v)" kept; "$V" umount a
            # Two parts of one file are two pools, and the file is not for a third.
            truncate -s 600M whole; one=$(attach --offset 1M --sizelimit 256M whole); two=$(attach --offset 300M --sizelimit 256M whole)
            "$V" create $one; "$V" create $two; "$V" $one a; "$V" $two b; echo 1 > a/v; echo 2 > b/v; fails 6 "$V" create --force whole; says 'in use by process'
            "$V" umount a; "$V" umount b; "$V" check $one; "$V" check $two
            # On a volume of another pool.
            mount_pool; "$V" new "$M" inner 128M; inner=$(attach "$M/inner"); timeout 60 "$V" create $inner; timeout 60 "$V" $inner a; echo deep > a/v
            fails 32 timeout 60 "$V" "$M/inner" b; sync -f a; same "$(cat a/v)" deep; timeout 60 "$V" umount a; losetup -d $inner; unmount_pool; clean
            # The name of the file is another's.
            losetup -d $loop; loop=$(attach "$P"); mv "$P" elsewhere; "$V" create "$P" --size 64M; serve "$P"; "$V" $loop a; same "$(cat a/v)" kept; "$V" umount a; kill $serving; ended $serving
            """)
    }

    /// Which file a loop device is on is asked of the kernel: its name may be one of several, or another's by now.
    @Test func loopDeviceIsKnownByItsFile() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mkdir a; ln "$P" hard; loop=$(attach hard); touch bound; mount --bind "$P" bound; third=$(attach bound); mount_pool
            for device in $loop $third; do fails 32 "$V" $device a; says "mounted at $M"; fails 6 "$V" create --force $device; says "mounted at $M"; "$V" list $device > out; done
            unmount_pool; "$V" $loop a; fails 32 "$V" "$P" "$M"; says "mounted at $T/a"; "$V" umount "$P"; losetup -d $third; umount bound
            # A lock that excludes is had over a network only by who may write: so the file is open to be written.
            "$V" $loop "$M"; found=0; for fd in /proc/$(daemon)/fd/*; do
                [ "$(readlink $fd)" = "$T/hard" ] || continue
                found=$((found + 1)); flags=$(awk '/^flags/ { print $2 }' /proc/$(daemon)/fdinfo/${fd##*/}); same $((8#$flags & 3)) 2 "flags $flags"
            done
            same $found 1; unmount_pool
            rm hard; cp --sparse=always "$P" hard; mount_pool; fails 32 "$V" $loop a; says "mounted at $M"; unmount_pool; "$V" hard "$M"; "$V" $loop a; "$V" umount a; unmount_pool
            """)
    }

    /// Who has another part of a file is not taken for who has this one.
    @Test func partsOfAFileHaveTheirOwnUsers() throws {
        try scenario(
            """
            truncate -s 900M whole; one=$(attach --offset 1M --sizelimit 256M whole); two=$(attach --offset 300M --sizelimit 256M whole); all=$(attach whole); mkdir a b
            "$V" create $one; "$V" create $two; "$V" $one a; pid() { grep -oP '"pid":\\K[0-9]+' $1/.ctl/stats.json; }
            fails 4 "$V" umount $two; says 'is not mounted, and nothing'; fails 4 "$V" umount $all; says 'is not mounted, and nothing'
            fails 6 "$V" create --force $all; says "in use by process $(pid a)"; fails 6 "$V" create --force whole; says "in use by process $(pid a)"
            "$V" $two b; fails 6 "$V" create --force $two; says "mounted at $T/b by process $(pid b)"; "$V" umount $two --wait 10; "$V" umount $one
            "$V" check $one; "$V" check $two
            """)
    }

    /// Who looks at a device for a moment, as udev does, is waited for; who has it for long is not.
    @Test func deviceIsWaitedForThatIsLookedAt() throws {
        try scenario(
            """
            truncate -s 256M disk; loop=$(attach disk); mkdir d
            look() { flock --no-fork --shared $loop sleep $1 & looking=$!; for _ in $(seq 200); do grep -q "FLOCK.*READ *$looking " /proc/locks && return; sleep 0.01; done; fail "no lock"; }
            look 0.2; "$V" create $loop; wait $looking; look 0.2; "$V" new $loop v 1M; wait $looking
            look 60; fails 6 "$V" new $loop w 1M; says "in use by process $looking"; kill $looking; wait $looking || true
            mkfs.ext4 -q -F $loop; mount $loop d; fails 32 timeout 60 "$V" $loop "$M" -o lock_wait=600; says "mounted at $T/d; unmount it first"; umount d
            mkswap -q $loop; swapon $loop; fails 32 timeout 60 "$V" $loop "$M" -o lock_wait=600; says "swapoff $loop"; swapoff $loop
            """, tools: ["mkfs.ext4", "mkswap"])
    }

    /// Without /proc a device is claimed all the same, and a mount says that it needs it. A device that cannot be written says so.
    @Test func deviceWithoutProc() throws {
        try scenario(
            """
            truncate -s 256M disk; loop=$(attach disk); mkdir d; "$V" create $loop
            without() { unshare --mount bash -c 'mount -t tmpfs none /proc && exec "$@"' inside "$@"; }
            fails 0 without "$V" new $loop v 1M; fails 0 without "$V" list $loop; says '^v '; fails 0 without "$V" check $loop; says '^clean'; fails 0 without "$V" create --force $loop
            fails 32 without "$V" $loop "$M"; says '/proc: is not there.*mount -t proc proc /proc'; fails 1 without "$V" $loop "$M" -f; says 'mount -t proc'
            mkfs.ext4 -q -F $loop; mount $loop d; fails 6 without "$V" create --force $loop; says 'in use'; umount d; e2fsck -fn $loop > out 2>&1 || fail "$(cat out)"; losetup -d $loop
            "$V" create "$P" --size 64M; loop=$(attach --read-only "$P"); "$V" list $loop
            for words in "new $loop v 1M" "create --force $loop" "create -n --force $loop"; do fails 9 "$V" $words; says "the device is read-only; .*blockdev --setrw $loop"; done
            fails 32 "$V" $loop "$M"; says '-o ro'; "$V" $loop "$M" -o ro; unmount_pool
            """, tools: ["mkfs.ext4", "unshare"])
    }
}
