internal import TestSupport
import Testing

extension IntegrationTests {
    /// fstrim gives space back at once; deleting everything gives back every byte.
    @Test func trimAndDeleteGiveSpaceBack() throws {
        try scenario(
            """
            pool 8G; start=$(json allocated); cd "$M"; mkdir "$T/a"
            truncate -s 4G root; loop=$(attach --direct-io=on root); mkfs.ext4 -q $loop; mount $loop "$T/a"
            head -c 600M /dev/urandom > "$T/a/big"; sync -f "$T/a"
            used=$(json allocated); blocks=$(stat -c %b root)
            rm "$T/a/big"; sync -f "$T/a"; fstrim "$T/a"
            [ $(json allocated) -lt $((used - 590 * 1048576)) ] || fail "allocated $used -> $(json allocated)"
            [ $(stat -c %b root) -lt $((blocks - 590 * 2048)) ] || fail "du did not go down"
            umount "$T/a"; losetup -d $loop
            mkdir .ctl/snap/root/s1; dd if=/dev/urandom of=root bs=1M count=64 seek=100 conv=notrunc status=none
            ln -s root@s1 .ctl/clone/c1; ln -s root .ctl/clone/c2; dd if=/dev/urandom of=c1 bs=1M count=32 conv=notrunc status=none
            mkdir .ctl/snap/c1/x; rmdir .ctl/snap/root/s1; rm root; rmdir .ctl/snap/c1/x; rm c2 c1
            freed; emptied $start
            cd /; unmount_pool; clean
            same "$("$V" info --json "$P" | python3 -c 'import json,sys; print(json.load(sys.stdin)["allocated"])')" "$start"
            """, tools: ["mkfs.ext4", "fstrim"])
    }

    /// A thousand clones of one image cost metadata only, are quick to make, and outlive the image.
    @Test func thousandClonesOfGoldenImage() throws {
        try scenario(
            """
            pool 8G; cd "$M"
            truncate -s 10G golden
            python3 - <<'END'
            import os
            f = os.open("golden", os.O_RDWR)
            for n in range(1024):
                os.pwrite(f, os.urandom(1 << 20), n * 10 << 20)
            os.fsync(f)
            END
            mkdir .ctl/snap/golden/v1
            sum=$(dd if=golden@v1 bs=1M count=2000 status=none | cksum)
            before=$(json allocated)
            # The best of four batches, so that what else the machine does has a say in one of them only.
            rate=0 base=0
            for batch in 0 1 2 3; do
                begin=$(date +%s%N); for i in $(seq 250); do ln -s golden@v1 .ctl/clone/vm$((batch * 250 + i)); done
                now=$((250 * 1000000000 / ($(date +%s%N) - begin))); [ $now -lt $rate ] || rate=$now
                begin=$(date +%s%N); for i in $(seq 250); do ln -s golden@v1 "$T/vm$((batch * 250 + i))"; done
                now=$((250 * 1000000000 / ($(date +%s%N) - begin))); [ $now -lt $base ] || base=$now
            done
            echo "RESULT clones by ln -s: $rate a second (plain symlinks of the host: $base)"
            # Where the disk is busy with others a clone, which is durable, is measured with links that are, too.
            if [ $((3 * rate)) -lt $base ]; then
                begin=$(date +%s%N); for i in $(seq 250); do ln -s golden@v1 "$T/durable$i"; sync "$T"; done; now=$((250 * 1000000000 / ($(date +%s%N) - begin)))
                echo "RESULT durable symlinks of the host: $now a second"; [ $((2 * rate)) -ge $now ] || fail "only $rate clones a second"
            fi
            sync -f .; sleep 6
            grown=$(($(json allocated) - before))
            echo "RESULT 1000 clones take $grown bytes more, of $before"
            [ $grown -lt $((before / 100)) ] || fail "clones took $grown bytes"
            rmdir .ctl/snap/golden/v1; rm golden
            for i in 1 7 500 1000; do same "$(dd if=vm$i bs=1M count=2000 status=none | cksum)" "$sum" "vm$i"; done
            echo different | dd of=vm7 conv=notrunc status=none; same "$(head -c 9 vm7)" different
            same "$(dd if=vm8 bs=1M count=2000 status=none | cksum)" "$sum" "vm8"
            cd /; unmount_pool; clean; mount_pool; cd "$M"
            rm vm*; freed; emptied 0
            """, seconds: 240)
    }

