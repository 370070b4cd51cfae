internal import Foundation
internal import TestSupport
import Testing

/// What people do with disks, with the tools they do it with.
extension IntegrationTests {
    /// A disk with partitions in a loop device: two filesystems, one mounted with discard, trim, growth while mounted,
    /// and detached.
    @Test func partitionedDiskInALoopDevice() throws {
        try scenario(
            """
            partitions() { [ -b $1p1 ] || partx --add $1; for _ in $(seq 50); do [ -b $1p2 ] && return; sleep 0.1; done; fail "$1 shows no partitions"; }
            pool 2G; truncate -s 1G "$M/disk"; printf 'label: gpt\\nsize=300M\\nsize=+\\n' | sfdisk -q "$M/disk"; same "$(sfdisk --json "$M/disk" | grep -c '"node"')" 2
            loop=$(losetup --direct-io=on -fP --show "$M/disk"); partitions $loop; mkdir "$T/a" "$T/b"; mkfs.ext4 -q ${loop}p1; mkfs.ext4 -q ${loop}p2
            same "$(losetup --noheadings --output BACK-FILE $loop)" "$M/disk"; same "$(losetup -j "$M/disk" | grep -c "^$loop:")" 1
            mount -o discard ${loop}p1 "$T/a"; mount ${loop}p2 "$T/b"; head -c 100M /dev/urandom | tee "$T/a/file" > "$T/b/file"; sync -f "$T/a"; sync -f "$T/b"
            blocks() { stat -c %b "$M/disk"; }
            full=$(blocks); rm "$T/a/file"; sync -f "$T/a"; for _ in $(seq 50); do [ $(blocks) -lt $((full - 90 * 2048)) ] && break; sleep 0.1; done
            [ $(blocks) -lt $((full - 90 * 2048)) ] || fail "-o discard gave back $((full - $(blocks))) sectors"
            full=$(blocks); rm "$T/b/file"; sync -f "$T/b"; [ $(blocks) -gt $((full - 2048)) ] || fail "without discard, space came back by itself"
            fstrim "$T/b"; [ $(blocks) -lt $((full - 90 * 2048)) ] || fail "fstrim gave back $((full - $(blocks))) sectors"
            head -c 20M /dev/urandom > "$T/b/kept"; sum=$(cksum < "$T/b/kept"); umount "$T/a" "$T/b"; partx --delete $loop 2>/dev/null || true; losetup -d $loop
            rm "$M/disk"; freed; unmount_pool; clean
            """, tools: ["sfdisk", "partx", "mkfs.ext4", "e2fsck", "resize2fs", "fstrim"])
    }

    /// truncate, losetup -c and the filesystem's own tool make it larger, XFS while it is mounted; a snapshot keeps the
    /// size it had.
    @Test func filesystemGrowsWithItsVolume() throws {
        try scenario(
            """
            pool 2G
            for fs in xfs ext4; do
                truncate -s 320M "$M/$fs"; loop=$(attach --direct-io=on "$M/$fs"); mkfs.$fs -q $loop; mkdir "$T/a"; mount $loop "$T/a"; head -c 20M /dev/urandom > "$T/a/one"
                mkdir "$M/.ctl/snap/$fs/small"; fails 1 truncate -s 300M "$M/$fs"; says busy
                for size in 384 1024; do
                    truncate -s ${size}M "$M/$fs"; losetup -c $loop; same "$(blockdev --getsize64 $loop)" $((size << 20))
                    # Growing a mounted ext4 needs a right that a container may lack.
                    case $fs in xfs) xfs_growfs "$T/a";; ext4) resize2fs $loop || { umount "$T/a"; e2fsck -fp $loop; resize2fs $loop; mount $loop "$T/a"; };; esac > "$T/grow" 2>&1 || fail "$(cat "$T/grow")"
                    [ $(($(stat --file-system -c '%b * %S' "$T/a"))) -gt $(((size << 20) * 3 / 4)) ] || fail "$fs did not grow: $(df "$T/a")"
                done
                head -c 420M /dev/zero | tr '\\0' x > "$T/a/two"; sums=$(cd "$T/a"; cksum one two); same "$(stat -c %s "$M/$fs@small")" $((320 << 20))
                umount "$T/a"; losetup -d $loop; loop=$(attach "$M/$fs"); mount $loop "$T/a"; same "$(cd "$T/a"; cksum one two)" "$sums" "$fs after it grew"; umount "$T/a"
                case $fs in ext4) e2fsck -fn $loop;; xfs) xfs_repair -n $loop;; esac > "$T/fsck" 2>&1 || fail "$(cat "$T/fsck")"; losetup -d $loop; rmdir "$T/a"
            done
            unmount_pool; clean
            """, tools: ["mkfs.ext4", "e2fsck", "resize2fs", "mkfs.xfs", "xfs_growfs"])
    }

