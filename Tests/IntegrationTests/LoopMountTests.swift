internal import TestSupport
import Testing

extension IntegrationTests {
    /// A filesystem on a volume, snapshot and clone: both show the old contents exactly, and all three are sound.
    @Test(arguments: ["ext4", "xfs", "btrfs"], [512, 4096])
    func filesystemOnVolumeSnapshotAndClone(filesystem: String, sector: Int) throws {
        try scenario(
            """
            fs=$1 sector=$2
            pool 16G; cd "$M"; mkdir "$T/a" "$T/b" "$T/c"
            check_fs() { case $fs in ext4) e2fsck -fn "$1";; xfs) xfs_repair -n "$1";; btrfs) btrfs check "$1";; esac >"$T/fsck" 2>&1 || fail "fsck of $1: $(cat "$T/fsck")"; }
            sums() { (cd "$1"; find . -type f -print0 | sort -z | xargs -0 cksum | cksum); }
            truncate -s 32G root
            loop=$(attach --direct-io=on --sector-size $sector root)
            case $fs in ext4) mkfs.ext4 -q $loop;; *) mkfs.$fs -q -f $loop >"$T/mkfs" 2>&1;; esac
            mount $loop "$T/a"
            python3 - "$T" <<'END'
            import os, random, sys, tarfile, io
            random.seed(1)
            with tarfile.open(sys.argv[1] + "/files.tar", "w") as tar:
                for n in range(3000):
                    info = tarfile.TarInfo("d%d/f%d" % (n % 37, n)); data = random.randbytes(random.randrange(20000))
                    info.size = len(data); tar.addfile(info, io.BytesIO(data))
            END
            tar -xf "$T/files.tar" -C "$T/a"; sync -f "$T/a"
            before=$(sums "$T/a")
            # Quiet, so that the snapshot needs no log replay and can be mounted read-only. A frozen XFS keeps its log
            # dirty on purpose, which xfs_repair -n then counts as an error, so that one is unmounted.
            if [ $fs = xfs ]; then umount "$T/a"; mkdir .ctl/snap/root/v1; mount $loop "$T/a"
            else fsfreeze -f "$T/a"; mkdir .ctl/snap/root/v1; fsfreeze -u "$T/a"; fi
            rm -rf "$T/a"/d1*; for file in $(find "$T/a/d2" -type f); do echo overwritten > "$file"; done; sync -f "$T/a"
            [ "$(sums "$T/a")" != "$before" ] || fail "nothing changed"
            ln -s root@v1 .ctl/clone/vm1
            same "$(readlink .ctl/clone/vm1)" ../../root@v1
            umount "$T/a"
            old=$(attach --sector-size $sector root@v1); new=$(attach --direct-io=on --sector-size $sector vm1)
            same "$(blockdev --getro $old)" 1 "a snapshot attaches read-only"
            case $fs in ext4) o=noload;; xfs) o=norecovery,nouuid;; btrfs) o=rescue=nologreplay;; esac
            mount -o ro,$o $old "$T/b"; same "$(sums "$T/b")" "$before" "snapshot"; umount "$T/b"
            case $fs in xfs) mount -o nouuid $new "$T/c";; *) mount $new "$T/c";; esac
            same "$(sums "$T/c")" "$before" "clone"; umount "$T/c"
            for device in $loop $old $new; do check_fs $device; done
            for device in $loop $old $new; do losetup -d $device; done
            cd /; unmount_pool; clean
            """, [filesystem, "\(sector)"],
            tools: ["mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "xfs_repair", "btrfs", "e2fsck", "fsfreeze"], seconds: 180)
    }

    /// mkfs on an empty 2 TiB volume: trimming what is not there costs nothing.
    @Test func makingFilesystemsOnLargeEmptyVolumes() throws {
        try scenario(
            """
            pool 16G; cd "$M"
            for fs in ext4 xfs btrfs f2fs; do
                truncate -s 2T $fs; loop=$(attach --direct-io=on $fs)
                case $fs in ext4) timeout 60 mkfs.ext4 -q -E lazy_itable_init=1 $loop;; *) timeout 60 mkfs.$fs -q -f $loop >"$T/mkfs";; esac
                losetup -d $loop
            done
            truncate -s 16T largest
            fails 1 truncate -s 17T largest; says "too large"
            cd /; unmount_pool; clean
            """, tools: ["mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkfs.f2fs"], seconds: 200)
    }

    /// A mounted loop device outlives SIGTERM to the daemon, which ends with success when the device is detached.
    @Test func terminationDoesNotBreakAttachedLoopDevice() throws {
        try scenario(
            """
            pool 2G; cd "$M"; mkdir "$T/a"
            truncate -s 1G root; loop=$(attach --direct-io=on root); mkfs.ext4 -q $loop; mount $loop "$T/a"
            daemon=$(daemon); cd /
            kill -TERM $daemon; sleep 1
            grep -q " $M fuse" /proc/mounts && fail "the mountpoint is still there"
            head -c 50M /dev/urandom > "$T/a/file"; sync -f "$T/a"; sum=$(cksum < "$T/a/file")
            echo 3 > /proc/sys/vm/drop_caches
            same "$(cksum < "$T/a/file")" "$sum"
            running $daemon || fail "the daemon left its loop device"
            umount "$T/a"; losetup -d $loop
            ended $daemon
            clean; mount_pool; loop=$(attach "$M/root"); mount $loop "$T/a"
            same "$(cksum < "$T/a/file")" "$sum" "after a new mount"
            umount "$T/a"; losetup -d $loop
            """, tools: ["mkfs.ext4"])
    }
}
