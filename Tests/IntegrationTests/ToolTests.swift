internal import TestSupport
import Testing

/// Ordinary tools on the files of a mount.
extension IntegrationTests {
    /// What cp, rsync and tar do with volumes: data equal, holes kept, times kept, and temporary names refused so that
    /// no half copy becomes a volume.
    @Test func copiersKeepHoles() throws {
        try scenario(
            """
            pool 1G; truncate -s 96M "$M/v"; for at in 0 40 90; do head -c 3M /dev/urandom | dd of="$M/v" bs=1M seek=$at conv=notrunc status=none; done; touch -d '2020-02-02 02:02:02.123456789' "$M/v"
            sectors=$(stat -c %b "$M/v"); same $sectors $((9 * 2048)); cd "$M"
            compare() { cmp "$1" "$M/v" || fail "$1 differs"; [ $(stat -c %b "$1") -le $((sectors + 2048)) ] || fail "$1 has $(stat -c %b "$1") sectors, v has $sectors"; }
            cp --sparse=always v "$T/one"; compare "$T/one"; cp v "$T/two"; compare "$T/two"; cp --sparse=always "$T/one" back; compare back; cp v copy; compare copy
            cp --sparse=never v whole; cmp whole v; cat v > cat; cmp cat v; cp -p v kept; same "$(stat -c '%y %a' kept)" "$(stat -c '%y %a' v)" "cp -p"
            # Zeros of a whole copy are holes again.
            for name in back copy whole kept; do [ $(stat -c %b $name) -le $((sectors + 2048)) ] || fail "$name has $(stat -c %b $name) sectors"; done
            fails 1 cp --reflink=always v reflink; rm -f reflink
            rsync -t --inplace "$T/one" rsynced; cmp rsynced v; same "$(stat -c %Y rsynced)" "$(stat -c %Y "$T/one")"
            head -c 1M /dev/urandom | dd of="$T/one" bs=1M seek=70 conv=notrunc status=none; rsync --inplace --no-whole-file "$T/one" rsynced; cmp rsynced "$T/one"
            fails 23 rsync "$T/two" named; same "$(ls -A | grep -c '^[.]' || true)" 0; [ ! -e named ] || fail "a refused copy became a volume"
            tail -20 .ctl/errors | grep -q ' \\.named\\.' || fail "no reason for the refused name: $(tail -1 .ctl/errors)"
            tar -S -cf "$T/v.tar" v; [ $(stat -c %s "$T/v.tar") -lt $((10 << 20)) ] || fail "tar -S stored holes"; mkdir "$T/x"; tar -C "$T/x" -xSf "$T/v.tar"; compare "$T/x/v"
            mkdir .ctl/snap/v/s; cp --sparse=always v@s "$T/s"; cmp "$T/s" v; fails 1 cp "$T/s" v@s; fails 1 cp v v@new; says 'not permitted'; cd /; unmount_pool; clean
            """, tools: ["rsync", "tar", "cmp"])
    }

    /// du shows what a volume refers to, df what the pool has, both at once after each change; a snapshot and a clone
    /// take nothing.
    @Test func sizesThatDuAndDfShow() throws {
        try scenario(
            """
            pool 1G; cd "$M"
            # Free bytes as df has them, without the few blocks of metadata that come and go.
            free() { sync -f .; df --block-size=1 --output=avail . | tail -1; }
            near() { local off=$(($1 - $2)); [ ${off#-} -le $((2 << 20)) ] || fail "$3: $1 is not about $2"; }
            start=$(free); same "$(df --output=source . | tail -1)" "$P"; same "$(df --output=fstype . | tail -1)" fuse.volfs
            truncate -s 8G v; same "$(du -k v | cut -f1) $(du -k --apparent-size v | cut -f1)" "0 8388608"; near $(free) $start "free with an empty volume"
            dd if=/dev/urandom of=v bs=1M count=100 seek=50 conv=notrunc status=none; same "$(du -k v | cut -f1)" 102400; near $(free) $((start - (100 << 20))) "free after 100 MiB"
            mkdir .ctl/snap/v/s; ln -s v@s .ctl/clone/c; same "$(du -k v@s c | cut -f1 | tr '\\n' ' ')" "102400 102400 "; near $(free) $((start - (100 << 20))) "free after a snapshot and a clone"
            dd if=/dev/urandom of=c bs=1M count=50 seek=50 conv=notrunc status=none; same "$(du -k c | cut -f1)" 102400; near $(free) $((start - (150 << 20))) "free after 50 MiB of the clone"
            fallocate -p -o 100M -l 50M c; same "$(du -k c | cut -f1)" 51200; near $(free) $((start - (150 << 20))) "free after a discard of what is shared"
            fallocate -d c; same "$(du -k c | cut -f1)" 51200; rm c; freed; near $(free) $((start - (100 << 20))) "free without the clone"
            truncate -s 0 v; same "$(du -k v | cut -f1)" 0; near $(free) $((start - (100 << 20))) "free while the snapshot has it"; rmdir .ctl/snap/v/s; freed; near $(free) $start "free in the end"
            same "$(find . -size +0 | wc -l)" 0; same "$(find . -type f -empty)" ./v; cd /; unmount_pool; clean
            """)
    }