    /// losetup -d returns before the daemon hears of the close; rm, rollback and umount right behind it succeed, every
    /// time.
    @Test func detachedVolumeCanBeRemovedAtOnce() throws {
        try scenario(
            """
            pool 256M; head -c 1M /dev/urandom > "$M/base"; mkdir "$M/.ctl/snap/base/s"
            for n in $(seq 50); do
                ln -s base@s "$M/.ctl/clone/vm"; loop=$(attach "$M/vm"); dd if=/dev/zero of=$loop bs=64K count=1 oflag=direct status=none; losetup -d $loop; rm "$M/vm"
            done
            for n in $(seq 10); do loop=$(attach "$M/base"); losetup -d $loop; echo 's discard' > "$M/.ctl/vol/base/rollback"; done
            for n in $(seq 5); do loop=$(attach "$M/base@s"); losetup -d $loop; unmount_pool; mount_pool; done
            same "$(ls "$M" | tr '\\n' ' ')" "base base@s "; unmount_pool; clean
            """)
    }

    /// What libvirt does to a disk: it gives the file to another user, remembers the owner in a trusted attribute and
    /// labels it; all of it is there after a remount and after a kill, and the user can then open the file.
    @Test func ownersAndLabelsOutliveARemount() throws {
        try scenario(
            """
            pool 256M; chmod 755 "$T"; truncate -s 4M "$M/disk"; chown 64055:64055 "$M/disk"; chmod 600 "$M/disk"
            setfattr -n trusted.libvirt.security.dac -v +0:+0 "$M/disk"; setfattr -n trusted.libvirt.security.ref_dac -v 1 "$M/disk"; setfattr -n security.selinux -v system_u:object_r:svirt_image_t:s0:c1,c2 "$M/disk" || true
            labels() { stat -c '%u %g %a' "$M/disk"; getfattr --absolute-names -d -m 'trusted|security' "$M/disk"; }
            as_user() { setpriv --reuid=$1 --regid=$1 --clear-groups "${@:2}"; }
            want=$(labels); same "$(echo "$want" | grep -c libvirt)" 2
            as_user 64055 bash -c "echo guest > '$M/disk'"; fails 1 as_user 65534 cat "$M/disk"; says 'denied'; fails 1 as_user 65534 chmod 666 "$M/disk"
            mkdir "$M/.ctl/snap/disk/s"; as_user 64055 mkdir "$M/.ctl/snap/disk/own"; fails 1 as_user 65534 mkdir "$M/.ctl/snap/disk/other"; fails 1 as_user 65534 cat "$M/disk@s"
            unmount_pool; mount_pool; same "$(labels)" "$want" "after a remount"; setfattr -x trusted.libvirt.security.ref_dac "$M/disk"; chown 0:0 "$M/disk"; want=$(labels)
            kill -9 $(daemon); sleep 0.2; mount_pool; same "$(labels)" "$want" "after a kill"; fails 1 as_user 64055 cat "$M/disk"; unmount_pool; clean
            """, tools: ["setpriv", "setfattr", "getfattr"])
    }

