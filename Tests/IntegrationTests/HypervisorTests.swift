internal import TestSupport
import Testing

extension IntegrationTests {
    /// An image converted into the mount compares equal, and qemu's asynchronous direct I/O and discard work.
    @Test func qemuImageTools() throws {
        try scenario(
            """
            pool 4G; cd "$M"
            python3 -c 'import os
            f = open("'$T'/source.raw", "wb"); f.truncate(1 << 30)
            for n in range(200): f.seek(n * 5 << 20); f.write(os.urandom(1 << 20))'
            qemu-img convert -O qcow2 "$T/source.raw" "$T/source.qcow2"
            qemu-img convert -n -O raw "$T/source.qcow2" disk 2>/dev/null || qemu-img convert -O raw "$T/source.qcow2" disk
            qemu-img compare "$T/source.qcow2" disk
            same "$(stat -c %s disk)" 1073741824
            [ $(stat -c %b disk) -lt $((260 * 2048)) ] || fail "zeros take space: $(stat -c %b disk)"
            qemu-io -t none -n -f raw -c 'write -P 0x5a 3M 2M' -c 'aio_write -P 0x77 64k 128k' -c 'aio_flush' -c 'flush' -c 'read -P 0x5a 3M 2M' -c 'read -P 0x77 64k 128k' disk | grep -v -i fail
            # As qemu does with aio=io_uring; a machine whose kernel forbids that says so.
            if qemu-io -i io_uring -t none -f raw -c 'write -P 0x33 20M 1M' -c 'read -P 0x33 20M 1M' disk > "$T/uring" 2>&1; then same "$(grep -c 'ops;' "$T/uring")" 2 "requests"; same "$(dd if=disk bs=1M skip=20 count=1 status=none | tr -d 3 | wc -c)" 0 "bytes that are not what was written"
            else grep -qi io_uring "$T/uring" && grep -qiE 'not (permitted|implemented|supported)' "$T/uring" || fail "$(cat "$T/uring")"; fi
            before=$(stat -c %b disk)
            qemu-io -t none -d unmap -f raw -c 'discard 3M 2M' -c 'read -P 0 3M 2M' -c 'write -z 64k 128k' -c 'read -P 0 64k 128k' disk > "$T/io"; ! grep -i 'fail\\|invalid' "$T/io"
            [ $(stat -c %b disk) -le $((before - 4096)) ] || fail "discard kept its blocks"
            qemu-img map --output=json disk > "$T/map"; python3 -c 'import json; assert any(not e["data"] for e in json.load(open("'$T'/map")))'
            cd /; unmount_pool; clean
            """, tools: ["qemu-img", "qemu-io"])
    }

    /// Random writes from 4 KiB to 1 MiB at depth 32 verify while fifty snapshots are taken of them.
    @Test func fioVerifiesWhileSnapshotsAreTaken() throws {
        try scenario(
            """
            pool 8G; cd "$M"; truncate -s 1G disk
            fio --name=mixed --filename=disk --ioengine=libaio --direct=1 --rw=randrw --bsrange=4k-1M --iodepth=32 --size=1G \\
                --io_size=3G --verify=crc32c --verify_backlog=1024 --verify_fatal=1 --randseed=7 --output="$T/fio" &
            fio=$!
            for n in $(seq 50); do mkdir .ctl/snap/disk/s$n; sleep 0.1; done
            wait $fio || fail "$(tail -20 "$T/fio")"
            grep -q 'err= 0' "$T/fio" || fail "$(cat "$T/fio")"
            for n in 1 25 50; do cksum < disk@s$n; done > "$T/sums"
            cd /; unmount_pool; clean; mount_pool; cd "$M"
            for n in 1 25 50; do cksum < disk@s$n; done | cmp - "$T/sums"
            """, tools: ["fio"], seconds: 200)
    }