    /// A full pool says whether it is it or its host that has no room, and why it did not grow by itself; and is ready again when there is room.
    @Test func fullSaysWhatHasNoRoom() throws {
        try scenario(
            """
            field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
            mkdir "$T/host"; mount -t tmpfs -o size=40M none "$T/host"; P=$T/host/data.pool; pool 256M; same "$(field full < "$M/.ctl/stats.json")" None
            "$V" events "$M" > "$T/events" & reader=$!; until ls -l /proc/$reader/fd 2>/dev/null | grep -q ctl/events; do sleep 0.05; done
            fails 1 dd if=/dev/urandom of="$M/v" bs=1M count=100; why="the filesystem that the pool's file is on has [0-9.]+ [KM]?i?B left, while the pool itself has 2[0-9]+.[0-9] MiB free"
            same "$(cat "$M/.ctl/state")" full; "$V" status "$M" > "$T/out"; says "^state +full: $why; make room there, or delete snapshots or volumes here"
            "$V" stats "$P" > "$T/out"; says "^full +$why"; "$V" status --json "$M" | field reason > "$T/out"; says "^$why"; field full < "$M/.ctl/stats.json" > "$T/out"; says "^$why"
            for n in $(seq 200); do grep -q 'state.*full' "$T/events" && break; sleep 0.05; done; grep -qE "$why" "$T/events" || fail "$(cat "$T/events")"
            mount -o remount,size=80M "$T/host"; same "$(cat "$M/.ctl/state")" ready; same "$(field full < "$M/.ctl/stats.json")" None; "$V" status --json "$M" | field reason | grep -qx None
            rm "$M/v"; freed; unmount_pool; wait $reader; umount "$T/host"
            # The pool itself, which would grow.
            mount -t tmpfs -o size=36M none "$T/host"; "$V" create "$P" --size 24M --autogrow 16M; mount_pool; fails 1 dd if=/dev/urandom of="$M/v" bs=1M count=100
            why='it does not grow by its autogrow of 16.0 MiB, as the filesystem that its file is on has only [0-9.]+ [KM]?i?B for that'; tail -1 "$M/.ctl/errors" | grep -qE "errno=28: the pool is full: .*$why" || fail "$(tail -1 "$M/.ctl/errors")"
            same "$(cat "$M/.ctl/state")" full; "$V" status "$M" > "$T/out"; says "^state +full: the pool has .* available, which is less than was wanted last; .*: volfs grow $M .SIZE; $why"
            unmount_pool; umount "$T/host"
            """)
    }

    /// What was refused because it asked for more than there is makes no pool full that has plenty; a write that found no room does, until there is some.
    @Test func refusedPromiseMakesNoPoolFull() throws {
        try scenario(
            """
            pool 256M; "$V" new "$M" v 1M; fails 7 "$V" set "$M" v reservation=1T; same "$(cat "$M/.ctl/state")" ready; fails 1 fallocate -l 1T "$M/w"; same "$(cat "$M/.ctl/state")" ready
            fails 1 truncate -s 8P "$M/.ctl/size"; fails 1 bash -c 'echo 200T > "$0/.ctl/size"' "$M"; same "$(cat "$M/.ctl/state")" ready; grep -q 'pool_state{state="full"} 0' "$M/.ctl/metrics"
            fails 1 dd if=/dev/urandom of="$M/v" bs=1M count=400; same "$(cat "$M/.ctl/state")" full; rm "$M/v"; freed; same "$(cat "$M/.ctl/state")" ready; unmount_pool; clean
            """)
    }