    /// What stat(1) says that other tools go by: numbers that outlive renames, mounts and a kill, the unit of allocation, times of data and of
    /// names; and what a write asks besides.
    @Test func attributesThatToolsGoBy() throws {
        try scenario(
            """
            pool 1G; cd "$M"; head -c 10M /dev/urandom > v; head -c 1M /dev/urandom > w; mkdir .ctl/snap/v/s .ctl/snap/w/s; ln -s v@s .ctl/clone/c
            same "$(stat -c '%h %o %F' v v@s c | sort -u)" "1 131072 regular file"; same "$(stat -c '%s %b' v v@s c | sort -u)" "$((10 << 20)) $((20 << 10))"
            same "$(stat --file-system -c '%s %S %l' .)" "4096 4096 255"
            # A checkpoint may lie between the two.
            for _ in 1 2 3 4 5; do read -r blocks free available < <(stat --file-system -c '%b %f %a' .); now=$(json available); [ $((available * 4096)) != $now ] || break; done
            same $((blocks * 4096)) $(json capacity); same $((available * 4096)) $now; [ $available -lt $free ] && [ $free -lt $blocks ] || fail "blocks $blocks, free $free, available $available"
            numbers() { stat -c '%n %i' v* w* c; find .ctl/vol .ctl/snap .ctl/clone -printf '%p %i\n' | grep -v '/data ' | sort; }
            before=$(numbers); same "$(echo "$before" | awk '{ print $NF }' | sort | uniq -d)" "" "numbers that are not unique"; same "$(stat -c %i v@s)" "$(stat -c %i .ctl/snap/v/s/data)"
            cd /; unmount_pool; mount_pool; cd "$M"; same "$(numbers)" "$before" "numbers after a remount"; of=$(stat -c %i v v@s); mv v x; same "$(stat -c %i x x@s)" "$of" "after a rename"; mv x v
            cd /; kill -9 $(daemon); sleep 0.2; mount_pool; cd "$M"; same "$(numbers)" "$before" "numbers after a kill"; same "$(find . -inum $(stat -c %i v))" ./v
            # moves NAMES COMMAND…: which of the times of data (Y) and of names (Z) it changes.
            moves() { local want=$1 m=$(stat -c %.9Y v) c=$(stat -c %.9Z v) got=; shift; sleep 0.02; "$@"; [ "$(stat -c %.9Y v)" = "$m" ] || got=Y; [ "$(stat -c %.9Z v)" = "$c" ] || got=${got}Z; same "$got" "$want" "times that changed: $*"; }
            moves YZ dd if=/dev/urandom of=v bs=4k count=1 conv=notrunc status=none; moves YZ fallocate -p -o 0 -l 4096 v; moves YZ truncate -s 11M v; moves Z chmod 640 v; moves Z chown 1:1 v; moves Z setfattr -n user.note -v x v
            moves "" cat v > /dev/null; moves "" mkdir .ctl/snap/v/t; touch -d '2001-01-01 00:00:00.5' v; same "$(stat -c %.9Y v)" "$(date -d '2001-01-01 00:00:00.5' +%s.%N)"
            same "$(stat -c %Y v@t)" "$(stat -c %Z v@t)" "mtime of a snapshot is its creation"
            # A write asks for nothing but the write.
            python3 - <<'END'
            import os, re
            def asked():
                counts = dict(re.findall(r'volfs_request_seconds_count\\{op="([a-z]+)"\\} ([0-9]+)', open(".ctl/metrics").read()))
                return int(counts["write"]), int(counts["attributes"])
            f = os.open("v", os.O_RDWR); before = asked()
            for n in range(200): os.pwrite(f, b"x" * 1000, n * 1000)
            after = asked()
            assert after[0] - before[0] == 200 and after[1] - before[1] < 20, (before, after)
            END
            cd /; unmount_pool; clean
            """, tools: ["setfattr"])
    }

