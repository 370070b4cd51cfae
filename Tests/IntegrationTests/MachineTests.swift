internal import TestSupport
import Testing

/// A machine that runs from a volume: qemu in software emulation, told what to do over its monitor.
extension IntegrationTests {
    /// Talks to a machine's monitor.
    private static let monitor = """
        cat > qmp.py <<'EOF'
        # qmp.py SOCKET: commands of QMP, a JSON object a line on standard input; "wait EVENT" waits for one. Prints what is returned.
        import json, socket, sys
        s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(60); f = s.makefile("rw"); f.readline(); seen = []
        def answer(line):
            f.write(line + "\\n"); f.flush()
            while True:
                reply = json.loads(f.readline())
                if "event" in reply: seen.append(reply["event"]); continue
                return reply
        answer('{"execute":"qmp_capabilities"}')
        for line in sys.stdin:
            line = line.strip()
            if line.startswith("wait "):
                while line[5:] not in seen: seen.append(json.loads(f.readline()).get("event"))
                print(line[5:])
            elif line: reply = answer(line); print(json.dumps(reply.get("return", reply.get("error", {}).get("desc"))))
        EOF
        qmp() { timeout 90 python3 "$T/qmp.py" "$T/qmp"; }
        # Waits until the machine runs: its socket is there before its disks are open, an answer comes after that only.
        runs() { for _ in $(seq 100); do [ -S "$T/qmp" ] && break; sleep 0.1; done; echo '{"execute":"query-status"}' | qmp > "$T/status"; grep -q running "$T/status" || fail "machine: $(cat "$T/status" "$T/machine")"; }

        """

    /// A running qemu sees its disk grow, a second one is refused the image, and what it discards is free.
    @Test func diskOfARunningMachine() throws {
        try scenario(
            Self.monitor + """
            pool 256M; truncate -s 512M "$M/disk"
            human() { printf '{"execute":"human-monitor-command","arguments":{"command-line":"%s"}}\\n' "$1" | qmp > /dev/null; grep -qi 'fail\\|error' "$T/machine" && fail "$1: $(cat "$T/machine")"; return 0; }
            qemu-system-x86_64 -accel tcg -m 64 -nodefaults -display none -qmp unix:"$T/qmp",server=on,wait=off \\
                -drive file="$M/disk",format=raw,if=none,id=d,cache=none,aio=native,discard=unmap,detect-zeroes=unmap -device virtio-blk-pci,drive=d > "$T/machine" 2>&1 & machine=$!
            runs
            # Its locks keep others out.
            fails 1 qemu-io -f raw -c 'write 0 4k' "$M/disk"; says 'lock'; fails 1 timeout 20 qemu-system-x86_64 -accel tcg -nodefaults -display none -S -drive file="$M/disk",format=raw; says 'lock'
            qemu-img info -U "$M/disk" | grep -q '512 MiB'; fails 1 rm "$M/disk"; says busy; grep -q "pid=$machine .*mode=rw" "$M/.ctl/vol/disk/users" || fail "users: $(cat "$M/.ctl/vol/disk/users")"
            # It is told of a larger disk, whoever made it so.
            resize() { printf '{"execute":"block_resize","arguments":{"device":"d","size":%d}}' $(($1 << 20)) | qmp; }
            same "$(resize 768)" '{}'; same "$(stat -c %s "$M/disk")" $((768 << 20)); truncate -s 1G "$M/disk"; same "$(resize 1024)" '{}'
            echo '{"execute":"query-block"}' | qmp | python3 -c 'import json, sys; i = json.load(sys.stdin)[0]["inserted"]; assert i["image"]["virtual-size"] == 1 << 30 and i["drv"] == "raw", i'
            human 'qemu-io d \\"write -P 7 64M 64M\\"'; human 'qemu-io d \\"flush\\"'; full=$(stat -c %b "$M/disk"); same $full 131072
            human 'qemu-io d \\"discard 64M 32M\\"'; same $((full - $(stat -c %b "$M/disk"))) 65536 "sectors given back by a discard"
            human 'qemu-io d \\"write -z -u 96M 16M\\"'; same $((full - $(stat -c %b "$M/disk"))) 98304 "sectors given back by zeros"
            human 'qemu-io d \\"read -P 7 112M 16M\\"'; human 'qemu-io d \\"read -P 0 64M 48M\\"'; same "$(grep -c '^read' "$T/machine")" 2
            echo '{"execute":"quit"}' | qmp > "$T/end"; wait $machine || true; rm "$M/disk"; freed; unmount_pool; clean
            """, tools: ["qemu-system-x86_64", "qemu-io", "qemu-img"])
    }

    /// A guest that fills the pool is paused and sees no error; with space made, it goes on, and all it wrote is there.
    @Test func fullPoolPausesTheMachine() throws {
        try scenario(
            Self.monitor + """
            pool 64M; dd if=/dev/urandom of="$M/ballast" bs=1M count=$((($(json available) >> 20) - 3)) status=none; truncate -s 256M "$M/disk"
            python3 - "$M/disk" <<'EOF'
            # The guest is a boot sector: it writes 192 times 32 KiB of the letter Z from 32 KiB on, then ends the machine with status 33, or 65 after an error.
            import sys
            at = lambda offset: (0x7c00 + offset).to_bytes(2, "little")
            code = bytes.fromhex("31c0 8ed8 8ec0 8ed0 bc007c bf0080 b90040 b85a5a fc f3ab")
            dap, count = 0x60, 0x70
            loop = bytes.fromhex("be") + at(dap) + bytes.fromhex("b80043 cd13") + b"\\x72\\x10" + bytes.fromhex("668306") + at(dap + 8) + b"\\x40" + bytes.fromhex("ff0e") + at(count)
            loop += b"\\x75" + (256 - len(loop) - 2).to_bytes(1, "little")
            code += loop + bytes.fromhex("b010 e6f4 b020 e6f4 f4")
            code = code.ljust(dap, b"\\0") + bytes.fromhex("1000 4000 0080 0000") + (64).to_bytes(8, "little") + (192).to_bytes(2, "little")
            open(sys.argv[1], "r+b").write(code.ljust(510, b"\\0") + b"\\x55\\xaa")
            EOF
            qemu-system-x86_64 -accel tcg -m 64 -nodefaults -display none -no-reboot -device isa-debug-exit,iobase=0xf4 -qmp unix:"$T/qmp",server=on,wait=off \\
                -drive file="$M/disk",format=raw,if=none,id=d,cache=none,aio=native,werror=enospc -device virtio-blk-pci,drive=d > "$T/machine" 2>&1 & machine=$!
            for _ in $(seq 100); do [ -S "$T/qmp" ] && break; sleep 0.1; done; qmp < /dev/null
            status() { echo '{"execute":"query-status"}' | qmp | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])'; }
            for _ in $(seq 300); do [ "$(status)" = io-error ] && break; sleep 0.1; done; same "$(status)" io-error "the guest's machine"
            grep -q 'write disk errno=28' "$M/.ctl/errors" || fail "no reason given: $(cat "$M/.ctl/errors")"
            rm "$M/ballast"; freed; echo '{"execute":"cont"}' | qmp > "$T/cont"; got=0; wait $machine || got=$?; same $got 33 "how the guest ended"
            same "$(dd if="$M/disk" bs=32K skip=1 count=192 status=none | tr -d Z | wc -c)" 0 "bytes that are not the guest's"; same "$(stat -c %b "$M/disk")" $(((6 << 11) + 8)) "sectors"
            unmount_pool; clean
            """, tools: ["qemu-system-x86_64"])
    }
}