    /// A pool can grow until it has as many zones as its format can number; then it says so, and nothing has changed, mounted or not.
    @Test func growthEndsWithTheLastZone() throws {
        try scenario(
            """
            mkdir "$T/host"; mount -t tmpfs -o size=1G none "$T/host"; P=$T/host/data.pool; pool 16M; echo data > "$M/v"
            cat > grow.py <<'END'
            import os, sys
            size, count = int(open(sys.argv[1]).read()), 0
            while True:
                f = os.open(sys.argv[1], os.O_WRONLY)
                try: os.write(f, b"%d" % (size + (4 << 20)))
                except OSError as e: sys.exit("%d %s" % (count, os.strerror(e.errno)))
                finally: os.close(f)
                size += 4 << 20; count += 1
            END
            # What is too much for any pool says nothing of zones while there are some.
            for huge in 300T 900T; do for form in "$M" "$P"; do if "$V" grow "$form" $huge > "$T/out" 2>&1; then fail "$form grew by $huge"; fi; says 'a pool has about 2[0-9]*.[0-9] TiB at the most'; same "$(stat -c %s "$P")" $((16 << 20)); done; done
            fails 1 python3 grow.py "$M/.ctl/size"; says '^8191 No space left'; why='the pool has grown as often as its format can note, and has 8192 zones; copy what it has into a new pool: volfs copy'
            grep -q "write .ctl/size errno=28: $why" "$M/.ctl/errors" || fail "$(tail -1 "$M/.ctl/errors")"; size=$(((16 << 20) + 8191 * (4 << 20)))
            unchanged() { same "$(stat -c %s "$P")" $size "the file"; same "$("$V" status "$P" --json | grep -c degraded || true)" 0; }
            same "$(cat "$M/.ctl/size")" $size; unchanged; fails 7 "$V" grow "$M" +1G; says "$why"; unchanged; same "$(cat "$M/v")" data; echo more > "$M/w"; "$V" snapshot "$M" w@s; unmount_pool
            fails 7 "$V" grow "$P" +1G; says "$why"; unchanged; clean; mount_pool -o autogrow=16M; same "$(cat "$M/w@s")" more
            # Neither by itself; a zone less is a zone to be had.
            fails 1 fallocate -l 40G "$M/full"; unchanged; "$V" shrink "$M" -4M; "$V" grow "$M" +4M; same "$(cat "$M/.ctl/size")" $size; unmount_pool; clean
            # What no pool can be is not made; nor is a file for it.
            rm "$P"; for huge in 300T 8000P; do fails 2 "$V" create "$P" --size $huge; says 'a pool has about 251.0 TiB at the most'; [ ! -e "$P" ] || fail "a file"; done; umount "$T/host"
            """, seconds: 240)
    }

    /// A full pool says so before it changes anything, and everything that gives space back still works (POOL-02).
    @Test func fullPoolRefusesCleanlyAndRecovers() throws {
        try scenario(
            """
            pool 256M; cd "$M"
            truncate -s 64M keep; dd if=/dev/urandom of=keep bs=1M count=16 conv=notrunc status=none
            mkdir .ctl/snap/keep/s; sum=$(cksum < keep@s)
            truncate -s 4G big; mkdir .ctl/snap/big/empty
            python3 - <<'END'
            import errno, os, mmap
            f = os.open("big", os.O_RDWR | os.O_DIRECT)
            def fill(size):
                buffer = mmap.mmap(-1, size); offset = os.lseek(f, 0, os.SEEK_END) and 0
                global at
                while True:
                    buffer.seek(0); buffer.write(os.urandom(size))
                    try:
                        n = os.pwrite(f, buffer, at)
                        assert n == size, "short write %d" % n
                    except OSError as e:
                        assert e.errno == errno.ENOSPC, e
                        back = os.pread(f, size, at) if False else None
                        # Nothing of the refused write is there: the range is still a hole.
                        try:
                            data = os.lseek(f, at, os.SEEK_DATA)
                            assert data >= at + size, "part of a refused write is there"
                        except OSError as e2:
                            assert e2.errno == errno.ENXIO
                        return
                    at += size
            at = 0
            fill(1 << 20); big = at
            fill(24576); fill(4096)
            print("filled", at)
            END
            grep -q ENOSPC .ctl/errors || grep -q 'errno=28' .ctl/errors || fail "no reason given"
            same "$(cksum < keep@s)" "$sum" "snapshot on a full pool"
            cat big > /dev/null
            fails 0 rmdir .ctl/snap/big/empty
            fails 0 fallocate --punch-hole --offset 0 --length 8M big
            echo again | dd of=keep bs=1M seek=2 conv=notrunc status=none
            fails 0 rm big; freed
            dd if=/dev/urandom of=keep bs=1M count=30 conv=notrunc status=none
            cd /; unmount_pool; clean; mount_pool; same "$(cksum < "$M/keep@s")" "$sum" "snapshot after reopening"
            """, tools: ["fallocate"])
    }