    /// A whole mount by the tools that take everything: each snapshot in full, but not what is hidden; and each in the sum of du. Names
    /// with a colon are for whoever writes a path.
    @Test func wholeMountsAndNamesAsPaths() throws {
        try scenario(
            """
            pool 512M; head -c 4M /dev/urandom > "$M/v"; truncate -s 64M "$M/v"; mkdir "$M/.ctl/snap/v/2026-11-21T01:24"; ln -s v "$M/.ctl/clone/c"; S=v@2026-11-21T01:24
            same "$(cd "$M"; du -ck v "$S" c | tail -1 | cut -f1)" $((3 * 4096)) "what du -c says"; [ $(json allocated) -lt $((5 << 20)) ] || fail "not shared"
            taken() { (cd "$1"; find . -type f | sort | xargs); }
            rsync --archive --sparse "$M/" by-rsync; cp --archive "$M/." by-cp; mkdir by-tar; tar -C "$M" -S -cf - . | tar -C by-tar -xSf -
            for copy in by-rsync by-cp by-tar; do same "$(taken $copy)" "./c ./v ./$S" $copy; for name in c v "$S"; do cmp "$copy/$name" "$M/$name"; [ $(stat -c %b "$copy/$name") -le 8400 ] || fail "$copy/$name: holes are lost"; done; done
            # The name by a path is a file to all of them.
            (cd "$M"; fails 1 qemu-img info "$S"; says 'Unknown protocol'; qemu-img info "./$S" > "$T/out"; says 'file format: raw'; qemu-img compare "./$S" "$M/v" > /dev/null; rsync "./$S" "$T/copied"; cmp "$T/copied" v)
            loop=$(attach "$M/$S"); same "$(cat /sys/block/${loop#/dev/}/loop/backing_file)" "$M/$S"; same "$(blockdev --getro $loop)" 1; same "$(losetup --noheadings --output NAME --associated "$M/$S")" $loop; cmp -n $((64 << 20)) $loop "$M/v"; losetup -d $loop
            unmount_pool; mount_pool -o snapshots=hidden; same "$(taken "$M")" "./c ./v"; cmp "$M/$S" "$M/v"; rsync --archive "$M/" hidden; same "$(taken hidden)" "./c ./v"; unmount_pool; clean
            """, tools: ["rsync", "tar", "qemu-img"])
    }

    /// ls shows when snapshots were made, find and du keep out of .ctl, and bash completes names in .ctl/snap as it is
    /// set up by default.
    @Test func listingsAndCompletion() throws {
        try scenario(
            """
            pool 256M; echo x > "$M/root"; cd "$M"; mkdir .ctl/snap/root/before-upgrade; sleep 1.1; mkdir .ctl/snap/root/after; mkdir .ctl/snap/root/2026-11-21T0124Z; touch root
            same "$(ls -t --time=ctime .ctl/snap/root | grep -v 2026 | tr '\\n' ' ')" "after before-upgrade "
            now=$(date +%s); for s in before-upgrade after; do made=$(stat -c %Z .ctl/snap/root/$s); [ $((now - made)) -lt 60 ] && [ $made -le $now ] || fail "$s was made at $made, now is $now"; same $(stat -c %Z root@$s) $made; done
            [ $(stat -c %Z .ctl/snap/root/before-upgrade) -lt $(stat -c %Z .ctl/snap/root/after) ] || fail "times do not order"
            ls -l --time=ctime .ctl/snap/root | grep -q "$(date -d @$(stat -c %Z .ctl/snap/root/after) '+%b %e %H:%M') after" || fail "$(ls -l --time=ctime .ctl/snap/root)"
            same "$(find . | sort | tr '\\n' ' ')" ". ./root ./root@2026-11-21T0124Z ./root@after ./root@before-upgrade "; same "$(du -a . | grep -c ctl || true)" 0
            same "$(find . -newer root@after -name root)" ./root; same "$(stat -c %h root root@after | sort -u)" 1; same "$(stat -c %i root@after)" "$(stat -c %i .ctl/snap/root/after/data)"; cmp root@after .ctl/snap/root/after/data
            # An interactive bash, asked for all completions of a word.
            cat > "$T/complete.py" <<'EOF'
            import os, pty, re, select, sys, time
            pid, fd = pty.fork()
            if pid == 0: os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], {"PS1": "ready> ", "PATH": os.environ["PATH"], "TERM": "dumb", "HISTFILE": ""})
            def until(pattern):
                text = ""; end = time.time() + 20
                while not re.search(pattern, text):
                    if not select.select([fd], [], [], max(0, end - time.time()))[0]: sys.exit("no %r in %r" % (pattern, text))
                    text += os.read(fd, 4096).decode()
                return text
            until("ready> "); os.write(fd, ("echo " + sys.argv[1] + "\\t\\n").encode())
            print(until(r"echo [\\s\\S]*\\n[\\s\\S]*ready> ").replace("\\r", "").split("\\n")[1])
            EOF
            complete_word() { python3 "$T/complete.py" "$1"; }
            same "$(complete_word .ctl/snap/root/be)" ".ctl/snap/root/before-upgrade/"; same "$(complete_word .ctl/snap/root/af)" ".ctl/snap/root/after/"; same "$(complete_word .ctl/snap/ro)" ".ctl/snap/root/"; same "$(complete_word .ctl/vol/root/in)" ".ctl/vol/root/info"
            cd /; unmount_pool; clean
            """)
    }
}
