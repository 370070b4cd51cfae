internal import Foundation
internal import TestSupport
import Testing

/// Damage to the pool's file, and to what it lies on, as a user meets it.
extension IntegrationTests {
    /// Finds structures by their magic, and overwrites them.
    private static let damage = """
        cat > "$T/damage.py" <<'END'
        # damage.py POOL KIND: overwrites one structure of that kind, or both copies, and prints where.
        import struct, sys
        f = open(sys.argv[1], "r+b"); kind = sys.argv[2]; data = f.read()
        blocks = [(at, data[at:at + 4]) for at in range(0, len(data), 4096)]
        nodes = [(at, data[at + 24], data[at + 25], struct.unpack_from("<Q", data, at + 8)[0], struct.unpack_from("<Q", data, at + 56)[0])
                 for at, magic in blocks if magic == b"VFND"]
        newest = max([epoch for _, _, _, _, epoch in nodes] + [0])
        def hit(*places):
            for at in places: f.seek(at); f.write(b"\\xa5" * 4096); print(kind, "at", at)
        superblocks = [at for at, magic in blocks if magic == b"VFSB"]
        epoch = lambda at: struct.unpack_from("<Q", data, at + 96)[0]
        if kind == "superblock": hit(max(superblocks, key=epoch))
        if kind == "bitmap": hit(max((at for at, magic in blocks if magic == b"VFBM"), key=lambda at: struct.unpack_from("<Q", data, at + 24)[0]))
        if kind == "zone": hit(next(at for at, magic in blocks if magic == b"VFZN"))
        if kind == "interior": hit(max((n for n in nodes if n[1] > 0 and n[2] == 0), key=lambda n: n[4])[0])
        # Each place of the catalog's newest node, and of all before.
        if kind == "catalog": hit(*[n[0] for n in nodes if n[2] == 1])
        if kind == "leaf": hit(max((n for n in nodes if n[1] == 0 and n[2] == 0), key=lambda n: n[4])[0])
        if kind == "data": hit(data.find(b"MARKED" + b"x" * 4000) // 4096 * 4096)
        END
        damage() { python3 "$T/damage.py" "$P" "$1"; }

        """

    /// One block that a volume, two snapshots and a clone share: all four are named, with the place in them.
    @Test func damageNamesAllThatHaveIt() throws {
        try scenario(
            Self.damage + """
            pool 64M; head -c 1M /dev/urandom > "$M/d"; python3 -c 'print("MARKED" + "x" * 4089)' | dd of="$M/d" bs=4096 seek=7 iflag=fullblock conv=notrunc status=none
            mkdir "$M/.ctl/snap/d/s1" "$M/.ctl/snap/d/s2"; ln -s d@s1 "$M/.ctl/clone/e"; unmount_pool; damage data; mount_pool
            same "$(cat "$M/.ctl/state")" ready; fails 1 bash -c "cat '$M/e' > /dev/null"; says 'Input/output error'; same "$(cat "$M/.ctl/state")" degraded
            grep 'read e ' "$M/.ctl/errors" | grep -q 'damaged data in the bytes [0-9]* to [0-9]* of e,' || fail "$(tail -1 "$M/.ctl/errors")"
            fails 4 "$V" scrub "$P"; for name in d d@s1 d@s2 e; do grep -q "^lost: $name: 4096 bytes at 28672" out || grep -q "^lost: $name: 4096 bytes at 28672" err || fail "$name: $(cat out err)"; done
            fails 4 "$V" check "$P" --data; for name in d d@s1 d@s2 e; do grep -q "error: $name: 4096 bytes at 28672 do not match" out || fail "$name: $(cat out)"; done
            unmount_pool; fails 4 "$V" check "$P" --data
            """)
    }

    /// A pool's file that is removed under its mount: said at once, not lost by an unmount, and copied.
    @Test func removedPoolFileIsNoticed() throws {
        try scenario(
            """
            pool 64M; head -c 1M /dev/urandom > "$M/v"; sum=$(md5sum < "$M/v"); rm "$P"; echo more > "$M/w"; same "$(cat "$M/.ctl/state")" degraded
            grep -q "^warning *the pool's file was removed" "$M/.ctl/stats" || fail "$(cat "$M/.ctl/stats")"
            fails 1 "$V" umount "$M"; says 'the pool.s file was removed'; from=$(grep -o '/proc/[0-9]*/fd/[0-9]*' "$M/.ctl/stats")
            sync -f "$M/v"; cp --sparse=always "$from" "$T/copy"; "$V" umount --force "$M" --json | grep -q volfs.umount/1; [ ! -e "$P" ]
            "$V" "$T/copy" "$M"; same "$(md5sum < "$M/v")" "$sum"; same "$(cat "$M/w")" more; same "$(cat "$M/.ctl/state")" ready; unmount_pool; "$V" check "$T/copy"
            """)
    }

