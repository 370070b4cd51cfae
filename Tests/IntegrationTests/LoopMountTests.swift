internal import TestSupport
import Testing

extension IntegrationTests {
    /// `direct LOOP SECTOR`: whether the kernel has direct I/O on for it, which it drops silently where it cannot have it.
    private static let direct = """
        direct() {
            same "$(losetup --list --noheadings --output DIO,LOG-SEC $1 | xargs)" "1 $2" "direct I/O and sectors of $1"; same "$(cat /sys/block/${1#/dev/}/loop/dio)" 1 "direct I/O of $1"
            same "$(cat /sys/block/${1#/dev/}/queue/logical_block_size)" $2
        }

        """

    /// Row 45. With direct I/O on and sectors of either size, discards and zeros of the device give blocks back without a byte written:
    /// the volume has holes then, and what is beside them stays.
    @Test(arguments: [512, 4096]) func discardsAndZerosOfALoopDevice(sector: Int) throws {
        try scenario(
            Self.direct + """
            sector=$1; pool 512M; truncate -s 200M "$M/v"; loop=$(attach --direct-io=on --sector-size $sector "$M/v"); direct $loop $sector; queue=/sys/block/${loop#/dev/}/queue
            same "$(cat $queue/discard_granularity)" 4096 "unit of discards"; [ $(cat $queue/discard_max_bytes) -gt $((1 << 30)) ] && [ $(cat $queue/write_zeroes_max_bytes) -gt $((1 << 30)) ] || fail "no discards or zeros: $(cat $queue/*max_bytes)"
            head -c 64M /dev/urandom > model; dd if=model of=$loop bs=1M oflag=direct status=none; same "$(json written_bytes)" $((64 << 20)); same "$(stat -c %b "$M/v")" 131072; allocated=$(json allocated)
            # gone SECTORS COMMAND…: gives so much back, to the pool too, and nothing is written for it.
            gone() {
                local want=$1 before=$(stat -c %b "$M/v") pool=$(json allocated) written=$(json written_bytes); shift; "$@"
                same $((before - $(stat -c %b "$M/v"))) $want "sectors given back: $*"; same $((($(json written_bytes) - written))) 0 "bytes written: $*"
                [ $want -lt 100 ] || [ $((pool - $(json allocated))) -ge $((want * 512 - 65536)) ] || fail "$*: the pool gained $((pool - $(json allocated)))"
            }
            zero() { dd if=/dev/zero of=model bs=$sector seek=$(($1 / sector)) count=$(($2 / sector)) conv=notrunc status=none; }
            gone 16384 blkdiscard --offset 1M --length 8M $loop; zero $((1 << 20)) $((8 << 20)); gone 16384 blkdiscard --zeroout --offset 16M --length 8M $loop; zero $((16 << 20)) $((8 << 20))
            # Of one block and parts of its neighbours; with sectors of 4 KiB there are no parts.
            edge=$((sector % 4096)) whole=$((sector == 512 ? 8 : 24)); size=$((3 * 4096 - 2 * edge))
            for way in --force --zeroout; do
                case $way in --force) at=9000;; *) at=9100;; esac
                before=$(stat -c %b "$M/v"); blkdiscard $way --offset $((at * 4096 + edge)) --length $size $loop; same $((before - $(stat -c %b "$M/v"))) $whole "sectors given back by blkdiscard $way"
            done; zero $((9100 * 4096 + edge)) $size
            sync $loop; echo 3 > /proc/sys/vm/drop_caches
            python3 - $loop "$M/v" model <<'EOF'
            import os, sys
            device, volume, model = (os.open(name, os.O_RDONLY) for name in sys.argv[1:])
            for at in range(0, 64 << 20, 4096):
                want = os.pread(model, 4096, at)
                # What a discard leaves there may be either.
                if at // 4096 in (9000, 9001, 9002): continue
                assert os.pread(device, 4096, at) == want == os.pread(volume, 4096, at), at
            holes = [os.lseek(volume, at, os.SEEK_DATA) for at in (1 << 20, 16 << 20)]
            assert holes == [9 << 20, 24 << 20], holes
            EOF
            gone $(stat -c %b "$M/v") blkdiscard $loop; same "$(stat -c %b "$M/v")" 0; losetup -d $loop; rm "$M/v"; freed; unmount_pool; clean
            """, ["\(sector)"], tools: ["blkdiscard"])
    }

    /// A filesystem on a volume, snapshot and clone: both show the old contents exactly, and all three are sound.
    @Test(arguments: ["ext4", "xfs", "btrfs"], [512, 4096])
    func filesystemOnVolumeSnapshotAndClone(filesystem: String, sector: Int) throws {
        try scenario(
            Self.direct + """
            fs=$1 sector=$2
            pool 16G; cd "$M"; mkdir "$T/a" "$T/b" "$T/c"
            check_fs() { case $fs in ext4) e2fsck -fn "$1";; xfs) xfs_repair -n "$1";; btrfs) btrfs check "$1";; esac >"$T/fsck" 2>&1 || fail "fsck of $1: $(cat "$T/fsck")"; }
            sums() { (cd "$1"; find . -type f -print0 | sort -z | xargs -0 cksum | cksum); }
            truncate -s 32G root
            loop=$(attach --direct-io=on --sector-size $sector root); direct $loop $sector
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
            old=$(attach --sector-size $sector root@v1); new=$(attach --direct-io=on --sector-size $sector vm1); direct $new $sector
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
