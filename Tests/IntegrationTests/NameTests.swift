internal import TestSupport
import Testing

/// What things are called, whose they are, and by which numbers they are found.
extension IntegrationTests {
    /// `.ctl/snap/VOL@SNAP` is made, renamed and removed as `.ctl/snap/VOL/SNAP` is, and looking at one moves nobody out of the other.
    @Test func snapshotAliases() throws {
        try scenario(
            """
            pool 64M; head -c 1M /dev/urandom > "$M/v"; cd "$M"; mkdir .ctl/snap/v@a .ctl/snap/v/b; same "$(ls .ctl/snap/v | tr '\\n' ' ')" 'a b '
            (cd .ctl/snap/v/b; stat ../../v@b > /dev/null; same "$(/bin/pwd)" "$M/.ctl/snap/v/b"; same "$(ls .. | tr '\\n' ' ')" 'a b ')
            (cd .ctl/snap/v@b; stat ../v/b > /dev/null; same "$(/bin/pwd)" "$M/.ctl/snap/v@b"; same "$(cat prop/size)" 1048576; cmp data "$M/v")
            mv .ctl/snap/v@a .ctl/snap/v@c; same "$(ls .ctl/snap/v | tr '\\n' ' ')" 'b c '; mv .ctl/snap/v/c .ctl/snap/v/a; stat .ctl/snap/v@a > /dev/null
            python3 - <<'END'
            import errno, os
            for old, new in (("v/a", "v@x"), ("v@a", "v/x"), ("v@a", "w@a"), ("v@a", "x")):
                try: os.rename(".ctl/snap/" + old, ".ctl/snap/" + new); raise SystemExit(f"{old} became {new}")
                except OSError as e: assert e.errno == errno.EINVAL, (old, new, e)
            END
            fails 1 mv .ctl/snap/v@a .ctl/snap/v@b; rmdir .ctl/snap/v@a; same "$(ls .ctl/snap/v)" b; cd "$T"; unmount_pool; clean
            """)
    }

    /// What is made private is so in its snapshots, at once, also for who has read them; and cloning asks the same.
    @Test func snapshotsFollowTheirVolume() throws {
        try scenario(
            """
            pool 64M; head -c 1M /dev/urandom > "$M/v"; chmod 644 "$M/v"; mkdir "$M/.ctl/snap/v/s"; chmod 755 "$T"; chmod 1777 "$M" 2>/dev/null || true
            cat > as.py <<'END'
            import os, sys
            os.setgid(1234); os.setuid(1234); os.execvp(sys.argv[1], sys.argv[1:])
            END
            as() { python3 "$T/as.py" "$@"; }
            as cmp "$M/v@s" "$M/v"; chmod 600 "$M/v"; fails 1 as cat "$M/v@s"; says 'Permission denied'; same "$(stat -c %a "$M/v@s")" 400
            chown 1234:1234 "$M/v"; same "$(stat -c '%u %g' "$M/v@s")" '1234 1234'; as cmp "$M/v@s" "$M/v"; as mkdir "$M/.ctl/snap/v/t"
            chown 0:0 "$M/v"; fails 1 as cat "$M/v@s"; fails 1 as mkdir "$M/.ctl/snap/v/u"; fails 1 chmod 644 "$M/v@s"; says 'Read-only'; unmount_pool; clean
            """)
    }

    /// As an NFS server does it: a file is opened by its handle after the kernel has forgotten it.
    @Test func filesAreFoundByTheirNumber() throws {
        try scenario(
            """
            pool 64M; head -c 1M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/s"; cd "$M"
            python3 - v v@s .ctl/stats <<'END'
            import ctypes, os, sys
            libc = ctypes.CDLL(None, use_errno=True)
            class Handle(ctypes.Structure): _fields_ = [("size", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_ubyte * 128)]
            def handle(path):
                found = Handle(); found.size = 128; mount = ctypes.c_int()
                assert libc.name_to_handle_at(-100, path.encode(), ctypes.byref(found), ctypes.byref(mount), 0) == 0, (path, ctypes.get_errno())
                return found
            handles = [(path, os.stat(path).st_ino, handle(path)) for path in sys.argv[1:]]
            os.rename("v", "w")
            open("/proc/sys/vm/drop_caches", "w").write("2")
            top = os.open(".", os.O_RDONLY)
            for path, number, known in handles:
                file = libc.open_by_handle_at(top, ctypes.byref(known), os.O_RDONLY)
                assert file >= 0, (path, ctypes.get_errno())
                assert os.fstat(file).st_ino == number, path
                assert path == ".ctl/stats" or os.pread(file, 4096, 0) == open("w", "rb").read(4096), path
                os.close(file)
            END
            cd "$T"; unmount_pool; clean
            """)
    }
}