    /// A pool's file that is cut under its mount: what is gone is an error of the device, and no unmount passes over it.
    @Test func cutPoolFileIsNoticed() throws {
        try scenario(
            """
            pool 512M; head -c 200M /dev/urandom > "$M/v"; unmount_pool; mount_pool -o direct; same "$(cat "$M/.ctl/state")" ready; truncate -s 100M "$P"
            fails 1 dd if="$M/v" of=/dev/null bs=1M; says 'Input/output error'; grep -q "read v errno=5: the pool's file has been cut to 104857600 bytes.*restore the file" "$M/.ctl/errors" || fail "$(tail -1 "$M/.ctl/errors")"
            same "$(cat "$M/.ctl/state")" degraded; grep -q "^warning *the pool's file was cut to 104857600 of 536870912 bytes" "$M/.ctl/stats" || fail "$(cat "$M/.ctl/stats")"
            fails 1 "$V" umount "$M"; says "the pool's file was cut"; "$V" umount --force "$M"
            """)
    }

    /// Each kind of damage: what check and repair say and return, what is lost, and that everything else is there.
    @Test func damageIsNamedAndRepaired() throws {
        try scenario(
            Self.damage + """
            fill() {
                rm -f "$P"; pool 64M
                head -c 8M /dev/urandom > "$M/a"; sync "$M/a"; mkdir "$M/.ctl/snap/a/s"; head -c 3M /dev/urandom > "$M/b"
                python3 -c 'print("MARKED" + "x" * 4089, end="")' | dd of="$M/b" bs=4095 seek=0 conv=notrunc status=none
                sums=$(cd "$M"; cksum a a@s b); unmount_pool
            }
            for kind in superblock bitmap zone interior; do
                # Checkpoints until bitmap pages are written, if it is they that are wanted.
                fill; cp "$P" "$T/good"
                damage $kind || { [ $kind = bitmap ] && echo "no page yet" && continue; fail "nothing to damage: $kind"; }
                cp "$P" "$T/before"
                "$V" repair "$P" --dry-run > "$T/out" && [ $kind != interior ] && [ $kind != bitmap ] && [ $kind != zone ] || true
                cmp "$P" "$T/before" || fail "$kind: a dry run changed the pool"
                got=0; "$V" repair "$P" > "$T/out" || got=$?
                [ $got = 1 ] || [ $got = 0 ] || fail "$kind: repair returned $got: $(cat "$T/out")"
                grep -q '^lost' "$T/out" && fail "$kind: something is lost: $(cat "$T/out")"
                clean; mount_pool; same "$(cd "$M"; cksum a a@s b)" "$sums" "after $kind"; unmount_pool
                echo "RESULT damage $kind: repair $got: $(head -1 "$T/out")"
            done
            # Mistakes that overwrite the beginning: nothing that a closed pool needs is there alone.
            fill; mkswap -q "$P"; "$V" repair "$P" > "$T/out" || true; clean; mount_pool; same "$(cd "$M"; cksum a a@s b)" "$sums" "after mkswap"; unmount_pool
            for count in 1 3 8 9; do
                fill; dd if=/dev/zero of="$P" bs=1M count=$count conv=notrunc status=none
                if [ $count -gt 1 ]; then fails 32 timeout 20 "$V" "$P" "$M"; fi
                if [ $count = 9 ]; then fails 8 "$V" repair "$P"; says 'not a volfs pool'; continue; fi
                if [ $count = 1 ]; then
                    for command in check 'check --data' 'repair -n'; do fails 4 "$V" $command "$P"; says 'one copy of a superblock is damaged, at byte'; done
                    cp "$P" "$T/scrubbed"; "$V" scrub "$T/scrubbed" > "$T/out"; says '^clean.* [1-9][0-9]* copies made whole'; "$V" check "$T/scrubbed"
                else
                    says 'volfs repair -n'
                fi
                fails 1 "$V" repair "$P"
                [ $count = 1 ] || says 'was found by a search'
                clean; mount_pool; same "$(cd "$M"; cksum a a@s b)" "$sums" "without its first $count MiB"; unmount_pool
            done
            # Where nothing tells of any volume, that is not repaired without being asked for.
            fill; for name in c d e; do mount_pool; head -c 64K /dev/urandom > "$M/$name"; unmount_pool; done
            damage catalog; cp "$P" "$T/before"
            fails 4 "$V" repair "$P"; says 'whole volumes would be lost, and nothing was written'; says 'volfs repair --force'; cmp "$P" "$T/before"; ! grep '^repaired' "$T/out" || fail "it says that it repaired"
            fails 1 "$V" repair "$P" --force; says 'repaired'; clean; same "$("$V" list "$P" -H | wc -l)" 0
            fill; damage leaf
            fails 4 "$V" check "$P"; says 'node above block'
            fails 4 "$V" repair "$P" -n; says 'lost: '; fails 1 "$V" repair "$P"; says 'repaired'
            clean; mount_pool
            lost=0; for name in a b a@s; do cat "$M/$name" >/dev/null 2>&1 || lost=$((lost + 1)); done
            [ $lost -ge 1 ] || fail "the lost leaf reads as something"
            fails 4 "$V" scrub "$P"; says 'lost: .*bytes at'
            truncate -s 0 "$M/b"; rm "$M/b"; unmount_pool
            fill; damage data; mount_pool
            fails 1 cat "$M/b"; says 'Input/output error'
            tail -3 "$M/.ctl/errors" | grep -q 'damaged data in the bytes' || fail "errors does not say it: $(cat "$M/.ctl/errors")"
            same "$(cd "$M"; cksum a a@s)" "$(echo "$sums" | head -2)" "others beside damaged data"
            fails 4 "$V" scrub "$P"; says 'lost: b: 4096 bytes at 0'
            fails 4 "$V" check "$M" --data; says 'do not match'
            dd if=/dev/zero of="$M/b" bs=4096 count=1 conv=notrunc status=none; "$V" scrub "$P" | grep '^clean'
            unmount_pool
            """, seconds: 300)
    }

