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
