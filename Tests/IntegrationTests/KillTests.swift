internal import Foundation
internal import TestSupport
import Testing

extension IntegrationTests {
    /// kill -9 in the middle of writes, snapshots, clones and discards: after a plain remount every acknowledged write is
    /// there and the pool checks clean. KILL_ROUNDS sets how often.
    @Test func killedDaemonLosesNothingAcknowledged() throws {
        let rounds = ProcessInfo.processInfo.environment["KILL_ROUNDS"] ?? "12"
        try scenario(
            """
            pool 4G; "$V" new "$M" disk 256M
            cat > "$T/writer.py" <<'END'
            # Writes numbered blocks, and notes each in a log beside the mount once its write has returned.
            import os, random, struct, sys, threading
            mount, log, start = sys.argv[1], open(sys.argv[2], "ab", buffering=0), int(sys.argv[3])
            def work(me):
                f = os.open(mount + "/disk", os.O_RDWR); r = random.Random(start * 7 + me); n = start
                try:
                    while True:
                        n += 1; k = me * 16384 + r.randrange(16384)
                        if r.randrange(20) == 0:
                            os.fsync(f)
                        if me == 0 and r.randrange(200) == 0:
                            os.mkdir(mount + "/.ctl/snap/disk/s%d" % n)
                        if me == 1 and r.randrange(400) == 0:
                            os.symlink("disk", mount + "/.ctl/clone/c%d" % n)
                        os.pwrite(f, struct.pack("<QQ", n, k) * 256, k * 4096)
                        log.write(struct.pack("<QQ", n, k))
                except OSError: pass
            threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
            for t in threads: t.start()
            for t in threads: t.join()
            END
            cat > "$T/verify.py" <<'END'
            # Each block must hold what was acknowledged last for it, or the one write that was under way.
            import os, struct, sys
            last = {}
            data = open(sys.argv[2], "rb").read()
            for at in range(0, len(data) - 15, 16):
                n, k = struct.unpack_from("<QQ", data, at); last[k] = n
            f = os.open(sys.argv[1] + "/disk", os.O_RDONLY); disk = b"".join(os.pread(f, 1 << 20, at) for at in range(0, os.fstat(f).st_size, 1 << 20))
            lost = 0
            for k, n in last.items():
                found, where = struct.unpack_from("<QQ", disk, k * 4096)
                if where != k or found < n: lost += 1
            print(len(last), "blocks acknowledged,", lost, "lost")
            sys.exit(1 if lost else 0)
            END
            : > "$T/log"; start=1; acknowledged=0
            for round in $(seq $1); do
                daemon=$(daemon)
                python3 "$T/writer.py" "$M" "$T/log" $start & writer=$!
                sleep 0.$((RANDOM % 7 + 3))
                kill -9 $daemon; wait $writer || true
                ended $daemon
                clean > /dev/null
                mount_pool
                python3 "$T/verify.py" "$M" "$T/log" > "$T/verdict" || fail "round $round: $(cat "$T/verdict")"
                start=$((start + 1000000))
                for old in $(ls "$M/.ctl/snap/disk" | shuf | tail -n +4); do rmdir "$M/.ctl/snap/disk/$old"; done
                for old in $(ls "$M" | grep '^c[0-9]*$' | tail -n +4); do rm "$M/$old"; done
            done
            echo "RESULT $1 kills: $(cat "$T/verdict"), $(($(stat -c %s "$T/log") / 16)) writes acknowledged in all"
            cd /; unmount_pool; clean
            """, [rounds], seconds: 60 + 12 * (Int(rounds) ?? 12))
    }
}
