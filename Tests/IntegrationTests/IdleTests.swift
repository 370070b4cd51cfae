internal import TestSupport
import Testing

extension IntegrationTests {
    /// When the last change is stored and nobody asks for anything, no thread of the daemon runs: neither processor time nor a
    /// single switch of threads in three seconds. It has two minutes to come to rest. By then all that was freed is free, and when
    /// the pool is closed the host has it back.
    @Test func idleDaemonRunsNothing() throws {
        try scenario(
            """
            "$V" create "$P" --size 512M; made=$(du -k "$P" | cut -f1); mount_pool; pid=$(daemon)
            head -c 20M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/one"; ln -s v@one "$M/.ctl/clone/c"
            head -c 10M /dev/urandom > "$M/v"; rm "$M/c"; rmdir "$M/.ctl/snap/v/one"; freed
            used() { awk '/^voluntary_ctxt|^nonvoluntary_ctxt/ { n += $2 } END { print n }' /proc/$pid/task/*/status; awk '{ print $14 + $15 }' /proc/$pid/stat; }
            for _ in $(seq 40); do
                before=$(used); sleep 3
                [ "$before" = "$(used)" ] || continue
                echo "RESULT idle after $SECONDS s"; same "$(json quarantined)" 0 "quarantined"; used=$(du -k "$P" | cut -f1); unmount_pool; left=$(du -k "$P" | cut -f1)
                # What is mapped, and some segments for nodes; not what was kept for the next writers.
                [ "$used" -gt $((made + 30 * 1024)) ] && [ "$left" -le $((made + 22 * 1024)) ] || fail "KiB of the host: $made, at rest $used, closed $left"
                clean; exit 0
            done
            fail "never idle: $before, then $(used)"
            """, seconds: 180)
    }

    /// The same with an NBD server, of a mount or alone, that has a client who asks for nothing any more.
    @Test(arguments: ["mount", "serve"]) func idleServerRunsNothing(kind: String) throws {
        try scenario(
            """
            "$V" create "$P" --size 512M; "$V" new "$P" v 16M
            case \(kind) in
                mount) "$V" "$P" "$M" -o nbd=unix:"$T/s"; pid=$(daemon) ;;
                serve) "$V" serve "$P" --nbd unix:"$T/s" > "$T/uri" & pid=$!; for _ in $(seq 100); do [ -s "$T/uri" ] && break; sleep 0.1; done ;;
            esac
            cat > "$T/client.py" <<'END'
            import nbd, sys, time
            h = nbd.NBD(); h.connect_uri(sys.argv[1])
            for n in range(100): h.pwrite(bytes([n]) * 4096, n * 4096); assert h.pread(1, n * 4096) == bytes([n])
            h.flush(); open("ready", "w").close(); sys.stdin.read()
            assert h.pread(1, 4096) == b"\\x01"
            END
            mkfifo hold; /usr/bin/python3 "$T/client.py" "nbd+unix:///v?socket=$T/s" < hold & client=$!; exec 7> hold
            for _ in $(seq 100); do [ -e ready ] && break; sleep 0.1; done; [ -e ready ]
            used() { awk '/^voluntary_ctxt|^nonvoluntary_ctxt/ { n += $2 } END { print n }' /proc/$pid/task/*/status; awk '{ print $14 + $15 }' /proc/$pid/stat; }
            for _ in $(seq 40); do
                before=$(used); sleep 3; after=$(used)
                [ "$before" = "$after" ] && break
            done
            [ "$before" = "$after" ] || fail "never idle: $before, then $after"
            # It wakes for the client, and for its end.
            exec 7>&-; wait $client
            case \(kind) in
                mount) unmount_pool ;;
                serve) kill $pid; wait $pid || fail "exit $?" ;;
            esac
            clean
            """, seconds: 180)
    }