    /// A snapshot is copied by tar, rsync and cp, restored into new volumes, and equal; an incremental copy takes only
    /// the ranges that .ctl/diff names; and none of it touches the live volume.
    @Test func backupAndRestore() throws {
        try scenario(
            """
            pool 1G; truncate -s 400M "$M/root"
            cat > change.py <<'EOF'
            # change.py FILE SEED: random writes, and holes.
            import os, random, sys, ctypes
            r = random.Random(int(sys.argv[2])); f = os.open(sys.argv[1], os.O_RDWR); libc = ctypes.CDLL(None, use_errno=True)
            for n in range(200):
                size = r.choice([512, 4096, 65536, 262144]); at = r.randrange(0, (400 << 20) - size)
                os.pwrite(f, r.randbytes(size), at if n % 2 else at // 4096 * 4096)
                if n % 5 == 0: assert libc.fallocate(f, 3, ctypes.c_long(r.randrange(90000) * 4096), ctypes.c_long(8 << 20)) == 0
            EOF
            python3 change.py "$M/root" 1; mkdir "$M/.ctl/snap/root/v1"; python3 change.py "$M/root" 2; mkdir "$M/.ctl/snap/root/v2"; python3 change.py "$M/root" 3
            mkdir backup; sectors=$(stat -c %b "$M/root@v1"); tar -C "$M" -S -cf backup/root.tar root@v1; [ $(stat -c %s backup/root.tar) -lt $((sectors * 512 + (4 << 20))) ] || fail "tar -S stored holes"
            tar -C "$M" -xSf backup/root.tar --transform 's/root@v1/from-tar/' ; cmp "$M/from-tar" "$M/root@v1"
            rsync --sparse "$M/root@v1" backup/v1; cmp backup/v1 "$M/root@v1"; [ $(stat -c %b backup/v1) -le $((sectors + 4096)) ] || fail "the copy has $(stat -c %b backup/v1) sectors"
            rsync --inplace backup/v1 "$M/from-rsync"; cmp "$M/from-rsync" "$M/root@v1"; cp --sparse=always backup/v1 "$M/from-cp"; cmp "$M/from-cp" "$M/root@v1"
            for copy in from-tar from-cp; do [ $(stat -c %b "$M/$copy") -le $((sectors + 2048)) ] || fail "$copy has $(stat -c %b "$M/$copy") sectors of $sectors"; done
            # Only what differs, into a copy of the older one.
            cp --sparse=always backup/v1 backup/v2
            python3 - "$M/.ctl/diff/root/v1..v2" "$M/root@v2" backup/v2 <<'EOF' > moved
            import ctypes, os, sys
            source, copy = os.open(sys.argv[2], os.O_RDONLY), os.open(sys.argv[3], os.O_RDWR); moved = 0; libc = ctypes.CDLL(None); last = -1
            for line in open(sys.argv[1]):
                words = line.split(); at, size = int(words[0]), int(words[1]); assert at >= last and at % 4096 == 0, line; last = at + size
                if words[2:] == ["z"]: assert libc.fallocate(copy, 3, ctypes.c_long(at), ctypes.c_long(size)) == 0; continue
                while size: data = os.pread(source, min(size, 1 << 20), at); os.pwrite(copy, data, at); at += len(data); size -= len(data); moved += len(data)
            print(moved)
            EOF
            cmp backup/v2 "$M/root@v2"; [ $(cat moved) -lt $((40 << 20)) ] || fail "$(cat moved) bytes moved"
            python3 change.py backup/v1 2; cmp backup/v1 backup/v2; rmdir "$M/.ctl/snap/root/v1"; cmp backup/v2 "$M/root@v2"; unmount_pool; clean
            """, tools: ["tar", "rsync", "cmp"])
    }

    /// The lines of the pages that keep the newest snapshots by their names remove the others, and only those: none that was named otherwise.
    @Test func retentionLoopKeepsTheNewest() throws {
        try scenario(
            """
            ROOT=$1; pool 256M; echo 0 > "$M/root"; cd "$M"
            # The lines of a page's example, at the time that `when` says.
            lines() { awk '/^mkdir .*date -u/ { print; for (;;) { getline; print; if (!/[|]$/) exit } }' "$ROOT/man/$1"; }
            date() { command date -d "$when" "$@"; }
            for n in $(seq 40); do echo $n > root; when="2026-01-01 + $n hours"; source <(lines volfs-howto.7); done
            same "$(ls .ctl/snap/root | wc -l)" 24; same "$(cat root@* | tr '\\n' ' ')" "$(seq 17 40 | tr '\\n' ' ')"; same "$(ls -f .ctl/snap/root | grep Z | head -1)" "$(ls .ctl/snap/root | head -1)" "oldest first in the directory's own order"
            for name in before-upgrade golden v1 0-golden 2024-release 20240101 20260103T000000Z-kept; do mkdir .ctl/snap/root/$name; done
            when='2027-01-01'; source <(lines volfs-howto.7); same "$(ls .ctl/snap/root | wc -l)" 31; [ -d .ctl/snap/root/20270101T000000Z ] || fail 'the new one'
            truncate -s 1M other; for name in v1 golden 20240101T000000Z; do mkdir .ctl/snap/other/$name; done
            for n in $(seq 40); do when="2026-01-01 + $n days"; source <(lines volfs-ctl.7 | sed 's,snap/root,snap/other,g'); done
            same "$(ls .ctl/snap/other | wc -l)" 33; same "$(ls .ctl/snap/other | head -2 | tr '\\n' ' ')" '20240101T000000Z 20260112 '
            freed; cd /; unmount_pool; clean
            """, [Scenario.root.path])
    }
}
