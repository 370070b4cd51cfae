internal import TestSupport
import Testing

/// A mount goes on when its daemon is exchanged, or killed: for who uses it, it was only slow.
extension IntegrationTests {
    /// fio that verifies, on a volume with O_DIRECT and on ext4 on a loop device, while signals come to one daemon after another.
    private static let load = KeepingManager.prelude + """
        load() {
            for name in raw ext; do touch "$M/$name"; truncate -s 512M "$M/$name"; done
            loop=$(attach --direct-io=on "$M/ext"); mkfs.ext4 -q "$loop"; mkdir "$T/fs"; mount "$loop" "$T/fs"
            fio --name=raw --filename="$M/raw" --rw=randwrite --bs=4k-64k --size=256M --time_based --runtime=$1 --direct=1 --iodepth=16 \\
                --ioengine=libaio --verify=crc32c --verify_backlog=512 --verify_fatal=1 --randseed=7 > "$T/raw.out" 2>&1 & raw=$!
            fio --name=fs --directory="$T/fs" --rw=randrw --bs=4k-32k --size=128M --time_based --runtime=$1 --iodepth=8 --ioengine=libaio \\
                --fsync=64 --verify=crc32c --verify_backlog=256 --verify_fatal=1 --randseed=8 > "$T/fs.out" 2>&1 & fs=$!
        }
        # outlived COUNT STATUS HANDED: the load went on over so many daemons that ended with the status.
        outlived() {
            kill -0 $raw && kill -0 $fs || fail "the load ended too early: $(head -n 8 "$T"/*.out)"
            verified; same "$(grep -c "ended $2" "$T/heard")" $1; same "$(grep -c "handed_over=$3" "$T/log")" $1
            stop_all
        }
        verified() {
            wait $raw || fail "on the volume: $(head -n 15 "$T/raw.out")"
            wait $fs || fail "on ext4: $(head -n 15 "$T/fs.out")"
            umount "$T/fs"; e2fsck -fn "$loop" > "$T/fsck" 2>&1 || fail "fsck: $(cat "$T/fsck")"; losetup -d "$loop"
        }

        """

    /// Four orderly exchanges.
    @Test func exchangedDaemonUnderLoad() throws {
        try scenario(
            Self.load + """
            "$V" create "$P" --size 4G; managed; load 12
            for n in 2 3 4 5; do sleep 1.5; kill -URG $(serving); restarted $n; done
            outlived 4 75 yes
            """, tools: ["fio", "e2fsck", "mkfs.ext4"], seconds: 180)
    }

    /// Killed in the middle of writes, twelve times: each request is answered, and what was acknowledged is there.
    @Test func killedDaemonUnderLoad() throws {
        try scenario(
            Self.load + """
            "$V" create "$P" --size 4G; managed; load 14
            for n in $(seq 2 13); do sleep 0.$((RANDOM % 6 + 3)); kill -9 $(serving); restarted $n; done
            outlived 12 -9 no
            """, tools: ["fio", "e2fsck", "mkfs.ext4"], seconds: 180)
    }

    /// Killed again while it opens the pool, recovers it, or takes the mount over.
    @Test func killedWhileTakingOver() throws {
        try scenario(
            Self.load + """
            "$V" create "$P" --size 4G; managed; load 12
            started() { for _ in $(seq 400); do [ "$(grep -c '^started' "$T/heard")" -gt $1 ] && return; sleep 0.01; done; fail "not started: $(tail -n 20 "$T/log")"; }
            for _ in $(seq 40); do n=$(grep -c '^started' "$T/heard"); kill -9 $(serving); started $n; sleep 0.00$((RANDOM % 10)); done
            heard READY=1; verified; echo "RESULT $(grep -c READY=1 "$T/heard") of $(grep -c '^started' "$T/heard") daemons came to serve"
            stop_all
            """, tools: ["fio", "e2fsck", "mkfs.ext4"], seconds: 180)
    }

