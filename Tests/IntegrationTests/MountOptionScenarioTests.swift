internal import TestSupport
import Testing

/// What mount options do.
extension IntegrationTests {
    /// Command line before environment before file; a wrong line is named; umount and a second mount find the same things.
    @Test func configurationFile() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            printf '# mine\\npool = %s\\nmountpoint = %s\\nctl = visible\\nlog = %s\\nro = yes\\n' "$P" "$M" "$T/file.log" > c.conf
            "$V" --config c.conf; ls -a "$M" | grep -qx .ctl || fail "ctl = visible has no effect"; fails 1 touch "$M/v"; [ -s file.log ] || fail "no log"
            "$V" umount --config c.conf; grep -q " $M fuse" /proc/mounts && fail "still mounted"
            "$V" mount --config c.conf -o rw,ctl=hidden; touch "$M/v"; ls -a "$M" | grep -qx .ctl && fail "the command line does not come first"; unmount_pool
            VOLFS_LOG=$T/env.log "$V" --config c.conf; [ -s env.log ] || fail "the environment does not come before the file"; unmount_pool
            VOLFS_LOG=$T/env2.log "$V" --config c.conf -o log="$T/line.log"; [ -s line.log ] && [ ! -e env2.log ] || fail "the command line does not come before the environment"; unmount_pool
            mkdir "$T/other"; "$V" "$P" "$T/other" -o config=c.conf; [ -d "$T/other/.ctl" ]; "$V" umount "$P"
            echo 'cach = 1G' >> c.conf; fails 2 "$V" --config c.conf; says "c.conf:7: cach: no such key"
            sed -i '$d' c.conf; echo 'threads = many' >> c.conf; fails 2 "$V" --config c.conf; says "c.conf:7: threads=many: needs a number"
            printf 'ro\\n' > c.conf; fails 2 "$V" --config c.conf; says "c.conf: has no pool"; fails 2 "$V" --config c.conf "$P"; says "c.conf: has no mountpoint"
            fails 32 "$V" --config none.conf; says "none.conf: the configuration cannot be read"
            """)
    }

    /// New volumes and directories have the owners and modes that were asked for.
    @Test func ownersAndModes() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mount_pool -o uid=1234,gid=4321,umask=027,dir_mode=2775,clone_mode=1777
            touch "$M/a"; mkdir "$M/.ctl/snap/a/s"; ln -s a@s "$M/.ctl/clone/b"
            same "$(stat -c '%u:%g %a' "$M/a")" "1234:4321 640"; same "$(stat -c '%u:%g %a' "$M/b")" "1234:4321 640"
            same "$(stat -c '%u:%g %a' "$M")" "1234:4321 2775"; same "$(stat -c %a "$M/.ctl/clone")" 1777; same "$(stat -c %a "$M/.ctl")" 755
            # Whose a volume is says who makes snapshots of it.
            same "$(stat -c '%u %a' "$M/.ctl/snap/a")" "1234 755"; same "$(stat -c %a "$M/.ctl/snap")" 1777
            unmount_pool; mount_pool -o file_mode=604,snapshots=hidden; same "$(ls "$M" | tr '\\n' ' ')" "a b "; [ -e "$M/a@s" ] || fail "a hidden snapshot cannot be opened"; (umask 077; touch "$M/c"); same "$(stat -c '%u %a' "$M/c")" "0 604"; same "$(stat -c '%u:%g %a' "$M/a")" "1234:4321 640" "what was there stays"
            same "$(stat -c '%u %a' "$M")" "0 755"; unmount_pool
            """)
    }

    /// Everybody, root and the owner, or the owner alone.
    @Test func whoMayUseTheMount() throws {
        try scenario(
            """
            chmod 755 "$T"; "$V" create "$P" --size 256M; as() { setpriv --reuid=$1 --regid=$1 --clear-groups "${@:2}"; }
            mount_pool; as 65534 ls "$M" >/dev/null; as 65534 "$V" list "$M" >/dev/null || true; unmount_pool
            mount_pool -o allow_root; ls "$M" >/dev/null; fails 2 as 65534 ls "$M"; says "Permission denied"; unmount_pool
            """, tools: ["setpriv"])
    }

    /// A new volume is of the size it was given and no larger; what runtimes do with fallocate costs nothing.
    @Test func fixedAndFallocate() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mount_pool -o fixed,fallocate=ignore
            truncate -s 1M "$M/v"; same "$(cat "$M/.ctl/vol/v/prop/fixed")" on
            fails 1 dd if=/dev/zero of="$M/v" bs=1M seek=1 count=1 conv=notrunc status=none; says "No space left"; head -c 1M /dev/urandom | dd of="$M/v" conv=notrunc status=none
            fallocate -l 900K "$M/v"; fallocate -n -l 2G "$M/v"; same "$(stat -c %s "$M/v")" 1048576
            fails 1 fallocate -l 2M "$M/v"; says "No space left"
            unmount_pool; mount_pool -o fallocate=ignore; truncate -s 1M "$M/w"; fallocate -l 20G "$M/w"; same "$(stat -c '%s %b' "$M/w")" "21474836480 0"; same "$(cat "$M/.ctl/vol/w/prop/fixed")" ""; echo x >> "$M/w"; unmount_pool; clean
            """)
    }

    /// A full pool makes its file larger, as far as the host has room, and refuses only then.
    @Test func fullPoolMakesItsFileLarger() throws {
        try scenario(
            """
            mkdir host; mount -t tmpfs -o size=300M none host; P=$T/host/data.pool
            "$V" create "$P" --size 64M; mount_pool -o autogrow=32M
            head -c 150M /dev/urandom > "$T/data"; cp "$T/data" "$M/v"; cmp "$T/data" "$M/v"
            [ "$(stat -c %s "$P")" -gt $((150 << 20)) ] || fail "it did not grow"
            fails 1 dd if=/dev/urandom of="$M/w" bs=1M status=none; says "No space left"
            [ "$(stat -c %s "$P")" -le $((300 << 20)) ] || fail "larger than the host: $(stat -c %s "$P")"
            cmp "$T/data" "$M/v"; rm "$M/w"; unmount_pool; clean
            mount_pool; fails 1 dd if=/dev/urandom of="$M/w" bs=1M status=none; unmount_pool; size=$(stat -c %s "$P"); mount_pool; same "$(stat -c %s "$P")" "$size"; unmount_pool
            # As the pool was made, unless the mount says otherwise.
            rm "$P"; fails 2 "$V" create "$P" --size 64M --autogrow 1M; says '16.0 MiB or more'; "$V" create "$P" --size 64M --autogrow 32M
            mount_pool -o autogrow=off; same "$(cat "$M/.ctl/prop/autogrow")" 0; fails 1 dd if=/dev/urandom of="$M/w" bs=1M status=none; rm "$M/w"; unmount_pool
            same "$(stat -c %s "$P")" $((64 << 20)); mount_pool; same "$(cat "$M/.ctl/prop/autogrow")" $((32 << 20)); cp "$T/data" "$M/v"; cmp "$T/data" "$M/v"; unmount_pool; clean
            """)
    }

    /// Past the page cache: the same bytes, also for requests of any size and place; nothing of the pool's file is cached.
    @Test func directInputOutput() throws {
        try scenario(
            """
            "$V" create "$P" --size 1G; mount_pool -o direct
            head -c 50000001 /dev/urandom > f; cp f "$M/v"; cmp f "$M/v"; dd if=f of="$M/w" bs=4097 status=none; cmp f "$M/w"
            dd if="$M/v" of=g bs=777 skip=1000 count=5000 status=none; cmp -i 777000:0 -n 3885000 f g
            mkdir "$M/.ctl/snap/v/s"; ln -s v@s "$M/.ctl/clone/c"; echo tail >> "$M/c"; same "$(tail -c 5 "$M/c")" tail; cmp f "$M/v@s"
            fallocate -p -o 5000 -l 100000 "$M/c"; cmp -n 5000 f "$M/c"; cmp -i 105000 -n 1000000 f "$M/c"
            sync "$M/v"
            python3 - "$P" "$(daemon)" <<'END'
            import ctypes, mmap, os, sys
            flags = int(next(l for f in os.listdir(f"/proc/{sys.argv[2]}/fd") if os.path.realpath(f"/proc/{sys.argv[2]}/fd/{f}") == sys.argv[1]
                         for l in open(f"/proc/{sys.argv[2]}/fdinfo/{f}") if l.startswith("flags")).split()[1], 8)
            assert flags & os.O_DIRECT, oct(flags)
            END
            pid=$(daemon); kill -9 $pid; ended $pid
            mount_pool -o direct; cmp f "$M/v"; cmp f "$M/v@s"; unmount_pool; clean; mount_pool; cmp f "$M/v"; unmount_pool
            """)
    }

    /// What others have and volfs has not says why.
    @Test func refusedOptions() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            fails 2 "$V" "$P" "$M" -o auto_unmount; says "auto_unmount: is not needed"
            fails 2 "$V" "$P" "$M" -o checksum=off; says "checksum=off: is not possible"
            fails 2 "$V" "$P" "$M" -o ro,clone_fd; says "clone_fd: is not for volfs.*threads="
            fails 2 "$V" "$P" "$M" -o attr_timeout=1.5; says "attr_timeout=1.5: is 1 at most"
            fails 2 "$V" "$P" "$M" -o entry_timeout=1; says "entry_timeout=1: is 0 at most: names"
            mount_pool -o checksum=on,attr_timeout=1,entry_timeout=0,negative_timeout=0,max_read=65536,max_idle_threads=1,dev,suid,noexec
            grep " $M fuse" /proc/mounts > "$T/out"; says "max_read=65536"; says noexec; grep -E "nosuid|nodev" "$T/out" && fail "suid or dev was lost"
            head -c 5M /dev/urandom > f; cp f "$M/v"; cmp f "$M/v"
            # What .ctl changed is seen at once.
            mkdir "$M/.ctl/snap/v/s"; [ -e "$M/v@s" ]; mv "$M/.ctl/snap/v/s" "$M/.ctl/snap/v/t"; [ ! -e "$M/v@s" ] && [ -e "$M/v@t" ] || fail "stale"
            truncate -s 1M "$M/v"; echo t > "$M/.ctl/vol/v/rollback"; same "$(stat -c %s "$M/v")" $((5 << 20)); unmount_pool
            """)
    }

    /// What cannot be written or served is said before anything is mounted, and where clients find the pool.
    @Test func outsideOfAMountIsTold() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            fails 32 "$V" "$P" "$M" -o metrics=/nonexist/m.prom; says "metrics=/nonexist/m.prom: its directory does not exist; make it first: mkdir -p /nonexist"
            fails 32 "$V" "$P" "$M" -o metrics="$T"; says "is a directory; name a file in it"
            fails 2 "$V" "$P" "$M" -o nbd=0.0.0.0:0; says "0.0.0.0:0: other machines reach it.*nbd_tls=DIR, or nbd_insecure"; fails 2 "$V" serve "$P" --nbd 0.0.0.0:0; says "--tls DIR, or --insecure"
            same "$(grep -c " $M fuse" /proc/mounts || true)" 0
            mount_pool -o nbd=unix:"$T/s",nbd=127.0.0.1:0 2> said; grep -qx "volfs: serving NBD at nbd+unix:///?socket=$T/s" said; grep -Eqx 'volfs: serving NBD at nbd://127.0.0.1:[0-9]+' said; same "$(wc -l < said)" 2; unmount_pool
            # A variable that is empty says nothing.
            fails 2 env VOLFS_POOL= "$V" list; says "POOL is missing"; fails 2 env VOLFS_POOL= "$V" "$M"; says "give a mountpoint too"; VOLFS_POOL= VOLFS_LOG= mount_pool; unmount_pool
            """)
    }

    /// How often a snapshot's attributes are asked for anew, by what the daemon counts.
    @Test func attributesAreKept() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            asked() { awk '/^volfs_request_seconds_count\\{op="attributes"\\}/ { print $2 }' "$M/.ctl/metrics"; }
            # rounds OPTION: requests for attributes that so many looks at an open snapshot cost.
            rounds() {
                mount_pool -o "$1"; [ -e "$M/v" ] || { touch "$M/v"; mkdir "$M/.ctl/snap/v/s"; }
                python3 - "$M/v@s" > "$T/out" <<'END' & looker=$!
            import os, signal, sys
            f = os.open(sys.argv[1], os.O_RDONLY)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); signal.sigwait([signal.SIGUSR1])
            for _ in range(3000): os.fstat(f)
            END
                sleep 0.5; before=$(asked); kill -USR1 $looker; wait $looker; echo $(($(asked) - before)); unmount_pool
            }
            none=$(rounds attr_timeout=0); some=$(rounds attr_timeout=1)
            [ "$none" -ge 3000 ] || fail "kept although attr_timeout=0: $none"; [ "$some" -lt 1500 ] || fail "not kept: $some"
            echo "RESULT $none and $some requests for 3000 looks"
            """)
    }
}