    /// Row 13. Taking a snapshot costs the same with ten thousand of them as with none. Opening the pool reads of each only its record in
    /// the catalog, seven to a block of 4 KiB, and none of its map; recovery reads nothing of them, as its length is that of the journal.
    @Test func snapshotCostDoesNotGrow() throws {
        try scenario(
            """
            pool 8G; cd "$M"; truncate -s 4G root
            python3 - <<'END'
            import os, time
            f = os.open("root", os.O_RDWR)
            # Something in each node of the map.
            for n in range(4096): os.pwrite(f, os.urandom(4096), n << 20)
            os.fsync(f)
            times = []
            for n in range(10000):
                begin = time.perf_counter(); os.mkdir(".ctl/snap/root/s%05d" % n); times.append(time.perf_counter() - begin)
            median = lambda x: sorted(x)[len(x) // 2]
            # The best of ten hundreds: whatever else runs disturbs some of them.
            best = lambda x: min(median(x[n:n + 100]) for n in range(0, len(x), 100))
            first, last = best(times[:1000]), best(times[-1000:])
            print("RESULT snapshot: best hundred of the first thousand %.0f us, of the last %.0f us, ratio %.2f" % (first * 1e6, last * 1e6, last / first))
            assert last <= 1.5 * first, "snapshots grow dearer"
            END
            cd /; unmount_pool
            "$V" create "$T/empty.pool" --size 8G; mkdir "$T/empty"
            t() { local begin=$(date +%s%N); "$@" >/dev/null; echo $((($(date +%s%N) - begin) / 1000000)); }
            full=$(t mount_pool); empty=$(t "$V" "$T/empty.pool" "$T/empty"); "$V" umount "$T/empty"
            echo "RESULT mounting with 10000 snapshots $full ms, empty $empty ms"
            [ $((full - empty)) -lt 500 ] || fail "mounting takes $full ms, empty $empty ms"
            same "$(ls "$M/.ctl/snap/root" | wc -l)" 10000; unmount_pool
            # Recovery reads the journal, and that is as long for the one as for the other.
            opening() {
                mount_pool; awk '/^rchar/ { print $2 }' /proc/$(daemon)/io > "$T/read"; for n in $(seq 20); do mkdir "$M/.ctl/snap/root/k$n"; done
                pid=$(daemon); kill -9 $pid; ended $pid; mount_pool; [ -e "$M/root@k20" ] || fail "a snapshot is gone"
                read -r clean < "$T/read"; killed=$(($(awk '/^rchar/ { print $2 }' /proc/$(daemon)/io) - clean)); unmount_pool
            }
            opening; with=$clean recovery=$killed; P=$T/empty.pool; mount_pool; truncate -s 4G "$M/root"; unmount_pool; opening
            echo "RESULT opening reads $with bytes with 10000 snapshots, $clean without; after a kill $recovery and $killed more"
            [ $recovery -le $((killed + 65536)) ] || fail "recovery reads $recovery bytes with 10000 snapshots, $killed without"
            # The leaves with the records, and for what is above them and comes and goes besides an eighth of a megabyte.
            [ $((with - clean)) -le $((10000 / 7 * 4096 + (1 << 17))) ] || fail "opening reads $with bytes with 10000 snapshots, $clean without"
            """, seconds: 400)
    }
}

