internal import Foundation
internal import TestSupport
import Testing

/// The daemon below a service manager, and what signals do.
extension IntegrationTests {
    /// A service manager's socket: each message a line, `|` between its lines; `heard TEXT` waits for one.
    private static let manager = """
        cat > "$T/manager.py" <<'END'
        import os, socket, sys
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1]); s.settimeout(100)
        with open(sys.argv[2], "w") as log:
            while True:
                text = s.recv(4096).decode(); log.write(text.replace("\\n", "|") + "\\n"); log.flush()
                if "STOPPING=1" in text and "storing" in text: break
        END
        python3 "$T/manager.py" "$T/notify" "$T/heard" & manager=$!
        while [ ! -S "$T/notify" ]; do sleep 0.05; done
        heard() { for _ in $(seq 200); do grep -q -- "$1" "$T/heard" && return; sleep 0.05; done; fail "not heard: $1 in: $(cat "$T/heard")"; }
        said() { for _ in $(seq 200); do grep -qE -- "$2" "$1" 2>/dev/null && return; sleep 0.05; done; fail "$1 does not say $2: $(cat "$1")"; }

        """

    /// A service manager hears that more time is needed, that the mount can be used, how it fares, that the daemon lives, and
    /// that it stops; the daemon stays in the foreground for it. What is mounted from a volume goes on while it stops, and it ends
    /// with success when that is unmounted and detached.
    @Test func serviceManagerIsTold() throws {
        try scenario(
            Self.manager + """
            "$V" create "$P" --size 256M
            NOTIFY_SOCKET=$T/notify WATCHDOG_USEC=100000 "$V" "$P" "$M" 2> "$T/log" & daemon=$!
            heard READY=1; heard WATCHDOG=1; heard "STATUS=0 volumes, 0 open, 0 % used"
            truncate -s 128M "$M/v"; loop=$(attach --direct-io=on "$M/v"); mkfs.ext4 -q $loop; mkdir "$T/a"; mount $loop "$T/a"; head -c 40M /dev/urandom > "$T/a/before"; sync -f "$T/a"; heard "STATUS=1 volume, 1 open, 1[0-9] % used"; kill -TERM $daemon
            heard 'STATUS=.*serving what is open'; heard STOPPING=1; running $daemon || fail "ended with a loop device attached"
            head -c 20M /dev/urandom > "$T/a/file"; sync -f "$T/a"; sum=$(cksum < "$T/a/file"); echo 3 > /proc/sys/vm/drop_caches; same "$(cksum < "$T/a/file")" "$sum" "the filesystem after SIGTERM"
            umount "$T/a"; sleep 0.3; running $daemon || fail "ended while attached"; losetup -d $loop; status=0; wait $daemon || status=$?; same $status 0 "exit status"; wait $manager; clean
            order() { grep -n -- "$1" "$T/heard" | head -1 | cut -d: -f1; }
            [ $(order EXTEND_TIMEOUT_USEC) -lt $(order READY=1) ] && [ $(order READY=1) -lt $(order STOPPING=1) ] || fail "order: $(cat "$T/heard")"
            grep 'STOPPING=1' "$T/heard" | grep storing | grep -q EXTEND_TIMEOUT_USEC || fail "no time for storing"
            grep "MAINPID=$daemon" "$T/heard" > "$T/out" || fail "another process: $(cat "$T/heard")"
            mount_pool; loop=$(attach "$M/v"); mount $loop "$T/a"; same "$(cksum < "$T/a/file")" "$sum" "after a new mount"; umount "$T/a"; losetup -d $loop; unmount_pool
            """, tools: ["mkfs.ext4"])
    }

    /// A pool that was killed says how far its recovery is, and that it takes time.
    @Test func recoveryIsReported() throws {
        try scenario(
            Self.manager + """
            pool 4G; truncate -s 3G "$M/v"; pid=$(daemon)
            fio --name=w --filename="$M/v" --rw=randwrite --bs=4k --io_size=100M --size=3G --direct=1 --iodepth=16 --ioengine=libaio --randseed=3 > "$T/fio"
            kill -9 $pid; ended $pid; umount -l "$M"
            NOTIFY_SOCKET=$T/notify WATCHDOG_USEC=40000 "$V" "$P" "$M" 2> "$T/log" & daemon=$!
            heard READY=1; grep -B99999 READY=1 "$T/heard" | grep -qE 'STATUS=(recovering [0-9]+ %|opening)[|]EXTEND_TIMEOUT_USEC=[0-9]+' || fail "$(cat "$T/heard")"
            kill -TERM $daemon; wait $daemon; wait $manager; clean
            """, tools: ["fio"])
    }

    /// As a service started by a manager whose journal reads standard error: in the foreground, each line with its priority.
    /// A program that such a service starts, as mount(8) does, is none.
    @Test func journalGetsPriorities() throws {
        try scenario(
            Self.manager + """
            "$V" create "$P" --size 256M; : > "$T/journal"
            stream=$(stat -c '%d:%i' "$T/journal")
            JOURNAL_STREAM=$stream "$V" "$P" "$M" 2>> "$T/journal" & daemon=$!
            said journal '^<6>msg=serving pool='; running $daemon; touch "$M/v"; exec 5<"$M/v"; kill -TERM $daemon
            said journal '^<4>msg="still open" volume=v'; exec 5<&-; wait $daemon
            grep -vE '^<[3-7]>msg=' journal > "$T/out" && fail "without priority: $(cat "$T/out")"
            # Standard error is not the journal.
            : > plain; JOURNAL_STREAM=1:1 "$V" "$P" "$M" 2>> plain & daemon=$!
            said plain '^volfs: level=info msg=serving'; kill -TERM $daemon; wait $daemon
            # The process that the manager started is another one.
            JOURNAL_STREAM=$stream SYSTEMD_EXEC_PID=1 timeout 20 "$V" "$P" "$M" 2>> journal || fail "not in the background: $?"
            grep -q " $M fuse" /proc/mounts || fail "not mounted"; unmount_pool
            """)
    }

