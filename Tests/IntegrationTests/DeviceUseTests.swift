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
}