    /// Ended by a signal before it writes, a repair says so, and has changed nothing; the next one is not disturbed by it.
    @Test func interruptedRepairChangesNothing() throws {
        try scenario(
            """
            pool 64M; head -c 1M /dev/urandom > "$M/a"; unmount_pool; dd if=/dev/zero of="$P" bs=1M count=1 conv=notrunc status=none; cp "$P" before
            for signal in INT TERM; do
                env --default-signal=INT,TERM strace -f -o /dev/null -e trace=pread64 -e inject=pread64:delay_enter=200000 "$V" repair "$P" --json 2> said & tracer=$!
                until child=$(pgrep -P $tracer volfs) && ls -l /proc/$child/fd 2> /dev/null | grep -q data.pool; do sleep 0.02; done
                kill -$signal $child; got=0; wait $tracer || got=$?; same $got 32 $signal; cmp "$P" before
                python3 -c 'import json; o = json.load(open("said")); assert (o["errno"], o["code"], o["message"]) == ("EINTR", 32, "interrupted"), o'
            done
            fails 1 "$V" repair "$P"; says '^repaired'; clean
            """, tools: ["strace", "pgrep"])
    }

    /// A scrub of a mounted pool makes a damaged copy whole; with --start it goes on by itself.
    @Test func scrubOfMountedPool() throws {
        try scenario(
            Self.damage + """
            pool 64M; head -c 8M /dev/urandom > "$M/a"; unmount_pool
            damage interior; fails 4 "$V" check "$P"; says 'one damaged copy'
            mount_pool; sum=$(cksum < "$M/a"); damage zone; fails 4 "$V" check "$M"; says 'zone header at byte .* is damaged'
            "$V" scrub "$M" --start; fails 8 "$V" scrub "$P" --start || true
            "$V" scrub "$P" --wait | tee "$T/report" | grep '^clean'; grep -q ' 2 copies made whole' "$T/report" || fail "$(cat "$T/report")"
            same "$(cksum < "$M/a")" "$sum"; "$V" check "$M" --data | grep '^clean'
            mkdir "$M/.ctl/job/check"; while [ "$(cat "$M/.ctl/job/check/state")" = running ]; do sleep 0.05; done
            same "$(cat "$M/.ctl/job/check/state")" clean; rmdir "$M/.ctl/job/check"
            same "$(ls "$M/.ctl/job" | wc -l)" 0
            unmount_pool; clean
            mount_pool; kill -9 $(daemon); for command in check scrub; do until fails 8 "$V" $command "$M" && grep -q 'its daemon is gone; clear the dead mount with: volfs umount' out; do sleep 0.05; done; done; "$V" umount "$M"
            """)
    }

