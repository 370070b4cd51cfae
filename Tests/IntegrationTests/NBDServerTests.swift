internal import TestSupport
import Testing

/// The server beside a mount, without one, with TLS, and under attack.
extension IntegrationTests {
    /// `serve OPTION…` serves the pool, and `$T/uri` has where; `stop` ends it.
    private static let serving = #"""
        serve() { : > "$T/uri"; "$V" serve "$P" "$@" > "$T/uri" 2> "$T/log" & server=$!; for _ in $(seq 100); do [ -s "$T/uri" ] && return; kill -0 $server 2>/dev/null || return 0; sleep 0.1; done; }
        stop() { kill $server; wait $server || fail "exit $?"; }

        """#

    /// Both doors show the same bytes, sizes and users; a full pool and a quota are ENOSPC; unmounting ends the server.
    @Test func mountAndNBDAreCoherent() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 1G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"; truncate -s 64M disk
            cat > "$T/both.py" <<'END'
            import errno, nbd, os, random, subprocess, sys, time
            sock, mount = sys.argv[1], sys.argv[2]
            M = 1 << 20
            def connect(name="disk"):
                h = nbd.NBD(); h.add_meta_context("base:allocation"); h.connect_uri("nbd+unix:///%s?socket=%s" % (name, sock)); return h
            h, other = connect(), connect()
            f = os.open(mount + "/disk", os.O_RDWR)
            # What one door wrote the other reads, at once.
            r = random.Random(3)
            for n in range(300):
                off, data = r.randrange(0, 64 * M - 9000), os.urandom(r.randrange(1, 9000))
                (h.pwrite if n % 2 else lambda d, o: os.pwrite(f, d, o))(data, off)
                assert os.pread(f, len(data), off) == data == h.pread(len(data), off) == other.pread(len(data), off), n
            os.posix_fallocate  # a file of the mount
            h.zero(M, 0); assert os.pread(f, M, 0) == bytes(M)
            subprocess.check_call(["fallocate", "-p", "-o", str(2 * M), "-l", str(M), mount + "/disk"]); assert h.pread(M, 2 * M) == bytes(M)
            # Zeroes that keep the space reserve it; what is trimmed then stays reserved.
            def reserved(): return int(open(mount + "/.ctl/vol/disk/prop/reserved").read())
            assert reserved() == 0; h.zero(2 * M, 4 * M, nbd.CMD_FLAG_NO_HOLE); assert reserved() == 2 * M and h.pread(M, 4 * M) == bytes(M)
            h.trim(M, 4 * M); assert reserved() == 2 * M; h.zero(M, 20 * M); assert reserved() == 2 * M
            # A snapshot has both.
            h.pwrite(b"n" * 4096, 8 * M); os.pwrite(f, b"f" * 4096, 9 * M); os.mkdir(mount + "/.ctl/snap/disk/s")
            h.pwrite(b"x" * 4096, 8 * M); os.pwrite(f, b"x" * 4096, 9 * M)
            s = connect("disk%40s"); assert s.pread(4096, 8 * M) == b"n" * 4096 and s.pread(4096, 9 * M) == b"f" * 4096
            g = os.open(mount + "/disk@s", os.O_RDONLY); assert os.pread(g, 4096, 8 * M) == b"n" * 4096
            # Who uses it.
            users = open(mount + "/.ctl/vol/disk/users").read()
            mine = [l for l in users.splitlines() if l.startswith("pid=%d " % os.getpid()) and "mode=rw kind=nbd" in l]
            assert len(mine) == 2 and users.count("kind=fuse") == 1, users
            os.close(f); os.close(g)
            def errno_of(f, *a):
                try: f(*a); return 0
                except OSError as e: return e.errno
            # In use: it cannot be cut, nor a snapshot of it deleted that somebody reads.
            assert errno_of(os.truncate, mount + "/disk", 32 * M) == errno.EBUSY
            assert errno_of(os.rmdir, mount + "/.ctl/snap/disk/s") == errno.EBUSY
            s.shutdown(); del s
            os.rmdir(mount + "/.ctl/snap/disk/s")
            assert errno_of(os.unlink, mount + "/disk") == errno.EBUSY
            # A new size is for new connections; the old ones go on with theirs.
            os.truncate(mount + "/disk", 96 * M); assert h.get_size() == 64 * M
            h.set_strict_mode(0)
            try: h.pwrite(b"x" * 512, 70 * M); assert False
            except nbd.Error as e: assert e.errnum == errno.ENOSPC
            new = connect(); assert new.get_size() == 96 * M; new.pwrite(b"y" * 512, 95 * M); assert new.pread(512, 95 * M) == b"y" * 512
            # Renamed, it is still what it was.
            os.rename(mount + "/disk", mount + "/named"); new.pwrite(b"z" * 512, 95 * M)
            assert open(mount + "/named", "rb").read()[95 * M:95 * M + 512] == b"z" * 512
            os.rename(mount + "/named", mount + "/disk")
            # A flush on one connection covers what another has written.
            h.pwrite(b"q" * 4096, 0); other.flush()
            for c in (h, other, new): c.shutdown()
            del h, other, new
            deadline = time.time() + 20
            while open(mount + "/.ctl/vol/disk/users").read() and time.time() < deadline: time.sleep(0.05)
            os.truncate(mount + "/disk", 32 * M); os.unlink(mount + "/disk")
            END
            /usr/bin/python3 "$T/both.py" "$T/s" "$M"
            # A full pool is ENOSPC and nothing else, and goes on reading.
            truncate -s 8G big
            /usr/bin/python3 - "$T/s" <<'END'
            import errno, nbd, os, sys
            h = nbd.NBD(); h.connect_uri("nbd+unix:///big?socket=" + sys.argv[1])
            block, off = os.urandom(8 << 20), 0
            try:
                while True: h.pwrite(block, off); off += len(block)
            except nbd.Error as e: assert e.errnum == errno.ENOSPC, e
            assert 512 << 20 < off < 1 << 30 and h.pread(len(block), 0) == block
            h.trim(256 << 20, 0); h.flush(); h.pwrite(block, 0); h.shutdown()
            END
            rm big; echo on > /dev/null
            truncate -s 1M small; echo on > .ctl/vol/small/prop/fixed; echo 65536 > .ctl/vol/small/prop/quota
            /usr/bin/python3 - "$T/s" <<'END'
            import errno, nbd, sys
            h = nbd.NBD(); h.connect_uri("nbd+unix:///small?socket=" + sys.argv[1]); h.pwrite(b"x" * 65536, 0)
            try: h.pwrite(b"x" * 65536, 1 << 17); assert False
            except nbd.Error as e: assert e.errnum == errno.ENOSPC, e
            END
            # Unmounting ends the server; a client that is still there is told so.
            cd /; /usr/bin/python3 - "$T/s" > "$T/told" <<'END' & client=$!
            import errno, nbd, sys, time
            h = nbd.NBD(); h.set_strict_mode(0); h.connect_uri("nbd+unix:///small?socket=" + sys.argv[1]); print("in", flush=True)
            try:
                while True: h.pread(512, 0)
            except nbd.Error as e: print(e.errnum == errno.ESHUTDOWN, e, flush=True)
            END
            for _ in $(seq 100); do [ -s "$T/told" ] && break; sleep 0.1; done
            fails 6 "$V" umount "$M"; says 'small is open by pid'
            umount "$M"; wait $client; grep -q '^True' "$T/told" || fail "$(cat "$T/told")"
            for _ in $(seq 100); do "$V" list "$P" > "$T/out" 2>&1 && break; sleep 0.1; done
            [ ! -e "$T/s" ] || fail "the socket is left"
            clean
            """#, tools: ["nbdinfo"], seconds: 120)
    }

    /// Addresses, sockets that are left or taken, signals and the service manager.
    @Test func serveWithoutMount() throws {
        try scenario(
            Self.serving + #"""
            "$V" create "$P" --size 1G; "$V" new "$P" disk 16M
            # A path that somebody listens at is left alone; a stale one is replaced; what is no socket is left alone.
            serve --nbd unix:"$T/s"
            "$V" create "$T/other.pool" --size 64M; fails 6 "$V" serve "$T/other.pool" --nbd unix:"$T/s"; says 'another server answers there'
            fails 6 "$V" serve "$P" --nbd unix:"$T/t"; fails 6 "$V" info "$P"; fails 6 "$V" umount "$P"; says "volfs serve \\(process $server\\) has it; to end that: kill $server"
            same "$(nbdinfo --size "nbd+unix:///?socket=$T/s")" 16777216
            kill -9 $server; wait $server || true; [ -S "$T/s" ]
            serve --nbd unix:"$T/s"; same "$(nbdinfo --size "nbd+unix:///?socket=$T/s")" 16777216; stop
            [ ! -e "$T/s" ] || fail "the socket is left"
            touch "$T/file"; fails 5 "$V" serve "$P" --nbd unix:"$T/file"; [ -f "$T/file" ]
            # Addresses that other machines reach want TLS, or a word.
            for address in 0.0.0.0:0 '[::]:0' example.org:10809; do fails 2 "$V" serve "$P" --nbd "$address"; says 'other machines reach it'; done
            fails 2 "$V" serve "$P" --nbd nbds://127.0.0.1; fails 2 "$V" serve "$P" --nbd nonsense; fails 1 "$V" serve "$P" --nbd 127.0.0.1:0 --tls "$T/nothing"
            fails 2 "$V" "$P" "$M" -o nbd=nonsense; fails 2 "$V" "$P" "$M" -o nbd_readonly; fails 2 "$V" "$P" "$M" -o nbd=0.0.0.0:0
            fails 32 "$V" "$P" "$M" -o nbd=unix:"$T/file"; says "no socket"; fails 1 grep -q " $M fuse" /proc/mounts
            serve --nbd 127.0.0.1:0; grep -Eq '^nbd://127.0.0.1:[0-9]+$' "$T/uri"; same "$(nbdinfo --size "$(cat "$T/uri")/disk")" 16777216; stop
            serve --nbd 0.0.0.0:0 --insecure; port=$(sed 's/.*://' "$T/uri"); same "$(nbdinfo --size "nbd://localhost:$port/disk")" 16777216; stop
            serve --nbd unix:"$T/s" --read-only; nbdinfo --json "nbd+unix:///disk?socket=$T/s" | grep -q '"is_read_only": true'; stop
            "$V" "$P" "$M" -o nbd=unix:"$T/s",nbd=127.0.0.1:0,nbd_readonly,log="$T/log"; grep -q "serving NBD.* uri=nbd://127" "$T/log"
            nbdinfo --json "nbd+unix:///disk?socket=$T/s" | grep -q '"is_read_only": true'; unmount_pool
            # Without an address: below /run, by the pool's name.
            name=volfs-test-$$; cp --sparse=always "$P" "$T/$name.pool"; P=$T/$name.pool; serve
            same "$(cat "$T/uri")" "nbd+unix:///?socket=/run/volfs/$name/nbd.sock"; nbdinfo --size "nbd+unix:///disk?socket=/run/volfs/$name/nbd.sock" > /dev/null; stop
            [ ! -e "/run/volfs/$name" ] || fail "its directory is left"
            # The service manager hears of it, and what was written before SIGTERM is there.
            python3 - "$T/notify" > "$T/said" <<'END' &
            import socket, sys
            s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(sys.argv[1])
            while True:
                text = s.recv(4096).decode(); print(text, flush=True)
                if "STOPPING" in text: break
            END
            listener=$!; for _ in $(seq 100); do [ -S "$T/notify" ] && break; sleep 0.1; done
            export NOTIFY_SOCKET=$T/notify; serve --nbd unix:"$T/s"; qemu-io -f raw -c 'write -P 3 0 1M' "nbd+unix:///disk?socket=$T/s" > /dev/null; stop
            wait $listener; grep -q READY=1 "$T/said"; unset NOTIFY_SOCKET
            "$V" export "$P" disk "$T/out.raw"; python3 -c 'import sys; assert open(sys.argv[1], "rb").read(1 << 20) == b"\x03" * (1 << 20)' "$T/out.raw"
            clean
            """#, tools: ["nbdinfo", "qemu-io"], seconds: 120)
    }

    /// The context x-volfs:shared: what a snapshot has is shared, what was written since is not; what was copied is, in both places.
    @Test func sharedBlocksOverNBD() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 1G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"
            cat > "$T/shared.py" <<'END'
            import json, subprocess, sys
            text = subprocess.check_output(["nbdinfo", "--map=x-volfs:shared", "--json", "nbd+unix:///%s?socket=%s" % (sys.argv[1], sys.argv[2])])
            entries, at, parts = json.loads(text), 0, []
            for e in entries:
                assert e["offset"] == at; at += e["length"]
                if e["type"]: parts.append("%d+%d" % (e["offset"] >> 12, e["length"] >> 12))
            assert at == 4 << 20, at
            print(" ".join(parts))
            END
            shared() { /usr/bin/python3 "$T/shared.py" "$1" "$T/s"; }
            put() { dd if=/dev/urandom of="$1" bs=4k seek="$2" count="$3" conv=notrunc status=none; }
            truncate -s 4M v; put v 0 512; same "$(shared v)" ""
            mkdir .ctl/snap/v/one; same "$(shared v)" "0+512"
            put v 100 10; put v 600 5; same "$(shared v)" "0+100 110+402"
            ln -s v@one .ctl/clone/c; same "$(shared c)" "0+512"; put c 0 1; same "$(shared c)" "1+511"
            rm c; freed; rmdir .ctl/snap/v/one; freed; same "$(shared v)" ""
            cat v > w; same "$(shared v)" "0+512 600+5"; same "$(shared w)" "0+512 600+5"; rm w; freed; same "$(shared v)" ""
            # Only volumes have it.
            mkdir .ctl/snap/v/two; nbdinfo --list --json "nbd+unix:///?socket=$T/s" > "$T/list"
            same "$(grep -c x-volfs:shared "$T/list")" 1
            cd /; unmount_pool; clean
            """#, tools: ["nbdinfo"])
    }

    /// What was answered is there after the server was killed, whether or not it was flushed, and however many writes were under way.
    @Test func killedServerHasWhatItAnswered() throws {
        try scenario(
            Self.serving + #"""
            "$V" create "$P" --size 1G; "$V" new "$P" disk 64M
            cat > "$T/kill.py" <<'END'
            import nbd, os, random, signal, sys
            h = nbd.NBD(); h.connect_uri(sys.argv[1]); r = random.Random(int(sys.argv[3])); model = {}; done = [0]
            def write(block):
                data = bytes([r.randrange(1, 256)]) * 4096
                buffer = nbd.Buffer.from_bytearray(bytearray(data))
                def answered(error):
                    assert error.value == 0; done[0] += 1; model[block] = data; return 1
                h.aio_pwrite(buffer, block * 4096, answered)
            # Each block once, and 32 at a time; then the end comes with some unanswered.
            blocks = r.sample(range(16384), 4000)
            for block in blocks:
                while h.aio_in_flight() >= 32: h.poll(-1)
                write(block)
            while done[0] < 3900: h.poll(-1)
            os.kill(int(sys.argv[2]), signal.SIGKILL)
            with open("model", "wb") as f:
                for block, data in model.items(): f.write(block.to_bytes(4, "little") + data[:1])
            os._exit(0)
            END
            cat > "$T/look.py" <<'END'
            import nbd, sys
            h = nbd.NBD(); h.connect_uri(sys.argv[1]); model = open("model", "rb").read(); n = 0
            for at in range(0, len(model), 5):
                block = int.from_bytes(model[at:at + 4], "little"); n += 1
                assert bytes(h.pread(4096, block * 4096)) == model[at + 4:at + 5] * 4096, block
            assert n >= 3900, n
            END
            for seed in 1 2 3; do
                serve --nbd unix:"$T/s"; u="nbd+unix:///disk?socket=$T/s"
                /usr/bin/python3 "$T/kill.py" "$u" $server $seed; wait $server || true
                serve --nbd unix:"$T/s"; /usr/bin/python3 "$T/look.py" "$u"; stop
            done
            "$V" check "$P"
            """#, seconds: 120)
    }

    /// Certificates of both sides, keys, strangers, and what is said in the clear.
    @Test func encryptedNBD() throws {
        try scenario(
            Self.serving + #"""
            "$V" create "$P" --size 1G; "$V" new "$P" disk 64M
            mkdir x509 psk stranger; cd x509
            certtool --generate-privkey --key-type=ecdsa --outfile ca-key.pem 2>/dev/null
            printf 'cn = test\nca\ncert_signing_key\n' > ca.info; certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem 2>/dev/null
            issue() { printf '%s\n' "$@" > "$name.info"; certtool --generate-privkey --key-type=ecdsa --outfile $name-key.pem 2>/dev/null
                certtool --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem --load-privkey $name-key.pem --template $name.info --outfile $name-cert.pem 2>/dev/null; }
            name=server issue 'cn = localhost' 'dns_name = localhost' 'ip_address = 127.0.0.1' tls_www_server signing_key
            name=client issue 'cn = client' tls_www_client signing_key
            cd ..; cp x509/ca-cert.pem stranger; printf 'cn = other\nca\ncert_signing_key\n' > other.info
            certtool --generate-privkey --key-type=ecdsa --outfile stranger/client-key.pem 2>/dev/null
            certtool --generate-self-signed --load-privkey stranger/client-key.pem --template other.info --outfile stranger/client-cert.pem 2>/dev/null
            dd if=/dev/urandom of="$T/source.raw" bs=1M count=64 status=none
            # Certificates on both sides: libnbd, and nothing in the clear.
            serve --nbd nbds://127.0.0.1:0 --tls "$T/x509"; U="$(sed s/127.0.0.1/localhost/ "$T/uri")/disk"; case $U in nbds://*) ;; *) fail "$U" ;; esac
            timeout 60 nbdcopy --connections=4 --flush "$T/source.raw" "$U?tls-certificates=$T/x509"
            timeout 60 nbdcopy --connections=4 "$U?tls-certificates=$T/x509" "$T/back.raw"; cmp "$T/source.raw" "$T/back.raw"
            nbdinfo --json "$U?tls-certificates=$T/x509" | grep -q '"TLS": true'
            fails 1 timeout 20 nbdinfo "${U/nbds/nbd}"; fails 1 timeout 20 nbdinfo "$U?tls-certificates=$T/stranger"
            qemu-img compare --object tls-creds-x509,id=t,dir="$T/x509",endpoint=client --image-opts "driver=raw,file.driver=file,file.filename=$T/source.raw" \
                "driver=nbd,server.type=inet,server.host=localhost,server.port=$(sed 's/.*://' "$T/uri"),export=disk,tls-creds=t"
            # Whoever says something in the clear is told to encrypt, and no more; bytes behind STARTTLS are not taken for what comes through it.
            /usr/bin/python3 - "$(sed 's/.*://' "$T/uri")" <<'END'
            import socket, struct, sys
            def connect():
                s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20); assert len(s.recv(18, socket.MSG_WAITALL)) == 18; s.sendall(struct.pack(">I", 3)); return s
            def option(code, data=b""): return b"IHAVEOPT" + struct.pack(">II", code, len(data)) + data
            def reply(s):
                magic, opt, kind, size = struct.unpack(">QIII", s.recv(20, socket.MSG_WAITALL)); return kind, s.recv(size, socket.MSG_WAITALL) if size else b""
            s = connect()
            for code in (3, 6, 7, 8, 11, 4242):
                s.sendall(option(code, struct.pack(">I", 4) + b"disk" + b"\0\0")); kind, text = reply(s); assert kind == 0x80000005 and b"disk" not in text
            s.sendall(option(1, b"disk")); assert s.recv(1) == b""
            s = connect(); s.sendall(option(5) + option(3)); assert reply(s)[0] == 1
            try: assert s.recv(100)[:8] != b"\0\3\xe8\x89\4\x55\x65\xa9"
            except ConnectionError: pass
            s = connect(); s.sendall(option(5)); assert reply(s)[0] == 1; s.sendall(b"nonsense" * 100)
            try:
                while s.recv(1000): pass
            except ConnectionError: pass
            END
            stop
            # Keys.
            psktool --username alice --pskfile psk/keys.psk > /dev/null; psktool --username alice --pskfile stranger/keys.psk > /dev/null
            serve --nbd unix:"$T/s" --tls "$T/psk"; same "$(cat "$T/uri")" "nbds+unix:///?socket=$T/s"
            K="nbds+unix://alice@/disk?socket=$T/s&tls-psk-file=$T/psk/keys.psk"
            timeout 60 nbdcopy "$K" "$T/back.raw"; cmp "$T/source.raw" "$T/back.raw"
            fails 1 timeout 20 nbdinfo "nbds+unix://alice@/disk?socket=$T/s&tls-psk-file=$T/stranger/keys.psk"
            fails 1 timeout 20 nbdinfo "nbds+unix://bob@/disk?socket=$T/s&tls-psk-file=$T/psk/keys.psk"; fails 1 timeout 20 nbdinfo "nbd+unix:///disk?socket=$T/s"
            timeout 20 nbdinfo --size "$K" > /dev/null; stop
            # A directory without anything.
            mkdir empty; fails 1 "$V" serve "$P" --nbd unix:"$T/s" --tls "$T/empty"; says 'server-cert.pem'
            clean
            """#, tools: ["certtool", "psktool", "nbdcopy", "nbdinfo", "qemu-img"], seconds: 200)
    }

    /// Memory is bounded, no descriptor is lost, and an honest client goes on: it is counted beside and without them in one run.
    @Test func tenThousandHostileConnections() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 2G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"; truncate -s 256M disk; daemon=$(daemon)
            cat > "$T/hostile.py" <<'END'
            # Ten thousand connections that a server should survive, from a seed: bad magic, cut short, too long, half a message, slow.
            import os, random, select, socket, struct, sys
            path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
            r = random.Random(seed); held = []
            def option(code, data=b"", size=None): return b"IHAVEOPT" + struct.pack(">II", code, len(data) if size is None else size) + data
            def go(): return option(7, struct.pack(">I", 4) + b"disk" + b"\0\0")
            def request(kind=0, flags=0, off=0, size=512, magic=0x25609513): return struct.pack(">IHHQQI", magic, flags, kind, r.getrandbits(64), off, size)
            def conversation():
                kind = r.randrange(12); hello = struct.pack(">I", 3)
                if kind == 0: return os.urandom(r.randrange(200))
                if kind == 1: return struct.pack(">I", r.getrandbits(32))
                if kind == 2: return hello + option(r.getrandbits(32), size=r.getrandbits(32))
                if kind == 3: return hello + option(r.choice([3, 6, 7, 8, 9, 10, 11]), os.urandom(r.randrange(2000)))
                if kind == 4: return hello + b"".join(option(3) for _ in range(r.randrange(700)))
                if kind == 5: return hello + option(10, struct.pack(">I", 4) + b"disk" + struct.pack(">I", r.getrandbits(32)))
                if kind == 6: return hello + go() + os.urandom(r.randrange(300))
                if kind == 7: return hello + go() + request(1, 0, 0, 0xffffffff) + os.urandom(r.randrange(1000))
                if kind == 8: return hello + go() + b"".join(request(r.randrange(9), r.getrandbits(16), r.getrandbits(64), r.getrandbits(32)) for _ in range(r.randrange(50)))
                if kind == 9: return hello + go() + b"".join(request(0, 0, 0, 32 << 20) for _ in range(20))
                if kind == 10: return hello + go() + request(1, 0, 0, 1 << 20) + b"x" * r.randrange(1 << 16)
                return (hello + option(8) + go() + request(0, 0, 0, 4096))[:r.randrange(90)]
            for n in range(count):
                s = socket.socket(socket.AF_UNIX)
                s.connect(path); data = conversation(); s.setblocking(False)
                try:
                    while data:
                        sent = s.send(data[:r.choice([1, 7, 100, 65536])]); data = data[sent:]
                except (BlockingIOError, ConnectionError): pass
                # Some are left standing, some closed at once, some after what has come was thrown away.
                way = r.randrange(4)
                if way == 0: held.append(s)
                if way == 1:
                    try: s.recv(r.randrange(1, 100000))
                    except (BlockingIOError, ConnectionError): pass
                if way != 0: s.close()
                if len(held) > 150: held.pop(r.randrange(len(held))).close()
            print("sent", count, flush=True)
            for s in held: s.close()
            END
            cat > "$T/honest.py" <<'END'
            # Counts reads, each verified, while the same attack goes on: first on another server, so that the processors have as much to
            # do, then on this one.
            import nbd, os, subprocess, sys
            h = nbd.NBD(); h.connect_uri("nbd+unix:///disk?socket=" + sys.argv[1]); data = os.urandom(1 << 20); h.pwrite(data, 64 << 20)
            def turn(attacked):
                n, other = 0, subprocess.Popen([sys.executable, sys.argv[3], attacked] + sys.argv[4:])
                while other.poll() is None: assert h.pread(4096, (64 << 20) + n % 200 * 4096) == data[n % 200 * 4096:][:4096]; n += 1
                assert other.returncode == 0
                return n
            print("%d %d" % (turn(sys.argv[2]), turn(sys.argv[1])))
            END
            "$V" create "$T/other.pool" --size 1G; mkdir "$T/other"; "$V" "$T/other.pool" "$T/other" -o nbd=unix:"$T/o"; truncate -s 256M "$T/other/disk"
            counted() { ls /proc/$daemon/fd | wc -l; }
            resident() { awk '/VmRSS/ { print $2 }' /proc/$daemon/status; }
            /usr/bin/python3 "$T/hostile.py" "$T/s" 300 1 > /dev/null
            for _ in $(seq 300); do [ -z "$(cat .ctl/vol/disk/users)" ] && break; sleep 0.1; done; sleep 1
            descriptors=$(counted); before=$(resident); most=$before
            /usr/bin/python3 "$T/honest.py" "$T/s" "$T/o" "$T/hostile.py" ${1:-10000} 2 > "$T/counts" & run=$!
            while kill -0 $run 2>/dev/null; do now=$(resident); [ $now -gt $most ] && most=$now; sleep 0.2; done
            wait $run || fail "$(cat "$T/counts")"
            for _ in $(seq 300); do [ "$(counted)" -le $descriptors ] && [ -z "$(cat .ctl/vol/disk/users)" ] && break; sleep 0.1; done
            [ "$(counted)" -le $descriptors ] || fail "descriptors: $descriptors before, $(counted) after: $(ls -l /proc/$daemon/fd | tail -5)"
            read elsewhere here < <(grep '^[0-9]* [0-9]*$' "$T/counts"); "$V" umount "$T/other"
            echo "RESULT ${1:-10000} hostile connections: $((before / 1024)) MiB resident before, $((most / 1024)) at most; an honest client made $elsewhere reads while another server had them, $here while its own had; $descriptors descriptors before, $(counted) after"
            # The bound is 384 MiB for all connections, one request of each beyond it, and what the kernel's allocator keeps.
            [ $((most - before)) -lt $((768 * 1024)) ] || fail "memory: $before KiB before, $most at most"
            [ $((here * 25)) -gt $elsewhere ] || fail "an honest client: $elsewhere reads while another server had hostile clients, $here while its own had"
            nbdinfo --size "nbd+unix:///disk?socket=$T/s" > /dev/null
            cd /; unmount_pool; clean
            """#, tools: ["nbdinfo"], seconds: 400)
    }
}
