internal import TestSupport
import Testing

/// Pools on the exports of NBD servers.
extension IntegrationTests {
    /// `begin KIND` starts a server of the image `$T/image`, and `$U` is what it serves; `crash` ends it as kill -9 does.
    private static let servers = #"""
        truncate -s 2G image; qemu-img create -q -f qcow2 image.qcow2 2G; U="nbd+unix:///disk?socket=$T/s"
        begin() {
            rm -f "$T/s"
            case $1 in
            nbdkit) nbdkit --foreground --unix "$T/s" file "$T/image" & ;;
            qemu-raw) qemu-nbd --socket "$T/s" --format raw --export-name disk --persistent --shared 10 --discard unmap "$T/image" & ;;
            qemu-qcow2) qemu-nbd --socket "$T/s" --format qcow2 --export-name disk --persistent --shared 10 --discard unmap "$T/image.qcow2" & ;;
            nbd-server) printf '[generic]\nunixsock = %s\nlistenaddr = 127.0.0.1\nport = %s\n[disk]\nexportname = %s\nflush = true\nfua = true\ntrim = true\n' "$T/s" $((20000 + $$ % 20000)) "$T/image" > "$T/config"
                nbd-server -C "$T/config" -p "$T/pid" 2> /dev/null; for _ in $(seq 100); do [ -s "$T/pid" ] && break; sleep 0.05; done ;;
            volfs) [ -e "$T/below.pool" ] || { "$V" create "$T/below.pool" --size 4G; "$V" new "$T/below.pool" disk 2G; }
                "$V" serve "$T/below.pool" --nbd unix:"$T/s" > /dev/null & ;;
            esac
            server=${!:-}; [ $1 != nbd-server ] || server=$(cat "$T/pid"); for _ in $(seq 200); do timeout 5 nbdinfo --size "$U" > /dev/null 2>&1 && return; sleep 0.05; done; fail "$1 does not begin"
        }
        # nbdkit 1.32 may abort by itself where a connection ends while it answers on it: once more a server that was killed.
        serving() { running $server || { echo "RESULT $1 ended by itself"; begin $1; }; }
        crash() { pkill -9 -P $server 2> /dev/null || true; kill -9 $server 2> /dev/null || true; wait $server 2> /dev/null || true; rm -f "$T/s"; }

        """#

    /// Every command that takes a pool, on every server, mounted and not.
    @Test(arguments: ["nbdkit", "qemu-raw", "qemu-qcow2", "nbd-server", "volfs"]) func poolOnAServer(kind: String) throws {
        try scenario(
            Self.servers + #"""
            begin $1
            "$V" create "$U" --dry-run | grep -q 'make a pool of 2.0 GiB'; "$V" create "$U"; fails 5 "$V" create "$U"; says 'holds something already'
            "$V" create "$U" --force --json | grep -q '"size":2147483648'
            "$V" new "$U" disk 256M; "$V" new "$U&timeout=9" other 64M; "$V" list "$U" | grep -q '^disk .*256.0 MiB'
            head -c 20M /dev/urandom > a.raw; "$V" import "$U" a.raw small; "$V" export "$U" small b.raw; cmp a.raw b.raw
            "$V" snapshot "$U" small@s; "$V" clone "$U" small@s c; "$V" rename "$U" c d; "$V" set "$U" d user.note=x 2> /dev/null || true
            "$V" "$U" "$M"; daemon=$(daemon)
            # The same pool by another text is the same pool.
            "$V" status "$U&reconnect=7" | grep -q "mounted .*at $M, by process $daemon"; "$V" list "$U" | grep -q '^d '
            fails 6 "$V" serve "$U" --nbd unix:"$T/t"; says "is mounted at $M by process $daemon"; fails 32 "$V" "$U" "$T"
            cd "$M"; cmp small "$T/a.raw"; dd if="$T/a.raw" of=disk bs=1M conv=fsync,notrunc status=none; cp small disk2; sync disk2; cmp disk2 "$T/a.raw"
            mkfs.ext4 -q disk; fsck.ext4 -fn disk > /dev/null 2>&1; rm other; fallocate -p -o 0 -l 10M disk2
            cd "$T"; "$V" check "$U" | grep -q '^clean'; "$V" scrub "$U" > /dev/null
            "$V" umount "$U"; fails 4 "$V" umount "$U"; "$V" check "$U" --data | grep -q '^clean'; "$V" repair --dry-run "$U" > /dev/null
            "$V" dump "$U" > dump; "$V" restore "$U" dump --dry-run > /dev/null; "$V" restore "$U" dump --force; "$V" check "$U" --data | grep -q '^clean'
            fails 2 "$V" grow "$U" 1G; fails 7 "$V" grow "$U" 3G; says 'make the export larger there first'
            # Read-only, beside nobody who writes; and the lock of who does.
            "$V" "$U" "$M" -o ro; [ "$(head -c 4096 "$M/small" | cksum)" = "$(head -c 4096 a.raw | cksum)" ]; fails 1 touch "$M/new"; says 'Read-only'; "$V" umount "$M"
            "$V" serve "$U" --nbd unix:"$T/t" > uri & serving=$!; for _ in $(seq 100); do [ -s uri ] && break; sleep 0.1; done
            fails 6 "$V" list "$U"; says "in use by process $serving"; fails 32 "$V" "$U" "$M" -o lock_wait=0; says 'in use by'
            same "$(timeout 20 nbdinfo --size "nbd+unix:///small?socket=$T/t")" 20971520; kill $serving; wait $serving
            "$V" check "$U" | grep -q '^clean'; "$V" status "$U" > /dev/null; "$V" info "$U" > /dev/null; "$V" destroy "$U" -y disk2
            kill $server; wait $server || true
            """#, [kind], tools: ["nbdkit", "qemu-nbd", "qemu-img", "nbd-server", "nbdinfo", "mkfs.ext4"], seconds: 200)
    }

    /// kill -9 of the server, again and again, and it begins anew: the mount goes on, and has all that was acknowledged. Then of the
    /// daemon, and of both: what was fsynced is there. A server of qcow2 loses with its process what it has not flushed.
    @Test(arguments: ["nbdkit", "qemu-qcow2", "volfs"]) func killedServerAndClient(kind: String) throws {
        try scenario(
            Self.servers + #"""
            begin $1; "$V" create "$U"; "$V" new "$U" disk 128M; "$V" "$U" "$M"
            cat > "$T/writer.py" <<'END'
            # Writes numbered blocks. In the first log is what was acknowledged, in the second what a later fsync covered.
            import os, random, struct, sys, threading
            mount, log, start = sys.argv[1], sys.argv[2], int(sys.argv[3])
            written, synced = open(log + ".written", "ab", buffering=0), open(log + ".synced", "ab", buffering=0)
            def work(me):
                f = os.open(mount + "/disk", os.O_RDWR); r = random.Random(start * 7 + me); n = start; unsynced = b""
                try:
                    while not os.path.exists(log + ".stop"):
                        n += 1; k = me * 8192 + r.randrange(8192)
                        os.pwrite(f, struct.pack("<QQ", n, k) * 256, k * 4096); unsynced += struct.pack("<QQ", n, k)
                        written.write(struct.pack("<QQ", n, k))
                        if r.randrange(10) == 0: os.fsync(f); synced.write(unsynced); unsynced = b""
                        if me == 0 and r.randrange(300) == 0: os.mkdir(mount + "/.ctl/snap/disk/s%d" % n)
                except OSError as e:
                    if len(sys.argv) > 4: print("error", e, flush=True); os._exit(1)
            threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
            for t in threads: t.start()
            for t in threads: t.join()
            END
            cat > "$T/verify.py" <<'END'
            import os, struct, sys
            last, newest = {}, {}
            data = open(sys.argv[2], "rb").read()
            for at in range(0, len(data) - 15, 16):
                n, k = struct.unpack_from("<QQ", data, at); last[k] = max(n, last.get(k, 0))
            f = os.open(sys.argv[1] + "/disk", os.O_RDONLY); disk = b"".join(os.pread(f, 1 << 20, at) for at in range(0, os.fstat(f).st_size, 1 << 20))
            lost = 0
            for k, n in last.items():
                found, where = struct.unpack_from("<QQ", disk, k * 4096)
                if where != k or found < n: lost += 1
            print(len(last), "blocks,", lost, "lost"); sys.exit(1 if lost else 0)
            END
            # The server alone.
            daemon=$(daemon); python3 "$T/writer.py" "$M" "$T/log" 1 strict > "$T/said" & writer=$!
            for round in $(seq $2); do sleep 0.$((RANDOM % 7 + 2)); crash; sleep 0.$((RANDOM % 4)); begin $1; done
            sleep 0.5; touch "$T/log.stop"; wait $writer || fail "$(cat "$T/said")"; same "$(daemon)" $daemon "another daemon"
            python3 "$T/verify.py" "$M" "$T/log.written" > "$T/verdict" || fail "server killed: $(cat "$T/verdict")"
            echo "RESULT $1: server killed $2 times: $(cat "$T/verdict"), $(($(stat -c %s "$T/log.written") / 16)) writes acknowledged"
            serving $1; "$V" check "$U" > "$T/check" 2>&1 || fail "$(cat "$T/check")"; grep '^clean' "$T/check"
            # The client, then both at once.
            for round in $(seq $3); do
                rm -f "$T/log.stop"; daemon=$(daemon); python3 "$T/writer.py" "$M" "$T/log" $((round * 1000000)) & writer=$!
                sleep 0.$((RANDOM % 7 + 3))
                if [ $((round % 2)) = 0 ]; then crash; kill -9 $daemon; begin $1; else kill -9 $daemon; fi
                wait $writer || true; ended $daemon
                serving $1; "$V" check "$U" > "$T/check" 2>&1 && grep -q '^clean' "$T/check" || fail "round $round: $(cat "$T/check")"
                "$V" "$U" "$M"; python3 "$T/verify.py" "$M" "$T/log.synced" > "$T/verdict" || fail "round $round: $(cat "$T/verdict")"
            done
            echo "RESULT $1: client or both killed $3 times: $(cat "$T/verdict") that were fsynced, $(($(stat -c %s "$T/log.synced") / 16)) fsynced writes"
            "$V" umount "$M"; serving $1; "$V" check "$U" --data | grep '^clean'; kill $server; wait $server || true
            """#, [kind, "6", "6"], tools: ["nbdkit", "qemu-nbd", "qemu-img", "nbdinfo"], seconds: 200)
    }

    /// What is wrong is said, with what to do: addresses, exports, servers and options.
    /// While the server is gone, the mount says so and since when; where it serves NBD itself is said too. What stood for its lock is gone after it.
    @Test func goneServerIsSaid() throws {
        try scenario(
            Self.servers + #"""
            begin qemu-raw; "$V" create "$U"; "$V" new "$U" disk 64M; "$V" "$U" "$M" -o nbd=unix:"$T/own"; daemon=$(daemon); same "$(cat "$M/.ctl/state")" ready
            "$V" status "$M" > out; says "^nbd +nbd.unix:///.socket=$T/own$"; "$V" status --json "$M" | grep -qF '"nbd":["nbd+unix:///?socket='"$T/own"'"]' 
            crash; state() { for _ in $(seq 400); do [ "$(cat "$M/.ctl/state")" = $1 ] && return; sleep 0.05; done; fail "state $(cat "$M/.ctl/state"), want $1"; }
            state waiting; fails 10 "$V" status "$M"; says "^state +waiting: the pool's server has not been reached since 20.*Z; what needs it waits"; grep -q '^server  *the pool' "$M/.ctl/stats"; grep -q 'pool_state{state="waiting"} 1' "$M/.ctl/metrics"
            begin qemu-raw; state ready; "$V" status "$M" > out; says '^state +ready$'; echo more > "$M/new"; lock=$(readlink /proc/$daemon/fd/* | grep /locks/nbd-); [ -e "$lock" ]; "$V" umount "$M"; [ ! -e "$lock" ] || fail "$lock stays"; "$V" check "$U" | grep -q '^clean'; [ ! -e "$lock" ] || fail "$lock stays"; crash
            """#, tools: ["qemu-nbd", "qemu-img", "nbdinfo"])
    }

    @Test func mistakesWithServers() throws {
        try scenario(
            Self.servers + #"""
            fails 10 "$V" list "$U"; says 'cannot be reached: No such file'
            fails 10 "$V" list nbd://127.0.0.1:1/x; says 'Connection refused'; fails 10 "$V" list nbd://nothing.invalid/x; says 'no host of that name'
            fails 2 "$V" list nbdx://h/; says 'write nbd://HOST'; fails 2 "$V" list 'nbd+unix:///x?socket=s'; says "begins with /"
            fails 2 "$V" list 'nbd+unix:///x'; says 'no socket'; fails 2 "$V" list 'nbd://h/?foo=1'; says 'nothing known; there is socket'
            fails 2 "$V" list 'nbd://h/?timeout=x'; says 'another value'; fails 2 "$V" list 'nbd://h/?tls-certificates=/x'; says 'nbds://'
            fails 32 "$V" "$U" "$M"; says 'cannot be reached'; fails 8 "$V" check "$U"; says 'cannot be reached'
            begin qemu-raw
            fails 4 "$V" list "nbd+unix:///other?socket=$T/s"; says 'no export of that name'
            fails 9 "$V" list "nbds+unix:///disk?socket=$T/s"; says 'no TLS'
            fails 8 "$V" list "$U"; says 'not a volfs pool'; fails 2 "$V" create "$U" --size 1G; says 'leave it out'
            "$V" create "$U"; "$V" new "$U" disk 64M; fails 32 "$V" "$U" "$M" -o direct; says 'leave it out'
            kill $server; wait $server || true
            # Read-only, and one that cannot flush.
            nbdkit --foreground --readonly --unix "$T/s" file "$T/image" & server=$!; for _ in $(seq 100); do [ -S s ] && break; sleep 0.1; done
            fails 32 "$V" "$U" "$M"; says 'read-only; mount it with -o ro'; "$V" list "$U" | grep -q '^disk'; "$V" "$U" "$M" -o ro; ls "$M/disk"; "$V" umount "$M"; crash
            nbdkit --foreground --unix "$T/s" eval get_size='echo 64M' pread='dd if=/dev/zero count=$3 iflag=count_bytes' pwrite='dd of=/dev/null' can_write='exit 0' can_flush='exit 3' 2> /dev/null & server=$!
            for _ in $(seq 100); do [ -S s ] && break; sleep 0.1; done; fails 1 "$V" create "$U"; says 'cannot make anything durable'; crash
            # Something else answers there; a server that says nothing.
            python3 -c 'import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); c,_=s.accept(); c.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n"); c.recv(9); c,_=s.accept(); time.sleep(60)' "$T/s" & server=$!
            for _ in $(seq 100); do [ -S s ] && break; sleep 0.1; done; fails 1 "$V" list "$U"; says 'no NBD server'
            fails 10 timeout 20 "$V" list "$U&timeout=1"; says 'does not answer'; crash
            # Too small, and not a whole number of blocks.
            truncate -s 1000000 tiny; nbdkit --foreground --unix "$T/s" file tiny & server=$!; for _ in $(seq 100); do [ -S s ] && break; sleep 0.1; done
            fails 2 "$V" create "$U"; says 'too small'; crash
            truncate -s 70000333 odd; nbdkit --foreground --unix "$T/s" file odd & server=$!; for _ in $(seq 100); do [ -S s ] && break; sleep 0.1; done
            "$V" create "$U"; "$V" new "$U" v 8M; "$V" check "$U" | grep -q '^clean'; crash
            # No room on the server is no room, not damage: what is refused is refused, and a mount goes on once there is some.
            truncate -s 256M full; touch "$T/trouble"; rm "$T/trouble"
            nbdkit --foreground --unix "$T/s" --filter=error file full error-pwrite=ENOSPC error-rate=100% error-file="$T/trouble" & server=$!; for _ in $(seq 100); do [ -S s ] && break; sleep 0.1; done
            "$V" create "$U"; "$V" new "$U" disk 64M; "$V" "$U" "$M"; head -c 1M /dev/urandom > a; cp a "$M/x"; sync "$M/x"; touch "$T/trouble"
            fails 1 dd if=a of="$M/disk" bs=1M conv=fsync,notrunc; says 'No space left'
            rm "$T/trouble"; "$V" umount "$M" 2> /dev/null || true; for _ in $(seq 100); do "$V" check "$U" > out 2>&1 && break; sleep 0.1; done; grep -q '^clean' out || fail "$(cat out)"
            "$V" "$U" "$M"; cmp a "$M/x"; dd if=a of="$M/disk" bs=1M conv=fsync,notrunc status=none; cmp -n 1048576 a "$M/disk"; "$V" umount "$M"; "$V" check "$U" | grep -q '^clean'
            crash
            """#, tools: ["nbdkit", "qemu-nbd", "qemu-img", "nbdinfo"], seconds: 200)
    }

    /// TLS with certificates of both sides and with keys; strangers on either side, and another host's name.
    @Test func encryptedPoolOnAServer() throws {
        try scenario(
            Self.servers + #"""
            mkdir x509 psk stranger; cd x509
            certtool --generate-privkey --key-type=ecdsa --outfile ca-key.pem 2>/dev/null
            printf 'cn = test\nca\ncert_signing_key\n' > ca.info; certtool --generate-self-signed --load-privkey ca-key.pem --template ca.info --outfile ca-cert.pem 2>/dev/null
            issue() { printf '%s\n' "$@" > "$name.info"; certtool --generate-privkey --key-type=ecdsa --outfile $name-key.pem 2>/dev/null
                certtool --generate-certificate --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem --load-privkey $name-key.pem --template $name.info --outfile $name-cert.pem 2>/dev/null; }
            name=server issue 'cn = localhost' 'dns_name = localhost' tls_www_server signing_key; name=client issue 'cn = client' tls_www_client signing_key
            cd ..; certtool --generate-privkey --key-type=ecdsa --outfile stranger/ca-key.pem 2>/dev/null
            certtool --generate-self-signed --load-privkey stranger/ca-key.pem --template x509/ca.info --outfile stranger/ca-cert.pem 2>/dev/null
            port=$((20000 + $$ % 20000))
            nbdkit --foreground --ipaddr 127.0.0.1 --port $port --tls=require --tls-certificates="$T/x509" --tls-verify-peer file image & server=$!
            N="nbds://localhost:$port/disk?tls-certificates=$T/x509"; for _ in $(seq 100); do "$V" create "$N" > out 2>&1 && break; sleep 0.1; done; [ ! -s out ] || fail "$(cat out)"
            "$V" new "$N" disk 64M; "$V" "$N" "$M"; head -c 30M /dev/urandom > a; dd if=a of="$M/disk" bs=1M conv=fsync,notrunc status=none; cmp -n 31457280 a "$M/disk"; "$V" umount "$N"
            "$V" check "$N" --data | grep -q '^clean'
            fails 9 "$V" list "nbd://localhost:$port/disk"; says 'wants TLS; write nbds'; fails 9 "$V" list "nbds://localhost:$port/disk"; says 'TLS could not be agreed'
            fails 9 "$V" list "nbds://localhost:$port/disk?tls-certificates=$T/stranger"; says 'TLS could not'
            fails 9 "$V" list "$N&tls-hostname=other.example"; says 'host name'; fails 1 "$V" list "nbds://localhost:$port/disk?tls-certificates=$T/nothing"; says 'cannot be used'
            kill $server; wait $server || true
            psktool --username alice --pskfile psk/keys.psk > /dev/null; psktool --username alice --pskfile stranger/keys.psk > /dev/null
            "$V" create "$P" --size 4G; "$V" new "$P" disk 1G; "$V" serve "$P" --nbd unix:"$T/s" --tls "$T/psk" > uri & server=$!; for _ in $(seq 100); do [ -s uri ] && break; sleep 0.1; done
            K="nbds+unix://alice@/disk?socket=$T/s&tls-psk-file=$T/psk/keys.psk"; "$V" create "$K"; "$V" new "$K" v 64M; "$V" "$K" "$M"
            dd if=a of="$M/v" bs=1M conv=fsync,notrunc status=none; "$V" umount "$M"; "$V" check "$K" --data | grep -q '^clean'
            fails 9 "$V" list "nbds+unix://alice@/disk?socket=$T/s&tls-psk-file=$T/stranger/keys.psk"; fails 1 "$V" list "nbds+unix://bob@/disk?socket=$T/s&tls-psk-file=$T/psk/keys.psk"
            fails 9 "$V" list "nbd+unix:///disk?socket=$T/s"; says 'wants TLS'; kill $server; wait $server
            """#, tools: ["nbdkit", "certtool", "psktool", "qemu-img", "nbdinfo"], seconds: 200)
    }
}
