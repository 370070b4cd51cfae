internal import TestSupport
import Testing

extension IntegrationTests {
    /// Plain tools copy volumes by sharing their blocks: at once, for the room of a map, hole for hole. Source and copy go their
    /// own ways; either can go; and when both are gone every byte is back. What cannot be shared is copied, and is as right.
    @Test func copiesShareBlocks() throws {
        try scenario(
            """
            pool 8G; start=$(json allocated); cd "$M"; truncate -s 1G golden
            python3 - <<'END'
            import os, random
            random.seed(1)
            f = os.open("golden", os.O_RDWR)
            for n in range(0, 1024, 4): os.pwrite(f, os.urandom(1 << 20), n << 20)
            # Holes within a leaf too.
            for n in range(2000): os.pwrite(f, bytes(4096), random.randrange(1 << 18) * 4096)
            END
            sync -f .; before=$(json allocated); blocks=$(stat -c %b golden)
            begin=$(date +%s%N); cat golden > copy; took=$((($(date +%s%N) - begin) / 1000000))
            cmp golden copy; same "$(stat -c %b copy)" "$blocks" "blocks of the copy"
            sync -f .; grown=$(($(json allocated) - before))
            echo "RESULT cat made a copy of $((blocks / 2048)) MiB in $took ms and $grown bytes"
            [ $grown -lt $((blocks * 512 / 50)) ] || fail "a copy took $grown bytes"
            [ $(json shared_bytes) -ge $((blocks * 512)) ] || fail "shared $(json shared_bytes)"
            [ $(json share_table_bytes) -gt 0 ]
            grep -q '^volfs_shared_bytes_total [1-9]' .ctl/metrics; grep -q '^volfs_share_table_bytes [1-9]' .ctl/metrics; grep -q '^shared by copies *[1-9]' .ctl/stats

            mkdir .ctl/snap/golden/s; cp --sparse=never golden@s dense; cmp golden dense; cp golden@s plain; cmp golden plain
            same "$(stat -c %b dense)" "$blocks"; dd if=golden of=dd bs=1M status=none; cmp golden dd
            cp .ctl/README readme; cmp .ctl/README readme; : > none; cat none > none2; same "$(stat -c %s none2)" 0

            # Each goes its own way; what was copied from goes too.
            head -c 3M /dev/urandom | tee "$T/new" | dd of=golden bs=1M seek=8 conv=notrunc status=none
            cmp golden@s copy; cmp -n 3145728 -i 0:8388608 "$T/new" golden
            head -c 3M /dev/urandom | tee "$T/new" | dd of=copy bs=1000 oflag=seek_bytes seek=16777000 conv=notrunc status=none
            cmp golden@s dense; cmp -n 16777000 golden@s copy; cmp -n 3145728 -i 0:16777000 "$T/new" copy; cmp -i 19922728 golden@s copy
            rmdir .ctl/snap/golden/s; rm golden; freed; cmp dense plain; cmp dense dd; cp --sparse=never dense again; rm dense; freed; cmp again dd

            python3 - "$T/model" <<'END'
            import errno, mmap, os, random, sys
            random.seed(7)
            a, v, h = os.open("again", os.O_RDONLY), os.open("mix", os.O_RDWR | os.O_CREAT), os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
            for n in range(80):
                offset, count = random.randrange(1 << 30), random.randrange(1, 3 << 20)
                # Alike within blocks, and not.
                target = 4096 * random.randrange(16384) + (offset % 4096 if n % 2 else random.randrange(4096))
                data, done = os.pread(a, count, offset), 0
                while done < count:
                    got = os.copy_file_range(a, v, count - done, offset + done, target + done)
                    if not got: break
                    done += got
                assert done == len(data), (done, len(data))
                os.pwrite(h, data, target)
                assert os.fstat(v).st_size == os.fstat(h).st_size
            # What the kernel has of a file is what was copied there.
            page = mmap.mmap(v, 1 << 20, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            page[:]
            got = os.copy_file_range(a, v, 1 << 20, 4 << 20, 0)
            data = os.pread(a, 1 << 20, 4 << 20); os.pwrite(h, data, 0)
            assert got == 1 << 20 and page[:] == data
            try:
                os.copy_file_range(v, v, 8192, 0, 4096); assert False
            except OSError as e: assert e.errno == errno.EINVAL, e
            assert os.copy_file_range(a, v, 4096, 1 << 30, 0) == 0
            END
            cmp mix "$T/model"; cd /; unmount_pool; clean; mount_pool; cmp "$M/mix" "$T/model"; cmp "$M/again" "$M/dd"
            rm "$M"/*; freed; emptied "$start"; same "$(json share_table_bytes)" 0; unmount_pool; clean
            """, seconds: 400)
    }

