/// A service manager that keeps descriptors, in Python: what systemd does with FDSTORE=1, and some harm on demand.
enum KeepingManager {
    /// `managed OPTION…` makes one that serves `$P` at `$M`, `managed_as WORD…` one that runs the program with these words; `$T/heard` has what it heard and did, `$T/log` the daemon's log.
    /// `serving` is the daemon's process; `restarted N` waits for the Nth READY=1; `order WORDS` has it do something:
    /// start · leave (as killed daemons leave what they began, all slots full) · count (says `taken N and N` slots) · refuse (keep nothing any more) · drop NAME · write OFFSET HEX [sum] (into what is known of the mount) · hold and free
    /// (start nothing, start again) · end.
    static let prelude = """
        cat > "$T/manager.py" <<'END'
        # Keeps what the daemon gives it, starts it again when it was killed or has handed over, and does what comes through a FIFO.
        import array, os, select, signal, socket, sys
        sock, log, fifo, command = sys.argv[1], open(sys.argv[2], "w"), sys.argv[3], sys.argv[4:]
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sock); os.chmod(sock, 0o777); s.settimeout(0.05)
        orders = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        kept, process, keeps, restarts = {}, None, True, True
        def say(text): log.write(text + "\\n"); log.flush()
        def crc(data):
            c = 0xffffffff
            for b in data:
                c ^= b
                for _ in range(8): c = c >> 1 ^ 0x82f63b78 & -(c & 1)
            return c ^ 0xffffffff
        def start():
            global process
            fds = sorted(kept.items())
            # Numbers out of the way first, so that none is overwritten.
            high = [os.dup(fd) for _, fd in fds]
            pid = os.fork()
            if pid == 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                moved = []
                import fcntl
                for fd in high: moved.append(fcntl.fcntl(fd, fcntl.F_DUPFD, 200))
                for i, fd in enumerate(moved): os.dup2(fd, 3 + i, inheritable=True)
                os.closerange(3 + len(moved), 1024)
                os.environ["NOTIFY_SOCKET"] = sock
                if moved:
                    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(moved)), LISTEN_FDNAMES=":".join(n for n, _ in fds))
                os.execv(command[0], command)
            for fd in high: os.close(fd)
            process = pid; say("started %d" % pid)
        def forget(name):
            if name in kept: os.close(kept.pop(name)); say("forgot " + name)
        start()
        while True:
            try:
                data, rights, _, _ = s.recvmsg(8192, socket.CMSG_SPACE(64))
                text = data.decode(); fds = array.array("i")
                for level, kind, part in rights:
                    if kind == socket.SCM_RIGHTS: fds.frombytes(part[:len(part) // 4 * 4])
                words = dict(l.split("=", 1) for l in text.split("\\n") if "=" in l)
                if "FDSTORE" in words and keeps:
                    name = words["FDNAME"]
                    if name in kept: os.close(kept[name])
                    kept[name] = fds[0]; say("kept " + name)
                else:
                    for fd in fds: os.close(fd)
                if "FDSTOREREMOVE" in words: forget(words["FDNAME"])
                say(text.replace("\\n", "|"))
            except socket.timeout: pass
            # As the real one: what is broken is not kept.
            p = select.poll()
            for fd in kept.values(): p.register(fd, 0)
            broken = [fd for fd, _ in p.poll(0)]
            for name in [n for n, fd in kept.items() if fd in broken]: forget(name)
            if process:
                pid, status = os.waitpid(process, os.WNOHANG)
                if pid:
                    process = None; code = os.waitstatus_to_exitcode(status); say("ended %d" % code)
                    if code in (75, -9) and restarts: start()
            try: order = os.read(orders, 4096).decode().split()
            except BlockingIOError: order = []
            if not order: continue
            if order[0] == "start": start()
            if order[0] in ("hold", "free"): restarts = order[0] == "free"
            if order[0] == "free" and not process: start()
            if order[0] == "refuse": keeps = False; [forget(n) for n in list(kept)]
            if order[0] == "drop": forget(order[1])
            if order[0] == "write":
                fd, at, data = kept["volfs-mount"], int(order[1]), bytes.fromhex(order[2])
                os.pwrite(fd, data, at)
                if len(order) > 3:
                    head = bytearray(os.pread(fd, 12288, 0)); head[12:16] = bytes(4); os.pwrite(fd, crc(head).to_bytes(4, "little"), 12)
            if order[0] in ("leave", "count"):
                fd = kept["volfs-mount"]; head = os.pread(fd, 24, 0)
                begun = 16384 + 64 * int.from_bytes(head[16:20], "little"); size = 64 * int.from_bytes(head[20:24], "little")
                if order[0] == "leave":
                    # As daemons that were killed between an answer and its note: every slot but one is taken.
                    slot = lambda n: n.to_bytes(8, "little") + bytes(24) + (1).to_bytes(8, "little") + bytes(24)
                    os.pwrite(fd, b"".join(slot((1 << 40) + 2 * n) for n in range(size // 64 - 1)), begun + 64)
                    os.pwrite(fd, b"".join(((1 << 40) + 2 * n).to_bytes(8, "little") + (1).to_bytes(8, "little") for n in range(64)), 12352)
                taken = lambda at, size, step: sum(os.pread(fd, 8, at + n) != bytes(8) for n in range(0, size, step))
                say("taken %d and %d" % (taken(begun, size, 64), taken(12352, 1024, 16)))
            if order[0] == "end": break
            say("did " + order[0])
        END
        managed() { managed_as "$P" "$M" "$@"; }
        managed_as() {
            mkfifo "$T/orders"
            python3 "$T/manager.py" "$T/notify" "$T/heard" "$T/orders" "$V" "$@" 2>> "$T/log" & manager=$!
            heard READY=1
        }
        heard() { for _ in $(seq 400); do grep -q -- "$1" "$T/heard" 2>/dev/null && return; sleep 0.05; done; fail "not heard: $1 in: $(tail -n 30 "$T/heard" "$T/log")"; }
        logged() { for _ in $(seq 400); do grep -q -- "$1" "$T/log" && return; sleep 0.05; done; fail "not logged: $1 in: $(tail -n 20 "$T/log")"; }
        done_orders() { grep -c '^did' "$T/heard" || true; }
        order() { local n; n=$(done_orders); echo "$*" > "$T/orders"; for _ in $(seq 400); do [ "$(done_orders)" -gt "$n" ] && return; sleep 0.05; done; fail "not done: $*"; }
        restarted() { for _ in $(seq 800); do [ "$(grep -c READY=1 "$T/heard")" -ge $1 ] && return; sleep 0.05; done; fail "not ready $1 times: $(tail -n 30 "$T/heard" "$T/log")"; }
        serving() { grep '^started' "$T/heard" | tail -n 1 | cut -d' ' -f2; }
        stop_all() { kill -TERM $(serving); heard 'ended 0'; echo end > "$T/orders"; wait $manager; clean; }

        """
}