extension IntegrationTests {
    /// Row 11. fallocate without flags: nothing is written, nobody else gets the space, and no write into it is refused, also after a
    /// snapshot and a kill. What cannot be promised is refused at once. As a mount option, fallocate is no more than a size.
    @Test func reservationIsKept() throws {
        try scenario(
            """
            pool 256M; before=$(json allocated)
            fallocate --length 60M "$M/v"; same "$(stat -c %s "$M/v")" $((60 << 20)); same "$(du --block-size=1 "$M/v" | cut -f1)" 0
            [ $(($(json allocated) - before)) -lt 1000000 ] || fail "reserving wrote $(json allocated)"
            same "$(cat "$M/.ctl/vol/v/prop/reserved")" $((60 << 20)); same "$(getfattr --only-values -n user.volfs.reserved "$M/v")" $((60 << 20))
            fails 1 fallocate --length 300M "$M/big"; says 'no space left'; grep -q 'kept for reserved ranges' "$M/.ctl/errors"; rm "$M/big"
            "$V" new "$M" other 1G; fails 1 dd if=/dev/urandom of="$M/other" bs=1M conv=notrunc status=none; says 'no space left'
            kept='kept for reserved ranges of v: echo 0 > .ctl/vol/v/prop/reservation'; tail -1 "$M/.ctl/errors" | grep -q " write other errno=28: .*$kept" || fail "$(tail -1 "$M/.ctl/errors")"
            head -c 60M /dev/urandom > image; dd if=image of="$M/v" bs=1M conv=notrunc,fsync status=none; cmp image "$M/v"
            head -c 60M /dev/urandom > image; dd if=image of="$M/v" bs=64K conv=notrunc status=none; cmp image "$M/v"
            again='v has 62914560 bytes reserved, for which a snapshot, clone or rollback needs the same again: echo 0 > .ctl/vol/v/prop/reservation'
            for command in 'mkdir .ctl/snap/v/s' 'mkdir .ctl/snap/v@s' 'mkdir .ctl/snap/other,v@s' 'mkdir .ctl/group/all/snap/s' 'ln -s v .ctl/clone/c'; do
                fails 1 env --chdir="$M" $command; says 'no space left'; tail -1 "$M/.ctl/errors" | grep -q " errno=28: .*$again" || fail "$command: $(tail -1 "$M/.ctl/errors")"
            done
            fallocate --punch-hole --offset 0 --length 20M "$M/v"; fails 1 dd if=/dev/urandom of="$M/other" bs=1M count=16 seek=300 conv=notrunc status=none
            kill -9 $(daemon); sleep 0.3; clean; mount_pool
            dd if=image of="$M/v" bs=1M conv=notrunc status=none; cmp image "$M/v"
            fallocate --punch-hole --offset 0 --length 200M "$M/other"; freed; sleep 0.5
            mkdir "$M/.ctl/snap/v/s"; fails 1 dd if=/dev/urandom of="$M/other" bs=1M conv=notrunc status=none
            head -c 60M /dev/urandom > image; dd if=image of="$M/v" bs=1M conv=notrunc status=none; cmp image "$M/v"
            echo 0 > "$M/.ctl/vol/v/prop/reservation"; same "$(cat "$M/.ctl/vol/v/prop/reserved")" 0
            rmdir "$M/.ctl/snap/v/s"; rm "$M/other" "$M/v"; freed; unmount_pool; clean
            mount_pool -o fallocate=ignore; fallocate --length 1G "$M/thin"; same "$(stat -c %s "$M/thin")" $((1 << 30)); same "$(cat "$M/.ctl/vol/thin/prop/reserved")" 0
            unmount_pool
            """, tools: ["getfattr"])
    }
}