    /// Asleep or not, what a request leaves to be done is done: a snapshot's blocks are freed, and changes are stored.
    @Test func requestsWakeTheDaemon() throws {
        try scenario(
            """
            pool 512M; pid=$(daemon); empty=$(json allocated)
            for round in 1 2 3; do
                head -c 5M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/one"; head -c 5M /dev/urandom > "$M/v"
                for _ in $(seq 300); do [ "$(json dirty_blocks)" = 0 ] && break; sleep 0.1; done
                same "$(json dirty_blocks)" 0 "blocks to store in round $round"
                sleep 1
                rmdir "$M/.ctl/snap/v/one"; rm "$M/v"; emptied "$empty"
                sleep 2
            done
            kill -USR1 $pid; unmount_pool; clean
            """, seconds: 240)
    }

    /// What is in the page cache of a snapshot is read without asking the daemon anything, but its name is asked for each time: a
    /// snapshot that is gone is gone at once, and another one of the name is another.
    @Test func warmSnapshotsAreReadWithoutTheDaemon() throws {
        try scenario(
            """
            pool 512M; head -c 4M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/one"; cmp "$M/v" "$M/v@one"
            asked() { awk -v FS='[ {}"]' '/^volfs_request_seconds_count/ && ($3 == "attributes" || $3 == "read") { n += $NF } END { print n }' "$M/.ctl/metrics"; }
            cat > "$T/read.py" <<'END'
            import os, sys
            fd = os.open(sys.argv[1], os.O_RDONLY)
            for offset in range(0, 4 << 20, 4096): assert len(os.pread(fd, 4096, offset)) == 4096
            END
            python3 "$T/read.py" "$M/v@one"
            before=$(asked); python3 "$T/read.py" "$M/v@one"; after=$(asked)
            [ "$before" -gt 0 ] || fail "nothing is counted"
            [ $((after - before)) -lt 20 ] || fail "1024 reads in memory asked $((after - before)) times"
            echo "RESULT 1024 reads in memory asked $((after - before)) times"
            old=$(sha256sum < "$M/v@one"); mv "$M/.ctl/snap/v/one" "$M/.ctl/snap/v/two"
            fails 1 stat "$M/v@one"; same "$(sha256sum < "$M/v@two")" "$old"
            rmdir "$M/.ctl/snap/v/two"; fails 1 stat "$M/v@two"
            head -c 1M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/two"
            same "$(stat -c %s "$M/v@two")" 1048576; cmp "$M/v" "$M/v@two"
            unmount_pool; clean
            """)
    }

    /// Writes of several threads to one volume are all with the daemon at a time: the kernel does not send them one by one.
    @Test func writersDoNotWaitForEachOther() throws {
        try scenario(
            """
            pool 512M; pid=$(daemon); truncate -s 1M "$M/v"
            C=/sys/fs/fuse/connections; [ -e $C/. ] && [ -n "$(ls $C)" ] || mount -t fusectl none $C || true
            number=$(awk -v m="$M" '$5 == m { sub("0:", "", $3); print $3 }' /proc/self/mountinfo)
            cat > "$T/write.py" <<'END'
            import mmap, os, sys, threading, time
            fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT | (os.O_SYNC if len(sys.argv) > 2 else 0))
            def work(me):
                page = mmap.mmap(-1, 4096)
                for round in range(20):
                    page[:] = bytes([1 + me]) * 4096
                    assert os.pwrite(fd, page, (round * 8 + me) * 4096) == 4096
            open("ready", "w")
            while not os.path.exists("go"): time.sleep(0.01)
            threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
            for t in threads: t.start()
            for t in threads: t.join()
            END
            python3 "$T/write.py" "$M/v" & writer=$!
            while [ ! -e ready ]; do sleep 0.01; done
            kill -STOP $pid; touch go
            most=0
            for _ in $(seq 100); do
                now=$(cat $C/$number/waiting); [ "$now" -gt "$most" ] && most=$now
                [ "$most" -ge 8 ] && break; sleep 0.1
            done
            kill -CONT $pid; wait $writer
            echo "RESULT $most writes at a time"
            [ "$most" -ge 8 ] || fail "$most writes at a time"
            python3 "$T/write.py" "$M/v" sync
            python3 -c 'import sys
            data = open(sys.argv[1], "rb").read()
            for n in range(160): assert data[n * 4096:(n + 1) * 4096] == bytes([1 + n % 8]) * 4096, n' "$M/v"
            unmount_pool; clean
            """)
    }
}
