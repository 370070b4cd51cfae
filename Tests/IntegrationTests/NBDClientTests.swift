internal import TestSupport
import Testing

/// The server with the clients that people use.
extension IntegrationTests {
    /// An image converted in and out by either door compares equal; the maps of both contexts are true; every export is listed.
    @Test func qemuToolsOverNBD() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 4G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"; U="nbd+unix:///disk?socket=$T/s"
            python3 -c 'import os
            f = open("'$T'/source.raw", "wb"); f.truncate(256 << 20)
            for n in range(50): f.seek(n * 5 << 20); f.write(os.urandom(1 << 20))'
            truncate -s 256M disk
            # In by NBD, out by the file; in by the file, out by NBD.
            qemu-img convert -n -f raw -O raw "$T/source.raw" "$U"
            cmp "$T/source.raw" disk
            [ $(stat -c %b disk) -le $((60 * 2048)) ] || fail "zeros take space: $(stat -c %b disk)"
            qemu-img compare -f raw -F raw "$T/source.raw" "$U"
            qemu-img convert -f raw -O raw "$U" "$T/back.raw"; cmp "$T/source.raw" "$T/back.raw"
            qemu-img info --output=json "$U" | python3 -c 'import json,sys; assert json.load(sys.stdin)["virtual-size"] == 256 << 20'
            mkdir .ctl/snap/disk/a; ln -s disk@a .ctl/clone/copy
            qemu-io -f raw -c 'write -P 0x5a 3M 2M' -c 'aio_write -P 0x77 64k 128k' -c aio_flush -c flush -c 'read -P 0x5a 3M 2M' -c 'read -P 0x77 64k 128k' \
                -c 'discard 3M 1M' -c 'read -P 0 3M 1M' -c 'write -z 4M 64k' -c 'write -z -u 4160k 64k' -c 'read -P 0 4M 128k' -c 'write -f -P 9 8M 512' "nbd+unix:///copy?socket=$T/s" > "$T/io"
            fails 1 grep -i 'fail\|error\|invalid' "$T/io"
            # What the maps say is what the file says.
            qemu-img map --output=json -f raw "$U" > "$T/map"
            qemu-img map --output=json --image-opts "driver=nbd,server.type=unix,server.path=$T/s,export=copy,x-dirty-bitmap=qemu:allocation-depth" > "$T/depth"
            python3 - "$T" <<'END'
            import json, os, sys
            t = sys.argv[1]
            f = os.open("disk", os.O_RDONLY)
            def data_at(off):
                try: return os.lseek(f, off, os.SEEK_DATA) == off
                except OSError: return False
            entries = json.load(open(t + "/map"))
            assert sum(e["length"] for e in entries) == 256 << 20 and any(e["data"] for e in entries) and any(e["zero"] for e in entries)
            for e in entries:
                for off in (e["start"], e["start"] + e["length"] - 4096): assert data_at(off) == e["data"] == (not e["zero"]), (e, off)
            END
            nbdinfo --map=qemu:allocation-depth --json "nbd+unix:///copy?socket=$T/s" > "$T/depth.json"
            python3 - "$T" <<'END'
            import json, sys
            entries = json.load(open(sys.argv[1] + "/depth.json"))
            def depth(off): return next(e["type"] for e in entries if e["offset"] <= off < e["offset"] + e["length"])
            M = 1 << 20
            assert sum(e["length"] for e in entries) == 256 * M
            # Written here; inherited; given back; never there.
            assert (depth(64 << 10), depth(0), depth(5 * M), depth(3 * M), depth(6 * M)) == (1, 2, 2, 0, 0), entries[:8]
            # qemu takes the number's bits for those of base:allocation: a depth of 1 for a hole, of 2 for zeros, 0 for data.
            told = json.load(open(sys.argv[1] + "/depth"))
            def seen(off): return next((e["data"], e["zero"]) for e in told if e["start"] <= off < e["start"] + e["length"])
            assert sum(e["length"] for e in told) == 256 * M
            for off in (64 << 10, 0, 5 * M, 3 * M, 6 * M): assert seen(off) == {0: (True, False), 1: (False, False), 2: (True, True)}[depth(off)], (off, told[:8])
            assert depth(4 * M + (200 << 10)) == 1 and depth(8 * M) == 1
            END
            qemu-nbd --list -k "$T/s" > "$T/list"
            for name in disk disk@a copy; do grep -q "export: '$name'" "$T/list" || fail "$(cat "$T/list")"; done
            cd /; unmount_pool; clean
            """#, tools: ["qemu-img", "qemu-io", "qemu-nbd", "nbdinfo"], seconds: 120)
    }

    /// nbdcopy with four connections in both directions, nbdinfo, and a file that nbdfuse makes of an export; without a mount.
    @Test func libnbdToolsOverNBD() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 4G; "$V" new "$P" disk 200M; "$V" new "$P" back 200M
            "$V" serve "$P" --nbd unix:"$T/run/s" > "$T/uri" & server=$!
            for _ in $(seq 100); do [ -s "$T/uri" ] && break; sleep 0.1; done
            same "$(cat "$T/uri")" "nbd+unix:///?socket=$T/run/s"; same "$(stat -c %a "$T/run/s")" 600
            U="nbd+unix:///disk?socket=$T/run/s"; B="nbd+unix:///back?socket=$T/run/s"
            python3 -c 'import os
            f = open("'$T'/source.raw", "wb"); f.truncate(200 << 20)
            for n in range(30): f.seek(n * 6 << 20); f.write(os.urandom((1 << 20) + 4096))'
            nbdcopy --connections=4 --requests=16 --flush "$T/source.raw" "$U"
            nbdcopy --connections=4 "$U" "$T/back.raw"; cmp "$T/source.raw" "$T/back.raw"
            nbdcopy --connections=4 --flush "$U" "$B"
            nbdinfo --json "$U" > "$T/info"; nbdinfo --list --json "nbd+unix:///?socket=$T/run/s" > "$T/list"
            nbdinfo --map --json "$U" > "$T/map"; nbdinfo --map --json "$B" > "$T/map2"; nbdinfo --size "$U" > "$T/size"
            same "$(cat "$T/size")" $((200 << 20))
            python3 - "$T" <<'END'
            import json, sys
            t = sys.argv[1]
            info = json.load(open(t + "/info"))["exports"][0]
            assert info["export-size"] == 200 << 20 and info["block_size_maximum"] == 32 << 20 and info["block_size_preferred"] == 4096
            assert all(info[k] for k in ("can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero"))
            assert not info["is_read_only"] and info["contexts"] == ["base:allocation", "qemu:allocation-depth", "x-volfs:shared"]
            assert [e["export-name"] for e in json.load(open(t + "/list"))["exports"]] == ["back", "disk"]
            for name in ("/map", "/map2"):
                entries = json.load(open(t + name))
                assert sum(e["length"] for e in entries) == 200 << 20
                assert sum(e["length"] for e in entries if e["type"] == 0) == 30 * ((1 << 20) + 4096), entries[:5]
            END
            # A file on top of it.
            mkdir "$T/fuse"; nbdfuse "$T/fuse" "$B" & fuse=$!
            for _ in $(seq 100); do [ -e "$T/fuse/nbd" ] && break; sleep 0.1; done
            cmp "$T/fuse/nbd" "$T/source.raw"
            dd if=/dev/urandom of="$T/piece" bs=4096 count=100 status=none; dd if="$T/piece" of="$T/fuse/nbd" bs=4096 seek=1000 conv=notrunc,fsync status=none
            umount "$T/fuse"; wait $fuse || true
            nbdcopy "$B" "$T/out.raw"; cmp --ignore-initial=$((4096 * 1000)):0 --bytes=409600 "$T/out.raw" "$T/piece"
            kill $server; wait $server || fail "exit $?"
            [ ! -e "$T/run" ] || fail "the socket is left"
            clean
            """#, tools: ["nbdcopy", "nbdinfo", "nbdfuse"], seconds: 120)
    }

    /// Structured reads, block status, every flag where it belongs, and requests that no client should send.
    @Test func everyFlagAndMistakeOverNBD() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 4G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"; truncate -s 64M disk; mkdir .ctl/snap/disk/a
            cat > "$T/all.py" <<'END'
            import errno, nbd, os, sys
            socket = sys.argv[1]
            def connect(name="disk", contexts=("base:allocation",), structured=True, **kw):
                h = nbd.NBD(); h.set_strict_mode(0); h.set_request_structured_replies(structured)
                for c in contexts: h.add_meta_context(c)
                h.connect_uri("nbd+unix:///%s?socket=%s" % (name, socket)); return h
            def fails(want, f, *a, **kw):
                try: f(*a, **kw)
                except nbd.Error as e:
                    assert e.errnum == want, (f, a, e); return
                assert False, (f, a, "succeeded")
            M = 1 << 20
            h = connect(); size = h.get_size(); assert size == 64 * M and h.get_structured_replies_negotiated()
            # Structured reads: data and holes, each byte once.
            h.pwrite(b"\x11" * M, 8 * M)
            seen = []
            buf = h.pread_structured(4 * M, 6 * M, lambda data, off, kind, err: seen.append((off, len(data), kind)) or 0)
            assert buf == bytearray(2 * M) + b"\x11" * M + bytearray(M)
            assert sorted(seen) == [(6 * M, 2 * M, nbd.READ_HOLE), (8 * M, M, nbd.READ_DATA), (9 * M, M, nbd.READ_HOLE)], seen
            seen = []
            h.pread_structured(4 * M, 6 * M, lambda data, off, kind, err: seen.append(kind) or 0, nbd.CMD_FLAG_DF)
            assert seen == [nbd.READ_DATA]
            # Every flag where it belongs.
            h.pwrite(b"\x22" * 4096, 0, nbd.CMD_FLAG_FUA); h.flush()
            h.zero(4096, 0, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE); assert h.pread(4096, 0) == bytearray(4096)
            h.pwrite(b"\x22" * 8192, 0); h.zero(8192, 0, nbd.CMD_FLAG_FAST_ZERO); assert h.pread(8192, 0) == bytearray(8192)
            h.pwrite(b"\x33" * 8192, 0); h.trim(4096, 0, nbd.CMD_FLAG_FUA); assert h.pread(8192, 0) == bytearray(4096) + b"\x33" * 4096
            h.pwrite(b"\x44" * 100, 4090); assert h.pread(4200, 4000)[:200] == bytearray(90) + b"\x44" * 100 + b"\x33" * 10
            h.cache(M, 0); h.cache(size, 0)
            got = []
            h.block_status(size, 0, lambda name, off, entries, err: got.append((name, off, entries)) or 0)
            (name, off, entries), = got; assert name == "base:allocation" and off == 0 and sum(entries[0::2]) == size and entries[0:4] == [8192, 0, 8 * M - 8192, 3], entries
            got.clear(); h.block_status(size - 4096, 4096, lambda *a: got.append(a[2]) or 0, nbd.CMD_FLAG_REQ_ONE); assert got == [[4096, 0]], got
            # Wrong ones where they do not.
            for flag in (nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_REQ_ONE, nbd.CMD_FLAG_FAST_ZERO, 1 << 9): fails(errno.EINVAL, h.pread, 512, 0, flag)
            for flag in (nbd.CMD_FLAG_DF, nbd.CMD_FLAG_NO_HOLE, 1 << 15): fails(errno.EINVAL, h.pwrite, b"x" * 512, 0, flag)
            fails(errno.EINVAL, h.trim, 512, 0, nbd.CMD_FLAG_FAST_ZERO)
            # Beyond the end, at the end, of nothing.
            fails(errno.EINVAL, h.pread, 512, size - 256); fails(errno.EINVAL, h.trim, 512, size); fails(errno.EINVAL, h.cache, 1, size)
            fails(errno.ENOSPC, h.pwrite, b"x" * 512, size - 256); fails(errno.ENOSPC, h.zero, 512, size)
            fails(errno.EINVAL, h.pread, 512, (1 << 64) - 512); fails(errno.ENOSPC, h.pwrite, b"x" * 512, (1 << 63) - 256)
            h.pread(0, 0); h.pwrite(b"", size); h.trim(0, 0); h.zero(0, 0)
            fails(errno.EINVAL, h.block_status, 0, 0, lambda *a: 0)
            fails(errno.EINVAL, h.pread, 33 * M, 0); fails(errno.EOVERFLOW, h.pread, 33 * M, 0, nbd.CMD_FLAG_DF)
            fails(errno.EINVAL, h.pwrite, bytearray(33 * M), 0)
            h.pread(32 * M, 0); h.pwrite(bytearray(32 * M), 0)
            assert h.pread(512, 0) == bytearray(512) and h.aio_in_flight() == 0
            # A snapshot.
            s = connect("disk%40a"); assert s.is_read_only() and s.get_size() == size
            for f, a in ((s.pwrite, (b"x" * 512, 0)), (s.trim, (512, 0)), (s.zero, (512, 0))): fails(errno.EPERM, f, *a)
            assert s.pread(4096, 8 * M) == bytearray(4096); s.flush()
            # Simple replies.
            p = connect(contexts=(), structured=False); assert not p.get_structured_replies_negotiated() and not p.can_df()
            p.pwrite(b"\x55" * 4096, 12345); assert p.pread(4096, 12345) == b"\x55" * 4096 == h.pread(4096, 12345)
            fails(errno.EINVAL, p.pread, 512, size)
            # Without a name only one volume would do; a name that is not there.
            for name in ("", "nothing", "disk%40nothing", "%40a", "disk%40"):
                try: connect(name); ok = name == ""
                except nbd.Error as e: ok = name != "" and e.errnum == errno.ENOENT
                assert ok, name
            # A client that does not speak the fixed style could not be told why it is refused.
            o = nbd.NBD(); o.set_handshake_flags(0); o.set_export_name("disk")
            try: o.connect_unix(socket); assert False
            except nbd.Error: pass
            for c in (h, s, p): c.shutdown()
            END
            /usr/bin/python3 "$T/all.py" "$T/s"
            truncate -s 1M second
            fails 1 qemu-img info "nbd+unix:///?socket=$T/s"; says 'there are 2 volumes; name one'
            cd /; unmount_pool; clean
            """#, tools: ["nbdinfo", "qemu-img"], seconds: 120)
    }

    /// Random reads and writes at depth 32 verify while snapshots are taken.
    @Test func fioVerifiesOverNBD() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 4G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"; truncate -s 512M disk
            fio --name=v --ioengine=nbd --uri="nbd+unix:///disk?socket=$T/s" --rw=randrw --bsrange=4k-1M --iodepth=32 --size=256M --io_size=2G \
                --verify=crc32c --verify_backlog=512 --verify_fatal=1 --randseed=7 --output="$T/fio" & fio=$!
            for n in $(seq 10); do mkdir .ctl/snap/disk/s$n; sleep 0.2; done
            wait $fio || fail "$(tail -20 "$T/fio")"
            grep -q 'err= 0' "$T/fio" || fail "$(cat "$T/fio")"
            nbdcopy "nbd+unix:///disk%40s10?socket=$T/s" "$T/s10"; cmp "$T/s10" disk@s10
            cd /; unmount_pool; clean
            """#, tools: ["fio", "nbdcopy"], seconds: 200)
    }

    /// Only what the dirty bitmap since a snapshot names, copied over the old image, makes the new one.
    @Test func incrementalBackupOverNBD() throws {
        try scenario(
            #"""
            "$V" create "$P" --size 4G; "$V" "$P" "$M" -o nbd=unix:"$T/s"; cd "$M"; truncate -s 128M root
            dd if=/dev/urandom of=root bs=1M count=60 conv=notrunc status=none
            mkdir .ctl/snap/root/a
            qemu-img convert -f raw -O raw "nbd+unix:///root%40a?socket=$T/s" "$T/backup"; cmp root@a "$T/backup"
            # Changes by both doors: written, zeroed, discarded, written with what was there.
            dd if=/dev/urandom of=root bs=4096 seek=1000 count=300 conv=notrunc status=none
            qemu-io -f raw -c 'write -P 7 100M 5M' -c 'discard 10M 1M' -c 'write -z 20M 64k' "nbd+unix:///root?socket=$T/s" > /dev/null
            mkdir .ctl/snap/root/b:2
            dd if=/dev/urandom of=root bs=1M seek=70 count=3 conv=notrunc status=none
            # As a backup program does it: ask for what has changed, read that, and put it into the old image.
            /usr/bin/python3 - "$T/s" "$T/backup" <<'END'
            import nbd, sys
            h = nbd.NBD(); h.add_meta_context("qemu:dirty-bitmap:since-a"); h.connect_uri("nbd+unix:///root%40b%3A2?socket=" + sys.argv[1])
            assert h.can_meta_context("qemu:dirty-bitmap:since-a") and h.is_read_only()
            size, at, copied, f = h.get_size(), 0, 0, open(sys.argv[2], "r+b")
            while at < size:
                got = []
                h.block_status(min(size - at, 32 << 20), at, lambda name, off, entries, err: got.extend(entries) or 0)
                for length, flags in zip(got[0::2], got[1::2]):
                    if flags & 1:
                        left = length
                        while left:
                            n = min(left, 1 << 20); f.seek(at); f.write(h.pread(n, at)); at += n; left -= n; copied += n
                    else: at += length
            f.close()
            assert 7 << 20 < copied < 8 << 20, copied
            END
            cmp "$T/backup" root@b:2
            # The same by qemu's own tools: the map of the bitmap has the changes as not data.
            qemu-img map --output=json --image-opts "driver=nbd,server.type=unix,server.path=$T/s,export=root@b:2,x-dirty-bitmap=qemu:dirty-bitmap:since-a" > "$T/map"
            python3 - "$T/map" <<'END'
            import json, sys
            dirty = sum(e["length"] for e in json.load(open(sys.argv[1])) if not e["data"])
            assert dirty == 300 * 4096 + (5 << 20) + (1 << 20) + 65536, dirty
            END
            nbdinfo --map=qemu:dirty-bitmap:since-b:2 --totals "nbd+unix:///root?socket=$T/s" > "$T/totals"
            grep -Eq '^ *3145728 .* dirty$' "$T/totals" || fail "$(cat "$T/totals")"
            same "$(nbdinfo --json "nbd+unix:///root?socket=$T/s" | grep -c dirty-bitmap)" 2
            # A snapshot that is gone is no context any more; what had it selected is told so.
            rmdir .ctl/snap/root/a
            fails 1 nbdinfo --map=qemu:dirty-bitmap:since-a "nbd+unix:///root?socket=$T/s"
            cd /; unmount_pool; clean
            """#, tools: ["qemu-img", "qemu-io", "nbdinfo"], seconds: 120)
    }
}