    /// The first copies of a mount, several at once, share their blocks, and so do those after them: the kernel must not come to think
    /// that it has to read and write.
    @Test func firstCopiesAtOnceShareBlocks() throws {
        try scenario(
            """
            pool 512M; for n in 1 2 3 4; do head -c 4M /dev/urandom > "$M/v$n"; done
            for round in $(seq 20); do
                unmount_pool; mount_pool; copies=
                for n in 1 2 3 4; do cat "$M/v$n" > "$M/c$n" & copies="$copies $!"; done; wait $copies
                same "$(json shared_bytes)" $((16 << 20)) "bytes shared in round $round"; cat "$M/v1" > "$M/again"; same "$(json shared_bytes)" $((20 << 20))
            done
            for n in 1 2 3 4; do cmp "$M/v$n" "$M/c$n"; done; unmount_pool; clean
            """)
    }

    /// A copy is interrupted by a signal, and tells how much it has done. When the daemon is killed in the middle, what is there
    /// is a beginning of the source, and zeros.
    @Test func interruptedCopyIsABeginning() throws {
        try scenario(
            """
            pool 40G; cd "$M"
            python3 - <<'END'
            import os
            f, g = os.open("part", os.O_RDWR | os.O_CREAT), os.open("large", os.O_RDWR | os.O_CREAT)
            for n in range(128): os.pwrite(f, os.urandom(1 << 20), n << 20)
            for n in range(128): assert os.copy_file_range(f, g, 128 << 20, 0, n << 27) == 128 << 20
            END
            cat > "$T/copy.py" <<'END'
            import os, signal, sys
            signal.signal(signal.SIGINT, lambda *_: None)
            s, d = os.open("large", os.O_RDONLY), os.open("slow", os.O_RDWR | os.O_CREAT)
            size, done = os.fstat(s).st_size - 1, 0
            while done < size:
                wanted = min(1 << 30, size - done)
                got = os.copy_file_range(s, d, wanted, 1 + done, done)
                done += got
                if got < wanted: break
            print(done, size, flush=True)
            END
            cat > "$T/prefix.py" <<'END'
            import os, sys
            a, b, skip = open(sys.argv[1], "rb"), open(sys.argv[2], "rb"), int(sys.argv[3])
            a.seek(skip); equal = 0; size = os.fstat(b.fileno()).st_size
            while True:
                x, y = a.read(1 << 20), b.read(1 << 20)
                if not y: break
                if x[:len(y)] != y:
                    equal += next((n for n in range(len(y)) if x[n] != y[n]), len(y))
                    b.seek(equal)
                    while y := b.read(1 << 20): assert not any(y), "something else behind byte %d" % equal
                    break
                equal += len(y)
            print("RESULT killed after %d of %d bytes" % (equal, size))
            END
            begun() { until [ "$(cat .ctl/vol/$1/prop/referenced 2>/dev/null || echo 0)" -gt ${2:-0} ]; do sleep 0.01; done; }

            # Ctrl-C: one request for a gibibyte ends early and tells how much it has copied.
            python3 "$T/copy.py" > "$T/done" & tool=$!
            begun slow; while kill -INT $tool 2>/dev/null; do sleep 0.05; done; wait $tool || true
            read -r done all < "$T/done"; echo "RESULT interrupted after $done of $all bytes"
            [ $done -gt 0 ] && [ $done -lt $all ] || fail "copied $done of $all"
            same "$(stat -c %s slow)" "$done"; cmp -n $done -i 1:0 large slow; rm slow; freed

            # Killed in the middle: what is there is a beginning of it.
            for round in 1 2 3; do
                truncate -s 0 slow; python3 "$T/copy.py" > "$T/done" 2>&1 & tool=$!
                begun slow $((round * 40000000)); kill -9 $(daemon); wait $tool || true; cd /; umount -l "$M"; mount_pool; cd "$M"
                [ $(stat -c %s slow) -gt $((round * 40000000)) ] || fail "slow has $(stat -c %s slow) bytes"
                python3 "$T/prefix.py" large slow 1; rm slow
                truncate -s 0 quick
                python3 -c 'import os; os.copy_file_range(os.open("large", 0), os.open("quick", 2), 1 << 30, 0, 0)' 2>/dev/null & tool=$!
                begun quick $((round << 20)); kill -9 $(daemon); wait $tool || true; cd /; umount -l "$M"; mount_pool; cd "$M"
                python3 "$T/prefix.py" large quick 0; rm quick
            done
            rm part; freed; python3 - <<'END'
            import os
            g = os.open("large", 0); first = os.pread(g, 1 << 20, 0)
            for n in range(128): assert os.pread(g, 1 << 20, n << 27) == first
            END
            cd /; unmount_pool; clean; mount_pool; rm "$M/large"; freed; emptied 0; unmount_pool; clean
            """, seconds: 400)
    }
}