    /// Verbs are done once although the kernel sends again what a killed daemon has not answered.
    @Test func verbsAreDoneOnce() throws {
        try scenario(
            KeepingManager.prelude + """
            cat > "$T/verbs.py" <<'END'
            # Verbs one after another; each must succeed, and leave what it says, whatever happens to the daemon meanwhile.
            import ctypes, os, sys, time
            m, end, me = sys.argv[1], time.time() + float(sys.argv[2]), sys.argv[3]
            c = ctypes.CDLL(None, use_errno=True)
            def exchange(a, b):
                if c.renameat2(-100, a.encode(), -100, b.encode(), 2) != 0: raise OSError(ctypes.get_errno(), "exchange")
            n = 0
            def check(ok, what):
                if not ok: print("WRONG", what, n); sys.exit(1)
            v = m + "/v" + me; snaps = m + "/.ctl/snap/v" + me
            if not os.path.exists(v): os.close(os.open(v, os.O_CREAT | os.O_RDWR))
            while time.time() < end:
                n += 1
                try:
                    step = "create"; f = os.open(f"{m}/a{me}", os.O_CREAT | os.O_EXCL | os.O_RDWR); os.pwrite(f, b"first", 0); os.close(f)
                    step = "mkdir"; os.mkdir(f"{snaps}/s"); check(os.path.isdir(f"{snaps}/s"), step)
                    step = "symlink"; os.symlink(f"v{me}@s", f"{m}/.ctl/clone/b{me}"); check(os.path.exists(f"{m}/b{me}"), step)
                    step = "setxattr"; os.setxattr(f"{m}/b{me}", "user.x", b"%d" % n, os.XATTR_CREATE)
                    step = "exchange"; exchange(f"{m}/a{me}", f"{m}/b{me}")
                    f = os.open(f"{m}/b{me}", os.O_RDONLY); check(os.pread(f, 9, 0) == b"first", "exchanged"); os.close(f)
                    check(os.getxattr(f"{m}/a{me}", "user.x") == b"%d" % n, "exchanged")
                    step = "removexattr"; os.removexattr(f"{m}/a{me}", "user.x")
                    step = "rename"; os.rename(f"{m}/a{me}", f"{m}/c{me}"); check(not os.path.exists(f"{m}/a{me}") and os.path.exists(f"{m}/c{me}"), step)
                    step = "rename snapshot"; os.rename(f"{snaps}/s", f"{snaps}/t")
                    step = "unlink"; os.unlink(f"{m}/c{me}"); check(not os.path.exists(f"{m}/c{me}"), step)
                    step = "unlink 2"; os.unlink(f"{m}/b{me}")
                    step = "rmdir"; os.rmdir(f"{snaps}/t"); check(os.listdir(snaps) == [], step)
                except OSError as e:
                    print("FAILED", step, e, n); sys.exit(1)
            print(n, "rounds")
            END
            "$V" create "$P" --size 1G; managed
            for me in 1 2 3; do python3 "$T/verbs.py" "$M" 12 $me > "$T/verbs.$me" 2>&1 & eval "v$me=$!"; done
            number=1
            while kill -0 $v1 2>/dev/null; do sleep 0.0$((RANDOM % 9 + 1)); kill -9 $(serving); number=$((number + 1)); restarted $number; done
            for process in $v1 $v2 $v3; do wait $process || fail "$(cat "$T"/verbs.?; tail -n 5 "$T/log")"; done
            [ $number -gt 10 ] || fail "only $number daemons"
            same "$("$V" list "$M" -H -o name | sort | tr '\\n' ' ')" "v1 v2 v3 "
            echo "RESULT $number daemons, $(cat "$T"/verbs.? | tr '\\n' ' ')"; stop_all
            """, seconds: 120)
    }