    /// The pool is all that is on a full host: it is mounted, also after a kill, says so, takes snapshots and deletes, and what is
    /// deleted can be written at once.
    @Test func deletingMakesRoomOnAFullHost() throws {
        try scenario(
            """
            mkdir "$T/host"; truncate -s 600M "$T/host.img"; mkfs.ext4 -q -F -m 0 "$T/host.img"; hostloop=$(attach "$T/host.img"); mount "$hostloop" "$T/host"
            P=$T/host/data.pool; pool 2G; truncate -s 1500M "$M/root"
            dd if=/dev/urandom of="$M/root" bs=1M count=300 conv=notrunc,fsync status=none; sum=$(cksum < "$M/root")
            before=$(df --output=avail "$M" | tail -1); [ "$before" -lt 300000 ] || fail "df says $before KiB on a host that has less"
            dd if=/dev/zero of="$T/host/fill" bs=4k status=none 2> /dev/null && fail "the host is not full"
            fails 1 dd if=/dev/urandom of="$M/new" bs=1M count=300 conv=fsync; says 'no space left'
            grep 'errno=28' "$M/.ctl/errors" | grep -q 'no room left' || fail "$(cat "$M/.ctl/errors")"; same "$(cat "$M/.ctl/state")" full
            mkdir "$M/.ctl/snap/root/s"; kill -9 $(daemon); sleep 0.3
            mount_pool; same "$(cksum < "$M/root@s")" "$sum"; same "$(cksum < "$M/root")" "$sum"
            rmdir "$M/.ctl/snap/root/s"; rm "$M/root" "$M/new"; head -c 250M /dev/urandom > "$M/again"; sync "$M/again"; sum=$(cksum < "$M/again")
            kill -9 $(daemon); sleep 0.3; mount_pool; same "$(cksum < "$M/again")" "$sum"; rm "$M/again"; freed; unmount_pool; clean; mount_pool
            for _ in $(seq 100); do [ "$(du -m "$P" | cut -f1)" -lt 120 ] && break; sleep 0.1; done; unmount_pool
            used=$(du -m "$P" | cut -f1); [ "$used" -lt 120 ] || fail "$used MiB of the host for nothing"
            umount "$T/host"; losetup -d "$hostloop"
            """, tools: ["mkfs.ext4"], seconds: 180)
    }

    /// The host's filesystem is full: what is refused says so, what was acknowledged stays, and the pool goes on once there
    /// is space.
    @Test func hostFilesystemFull() throws {
        try scenario(
            """
            truncate -s 96M "$T/host.img"; mkfs.ext4 -q "$T/host.img"; mkdir "$T/host"
            mount -o loop "$T/host.img" "$T/host"; P=$T/host/data.pool
            "$V" create "$P" --size 1G; fallocate -l 20M "$T/host/filler"; mount_pool; "$V" new "$M" disk 512M; pid=$(daemon)
            cat > "$T/fill.py" <<'END'
            # Writes numbered blocks until one is refused twice, and prints how many were acknowledged and synced.
            import errno, os, struct, sys
            f = os.open(sys.argv[1], os.O_WRONLY); n = 0; refused = 0; synced = 0
            while refused < 2 and n < 100000:
                try:
                    os.pwrite(f, struct.pack("<Q", n + 1) * 512, n * 4096); n += 1
                    if n % 256 == 0: os.fsync(f); synced = n
                except OSError as e:
                    refused += 1; assert e.errno in (errno.ENOSPC, errno.EIO), e
            print(n, synced)
            END
            read -r acknowledged synced < <(python3 "$T/fill.py" "$M/disk")
            [ "$acknowledged" -gt 5000 ] && [ "$acknowledged" -lt 30000 ] || fail "$acknowledged blocks before the host was full"
            state=$(cat "$M/.ctl/state"); case $state in full|degraded) ;; *) fail "state $state" ;; esac
            grep -qE 'has no room left; make some there|file failed; unmount and mount again' "$M/.ctl/errors" || fail "no reason given: $(cat "$M/.ctl/errors")"
            rm "$T/host/filler"
            got=0; "$V" umount "$M" || got=$?
            ended $pid
            mount_pool
            python3 - "$M/disk" $synced <<'END'
            import os, struct, sys
            f = os.open(sys.argv[1], os.O_RDONLY)
            for n in range(int(sys.argv[2])):
                assert os.pread(f, 4096, n * 4096) == struct.pack("<Q", n + 1) * 512, n
            END
            echo more > "$M/more"; sync "$M/more"; same "$(cat "$M/more")" more
            unmount_pool; clean
            echo "RESULT host full after $acknowledged blocks, state $state: $synced synced blocks intact"
            """, tools: ["mkfs.ext4"])
    }