    /// What `write` returned before mkdir is in the snapshot, what came after is not, under four writers.
    @Test func snapshotHasEveryWriteThatReturned() throws {
        try scenario(
            """
            pool 4G; cd "$M"; truncate -s 64M disk
            python3 - <<'END'
            import os, struct, threading
            blocks, stop, lock = 16384, False, threading.Lock()
            f = os.open("disk", os.O_RDWR)
            done = [0] * 4
            def writer(me):
                n = 0
                while not stop:
                    n += 1
                    # Each writer owns a quarter and goes round it: block k of round r carries its number.
                    k = me * 4096 + n % 4096
                    os.pwrite(f, struct.pack("<QQ", n, k) * 256, k * 4096)
                    done[me] = n
            threads = [threading.Thread(target=writer, args=(me,)) for me in range(4)]
            for t in threads: t.start()
            marks = []
            for s in range(50):
                before = list(done); os.mkdir(".ctl/snap/disk/s%d" % s); after = list(done); marks.append((before, after))
            stop = True
            for t in threads: t.join()
            for s, (before, after) in enumerate(marks):
                g = os.open("disk@s%d" % s, os.O_RDONLY); data = os.read(g, 64 << 20)
                while len(data) < 64 << 20: data += os.read(g, 64 << 20)
                os.close(g)
                for me in range(4):
                    found = max(struct.unpack_from("<Q", data, (me * 4096 + k) * 4096)[0] for k in range(4096))
                    assert before[me] <= found <= after[me] + 1, (s, me, before[me], found, after[me])
                    for n in range(max(1, found - 4095), found + 1):
                        k = me * 4096 + n % 4096
                        assert struct.unpack_from("<QQ", data, k * 4096) == (n, k), (s, me, n)
            END
            cd /; unmount_pool; clean
            """, seconds: 200)
    }

    /// Random 4 KiB writes at depth 32 beside qemu-storage-daemon's export of a qcow2, in turns in one run; then the first
    /// 8192 writes after a snapshot of each.
    @Test func randomWritesAreNoSlowerThanQcow2Export() throws {
        try scenario(
            """
            pool 24G; touch "$T/peer"
            iops() { fio --name=w --filename=$1 --ioengine=libaio --direct=1 --rw=randwrite --bs=4k --iodepth=32 --size=1G \\
                --norandommap --output-format=json "${@:2}" | python3 -c 'import json,sys; print(int(json.load(sys.stdin)["jobs"][0]["write"]["iops"]))'; }
            serve() { touch "$T/peer"; qemu-storage-daemon --blockdev file,node-name=f,filename=$1 --blockdev qcow2,node-name=q,file=f \\
                --export fuse,id=e,node-name=q,mountpoint=$T/peer,writable=on & peer=$!
                for _ in $(seq 100); do grep -q " $T/peer fuse" /proc/mounts && return; sleep 0.1; done; fail "the peer does not start"; }
            stop() { kill $peer; wait $peer || true; }
            cd "$M"; truncate -s 1G disk; dd if=/dev/urandom of=disk bs=1M count=1024 conv=notrunc status=none
            qemu-img convert -f raw -O qcow2 disk "$T/base.qcow2"
            serve "$T/base.qcow2"; : > "$T/a"; : > "$T/b"
            for turn in 1 2 3; do
                iops disk --time_based --runtime=4 >> "$T/a"; iops "$T/peer" --time_based --runtime=4 >> "$T/b"
            done; stop
            # Just after a snapshot: for the peer an overlay, which is what its snapshots are.
            : > "$T/c"; : > "$T/d"
            for turn in 1 2 3; do
                mkdir .ctl/snap/disk/s$turn; iops disk --io_size=32M >> "$T/c"
                qemu-img create -q -f qcow2 -b "$T/base.qcow2" -F qcow2 "$T/over$turn.qcow2"; serve "$T/over$turn.qcow2"
                iops "$T/peer" --io_size=32M >> "$T/d"; stop
            done
            median() { sort -n "$1" | sed -n 2p; }
            python3 - $(median "$T/a") $(median "$T/b") $(median "$T/c") $(median "$T/d") <<'END'
            import sys
            a, b, c, d = map(int, sys.argv[1:])
            print("RESULT 4K random writes, QD32: volfs %d, qemu-storage-daemon qcow2 %d IOPS, ratio %.2f" % (a, b, a / b))
            print("RESULT just after a snapshot: volfs %d, qemu-storage-daemon overlay %d IOPS, ratio %.2f" % (c, d, c / d))
            # Three turns of four seconds on a shared machine: a quarter is for its noise.
            assert a >= 0.75 * b, "slower than the peer"
            assert c >= d, "slower than the peer after a snapshot"
            END
            """, tools: ["fio", "qemu-storage-daemon", "qemu-img"], seconds: 200)
    }
}