    /// What is open stays so for whatever is refused because of that, also over several daemons; and is closed by its last close.
    @Test func whatIsOpenStaysOpen() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; touch "$M/v" "$M/w"; echo data > "$M/v"; mkdir "$M/.ctl/snap/v/s"
            exec 5<>"$M/v" 6<"$M/.ctl/snap/v/s/data"; cat "$M/.ctl/vol/v/users" > "$T/users"; grep mode=rw "$T/users"
            number=1
            for signal in URG KILL KILL URG; do
                exec 7<"$M/w"; kill -$signal $(serving); number=$((number + 1)); restarted $number
                cmp "$T/users" "$M/.ctl/vol/v/users" || fail "users after $signal: $(cat "$M/.ctl/vol/v/users")"
                fails 1 rm "$M/w"; says busy
                fails 1 rmdir "$M/.ctl/snap/v/s"; says busy
                exec 7<&-; rm "$M/w"; touch "$M/w"
                same "$(head -c 4 <&6; head -c 4 "$M/v")" datadata; exec 6<"$M/.ctl/snap/v/s/data"
            done
            echo more >&5; same "$(cat "$M/v")" more; exec 5<&- 6<&-
            rmdir "$M/.ctl/snap/v/s"; rm "$M/v" "$M/w"; stop_all
            """)
    }

    /// Control files over a restart: a text that is begun anew is a new one, half a text is stale, a stream says that it was
    /// resumed, and a directory is listed as it is then.
    @Test func controlFilesGoOn() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; touch "$M/a" "$M/b"
            timeout 60 cat "$M/.ctl/events" > "$T/events" & reader=$!
            while ! grep -q . "$T/events"; do touch "$M/c"; rm "$M/c"; sleep 0.05; done
            cat > "$T/hold.py" <<'END'
            import errno, os, signal, sys
            m, r = sys.argv[1], lambda: (open(sys.argv[2], "a").write("ready\\n"), signal.sigwait([signal.SIGUSR1]))
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
            whole, half, asked = (os.open(m + "/.ctl/" + n, f) for n, f in (("list", 0), ("README", 0), ("unique", os.O_RDWR)))
            os.read(half, 10); os.write(asked, b"a\\n")
            d = os.open(m, os.O_DIRECTORY); r()
            assert b"new" in os.read(whole, 1 << 16), "an old text"
            for what in (lambda: os.read(half, 10), lambda: os.read(asked, 10)):
                try: what(); sys.exit("no error")
                except OSError as e: assert e.errno == errno.ESTALE, e
            os.lseek(half, 0, 0); assert len(os.read(half, 1000)) == 1000
            assert sorted(os.listdir(d)) == ["a", "b", "new"], os.listdir(d)
            END
            python3 "$T/hold.py" "$M" "$T/ready" & holder=$!
            while [ ! -e "$T/ready" ]; do sleep 0.05; done
            kill -9 $(serving); restarted 2; touch "$M/new"; kill -USR1 $holder; wait $holder || fail "held files"
            for _ in $(seq 200); do grep -q '"object":"new"' "$T/events" && break; sleep 0.05; done
            grep -A9 '"kind":"resumed"' "$T/events" | grep '"object":"new"' || fail "events: $(cat "$T/events")"
            kill -0 $reader; kill -URG $(serving); restarted 3; for _ in $(seq 200); do [ "$(grep -c '"kind":"resumed"' "$T/events")" = 2 ] && break; sleep 0.05; done
            same "$(grep -c '"kind":"resumed"' "$T/events")" 2; touch "$M/last"; for _ in $(seq 200); do grep -q '"object":"last"' "$T/events" && break; sleep 0.05; done
            grep '"object":"last"' "$T/events"; kill -TERM $(serving); heard 'ended 0'; wait $reader || fail "the stream did not end well: $?"
            echo end > "$T/orders"; clean
            """)
    }

    /// What many killed daemons left behind is gone once the kernel has nothing more to send again, and verbs have slots.
    @Test func slotsOfKilledDaemonsAreFreed() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; touch "$M/v"
            for number in 2 3; do
                order leave; grep -q 'taken 1023 and 64' "$T/heard" || fail "slots: $(grep taken "$T/heard")"
                kill -9 $(serving); restarted $number; touch "$M/w$number"; order count; same "$(grep taken "$T/heard" | tail -n 1)" "taken 0 and 0"
            done
            same "$(ls "$M" | tr '\n' ' ')" "v w2 w3 "; stop_all
            """)
    }

    /// Long walks and copies do not hold up an exchange: what only reads is answered by the next daemon, copies go on there.
    @Test func exchangeDoesNotWaitForWalks() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 4G; managed; touch "$M/v" "$M/copy"; truncate -s 20G "$M/v"; head -c 300M /dev/urandom > "$M/data"
            python3 - "$M" <<'END'
            import os, sys
            f = os.open(sys.argv[1] + "/v", os.O_RDWR)
            for n in range(20000): os.pwrite(f, b"x" * 4096, n << 20)
            os.mkdir(sys.argv[1] + "/.ctl/snap/v/s")
            for n in range(20000): os.pwrite(f, b"y" * 4096, n << 20)
            os.mkdir(sys.argv[1] + "/.ctl/snap/v/t")
            END
            right=$(cat "$M/.ctl/vol/v/prop/unique") both=$("$V" destroy "$M" v -r -n --json | grep -o '"frees":[0-9]*'); cat "$M/.ctl/diff/v/s..t" > "$T/diff"
            cat > "$T/walk.py" <<'END'
            # Asks for the same until the file stop is there; every answer must be right.
            import errno, os, sys
            m, kind, right, stop = sys.argv[1:5]; n = 0
            def whole(name):
                # A text of which a part was read before the exchange is stale, as the page says; it is asked for anew.
                while True:
                    try: return open(m + name).read()
                    except OSError as e: assert e.errno == errno.ESTALE, e
            def ask():
                if kind == "file": return whole("/.ctl/vol/v/prop/unique").strip()
                if kind == "attribute": return os.getxattr(m + "/v", "user.volfs.unique").decode()
                if kind == "diff": return str(len(whole("/.ctl/diff/v/s..t")))
                f, s, done = os.open(m + "/data", os.O_RDONLY), os.open(m + "/copy", os.O_RDWR), 0
                size = os.fstat(f).st_size - 5
                while done < size:
                    step = os.copy_file_range(f, s, size - done, done + 5, done)
                    if step == 0: return "ended at %d" % done
                    done += step
                os.close(f); os.close(s); return right
            while not os.path.exists(stop):
                n += 1; answer = ask()
                if answer != right: sys.exit("%s: %s instead of %s" % (kind, answer, right))
            print(kind, n)
            END
            walks=""; for kind in file attribute diff copy; do
                wanted=$right; [ $kind = diff ] && wanted=$(stat -c %s "$T/diff")
                python3 "$T/walk.py" "$M" $kind $wanted "$T/stop" > "$T/said.$kind" 2>&1 & walks="$walks $!"
            done
            for number in 2 3 4 5 6; do sleep 0.6; kill -URG $(serving); restarted $number; done
            touch "$T/stop"; for walk in $walks; do wait $walk || fail "$(cat "$T"/said.*)"; done
            cmp <(tail -c +6 "$M/data") "$M/copy"; same "$("$V" destroy "$M" v -r -n --json | grep -o '"frees":[0-9]*')" "$both"
            grep -q 'left_to_the_next=[1-9]' "$T/log" || fail "every exchange waited: $(grep left_to "$T/log")"
            echo "RESULT $(cat "$T"/said.* | tr '\n' ' ') left: $(grep -o 'left_to_the_next=[0-9]*' "$T/log" | tr '\n' ' ')"; stop_all
            """, seconds: 120)
    }
}