    /// With nothing else said, a daemon in the background writes to syslog as volfs[NAME].
    @Test func backgroundLogsToSyslog() throws {
        try scenario(
            Self.manager + """
            "$V" create "$P" --size 256M
            cat > "$T/syslogd.py" <<'END'
            import socket, sys
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("/dev/log"); s.settimeout(60); print("up", flush=True)
            while True:
                text = s.recv(4096).decode(); print(text.replace("\\0", ""), flush=True)
                if "msg=stopped" in text: break
            END
            # A /dev of its own, so that the machine's log stays as it is.
            cat > "$T/inside" <<'END'
            set -e
            mount -t tmpfs none /dev; mknod /dev/fuse c 10 229; mknod /dev/null c 1 3; mknod /dev/urandom c 1 9
            python3 "$1/syslogd.py" > "$1/syslog" & log=$!
            for _ in $(seq 100); do [ -S /dev/log ] && break; sleep 0.05; done
            "$V" "$1/data.pool" "$1/mnt"; touch "$1/mnt/v"; "$V" umount "$1/mnt"; wait $log
            END
            unshare --mount bash "$T/inside" "$T"
            said syslog '^<30>.*volfs.*\\[data[.]pool\\]: msg=serving pool='; said syslog 'msg=stopped'
            """, tools: ["unshare"])
    }

    /// SIGHUP opens the log anew and reads the configuration, SIGUSR1 writes statistics, SIGUSR2 changes the level; a wrong
    /// configuration is named by file and line, and changes nothing.
    @Test func signalsForTheLog() throws {
        try scenario(
            Self.manager + """
            printf 'loglevel = info\\nlog = %s\\nmetrics = %s\\n' "$T/a.log" "$T/m.prom" > "$T/c.conf"
            "$V" create "$P" --size 256M; "$V" "$P" "$M" -o config="$T/c.conf"; daemon=$(daemon)
            said a.log "msg=serving"; said m.prom volfs_pool_size_bytes
            kill -USR1 $daemon; said a.log 'msg=statistics .*capacity='
            mv a.log a.log.1; kill -HUP $daemon; said a.log "configuration read"
            fails 1 touch "$M/new@snap"; grep -q refused a.log && fail "a refusal is no news"
            kill -USR2 $daemon; said a.log 'msg="log level" loglevel=debug'
            fails 1 touch "$M/new@snap"; said a.log 'level=debug msg=refused operation=create object=new@snap reason='
            printf 'loglevel = warning\\nlog = %s\\nmetrics = %s\\n' "$T/b.log" "$T/n.prom" > c.conf; kill -HUP $daemon; said n.prom volfs_pool_size_bytes
            kill -USR2 $daemon; said b.log loglevel=info
            echo 'loglevel = loud' >> c.conf; kill -HUP $daemon; said b.log "c.conf:4: loglevel=loud"; said b.log 'level=error msg="the configuration cannot be taken'
            kill -USR1 $daemon; said b.log 'msg=statistics'
            touch "$M/x" "$M/y" "$M/z"; grep -q '^volfs_volumes 3' n.prom && fail "written too early to be seen"
            unmount_pool; said b.log msg=stopped; grep -q '^volfs_volumes 3' n.prom || fail "not written at the end: $(grep volumes n.prom)"
            [ -z "$(ls | grep 'prom[.]')" ] || fail "left behind: $(ls)"
            """)
    }

    /// The second signal ends the daemon although a file is open: with a checkpoint, and status 1.
    @Test func secondSignalEndsAtOnce() throws {
        try scenario(
            Self.manager + """
            for signals in "TERM TERM" "INT INT" QUIT; do
                rm -f "$P"; : > log; "$V" create "$P" --size 256M; "$V" "$P" "$M" -f 2> log & daemon=$!
                said log msg=serving; head -c 1M /dev/urandom > "$M/v"; sum=$(cksum < "$M/v"); exec 5<"$M/v"
                for signal in $signals; do kill -$signal $daemon; sleep 0.5; done
                status=0; wait $daemon || status=$?; same $status 1 "after $signals"
                exec 5<&-; umount -l "$M" 2>/dev/null || true
                "$V" "$P" "$M" 2>/dev/null; same "$(cksum < "$M/v")" "$sum"; unmount_pool; clean
            done
            """)
    }

    /// What it was started wrong for is said, with status 1, or 2 for wrong usage.
    @Test func foregroundStatuses() throws {
        try scenario(
            """
            fails 1 "$V" "$T/none.pool" "$M" -f; says "no such file"
            fails 2 "$V" "$P" "$M" -f -o nonsense; says "nonsense: no such mount option"
            fails 1 env NOTIFY_SOCKET="$T/none" "$V" "$T/none.pool" "$M"
            """)
    }
}