    /// The host's disk fails while it writes back: fdatasync(2) says so once, and reads go on as if nothing had happened. The
    /// pool suspends and says so everywhere; opened again, it has every block that was synced.
    @Test func failedWritebackSuspendsThePool() throws {
        try scenario(
            """
            mkdir "$T/ram" "$T/host"; mount -t tmpfs -o size=48M none "$T/ram"
            truncate -s 256M "$T/ram/host.img"; mkfs.ext4 -q -E lazy_itable_init=1 "$T/ram/host.img"
            mount -o loop,errors=continue "$T/ram/host.img" "$T/host"; P=$T/host/data.pool
            "$V" create "$P" --size 200M; "$V" "$P" "$M" -f 2>"$T/daemon.log" & daemon=$!
            for _ in $(seq 100); do [ -e "$M/.ctl/state" ] && break; sleep 0.1; done
            "$V" new "$M" disk 128M
            cat > "$T/fill.py" <<'END'
            # Writes and syncs numbered blocks until a sync fails; prints how many were synced.
            import os, struct, sys
            f = os.open(sys.argv[1], os.O_WRONLY); n = 0; synced = 0
            try:
                while n < 30000:
                    os.pwrite(f, struct.pack("<Q", n + 1) * 512, n * 4096); n += 1
                    if n % 64 == 0: os.fsync(f); synced = n
            except OSError: pass
            print(synced)
            END
            synced=$(python3 "$T/fill.py" "$M/disk")
            [ "$synced" -gt 64 ] && [ "$synced" -lt 29000 ] || fail "$synced blocks synced"
            same "$(cat "$M/.ctl/state")" degraded
            grep -q 'errno=5' "$M/.ctl/errors" || fail "errors: $(cat "$M/.ctl/errors")"
            fails 1 touch "$M/new"; fails 1 mkdir "$M/.ctl/snap/disk/s"
            dd if="$M/disk" of=/dev/null bs=4k count=1 status=none
            fails 9 "$V" destroy "$M" disk -rn; says 'read-only after a failed write'
            # What is lost is said by the unmount, too.
            fails 1 "$V" umount "$M"; says "data.pool: unmounted, but a write .* failed before, and what was not stored then is lost; mount it again"; got=0; wait $daemon || got=$?
            same $got 3 "exit status of the daemon"
            grep -q 'nothing is written any more.*errno' "$T/daemon.log" || fail "the log: $(cat "$T/daemon.log")"
            mount -o remount,size=400M "$T/ram"; sync -f "$T/host" 2>/dev/null || true
            umount "$T/host"; e2fsck -fy "$T/ram/host.img" >/dev/null 2>&1 || true; mount -o loop "$T/ram/host.img" "$T/host"
            mount_pool
            python3 - "$M/disk" $synced <<'END'
            import os, struct, sys
            f = os.open(sys.argv[1], os.O_RDONLY)
            for n in range(int(sys.argv[2])):
                assert os.pread(f, 4096, n * 4096) == struct.pack("<Q", n + 1) * 512, n
            END
            unmount_pool; clean; umount "$T/host"
            echo "RESULT failed writeback after $synced synced blocks, all intact: $(grep -c . "$T/daemon.log") lines in the log: $(head -1 "$T/daemon.log")"
            """, tools: ["mkfs.ext4"])
    }

    /// scripts/soak, a few rounds of it: kills in traffic, in recovery, in umount, a second daemon, a lost pool file.
    /// SOAK_ROUNDS sets how many.
    @Test func soak() throws {
        let rounds = ProcessInfo.processInfo.environment["SOAK_ROUNDS"] ?? "10"
        try scenario(
            """
            VOLFS_BINARY=$V "$2/scripts/soak" --rounds $1 --directory "$T" | sed -n 's/^RESULT/RESULT soak/p;t;p'
            """, [rounds, Scenario.root.path], seconds: 180 + 15 * (Int(rounds) ?? 10))
    }
}
