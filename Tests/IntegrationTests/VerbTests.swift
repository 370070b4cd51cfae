internal import TestSupport
import Testing

/// Verbs of the control directory, typed as in a shell, and as commands on a pool that is not mounted.
extension IntegrationTests {
    /// Back to a snapshot, keeping or dropping what there is; refused while open; the inode stays.
    @Test func rollback() throws {
        try scenario(
            """
            pool 512M; echo one > "$M/v"; mkdir "$M/.ctl/snap/v/s1"; echo two-longer > "$M/v"; mkdir "$M/.ctl/snap/v/s2"; echo three > "$M/v"
            inode=$(stat -c %i "$M/v")
            exec 5<"$M/v"; fails 1 bash -c "echo s1 > '$M/.ctl/vol/v/rollback'"; says 'busy'; exec 5<&-
            echo s1 > "$M/.ctl/vol/v/rollback"
            same "$(cat "$M/v")" one; same "$(stat -c %s "$M/v")" 4; same "$(stat -c %i "$M/v")" "$inode"
            same "$(cat "$M/v@s2")" two-longer; kept=$(ls "$M/.ctl/snap/v" | grep '^pre-rollback-2'); same "$(cat "$M/v@$kept")" three
            echo s2 > "$M/.ctl/vol/v/rollback"; same "$(ls "$M/.ctl/snap/v" | grep -c pre-rollback)" 2
            echo 's1 discard' > "$M/.ctl/vol/v/rollback"; same "$(ls "$M/.ctl/snap/v" | grep -c pre-rollback)" 2
            fails 1 bash -c "echo nothing > '$M/.ctl/vol/v/rollback'"; fails 1 bash -c "echo 's1 s2' > '$M/.ctl/vol/v/rollback'"
            "$V" rollback "$P" v@s2 --discard; same "$(cat "$M/v")" two-longer
            unmount_pool; "$V" rollback "$P" v@s1; "$V" list "$P" -H -o name | grep -c pre-rollback | grep -q 3
            fails 4 "$V" rollback "$P" v@none; fails 2 "$V" rollback "$P" v
            clean; mount_pool; same "$(cat "$M/v")" one; unmount_pool
            """)
    }

    /// Two names exchanged at one moment: each keeps its inode and its snapshots.
    @Test func swapOfTwoVolumes() throws {
        try scenario(
            """
            pool 512M; echo old > "$M/golden"; echo new > "$M/next"; mkdir "$M/.ctl/snap/next/s"; inode=$(stat -c %i "$M/next")
            "$V" swap "$P" golden next
            same "$(cat "$M/golden") $(cat "$M/next") $(cat "$M/golden@s")" "new old new"; same "$(stat -c %i "$M/golden")" "$inode"
            fails 4 "$V" swap "$P" golden none
            unmount_pool; "$V" swap "$P" next golden; mount_pool; same "$(cat "$M/golden") $(cat "$M/next@s")" "old new"
            unmount_pool; clean
            """)
    }

    /// One mkdir, all volumes, one moment: a counter written to two volumes by turns never differs by more than one.
    @Test func groupSnapshotIsOneMoment() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" a 1M; "$V" new "$M" b 1M
            cat > "$T/count.py" <<'END'
            import os, struct, sys
            a, b = (os.open(sys.argv[1] + "/" + name, os.O_RDWR) for name in "ab")
            for n in range(1, 1000000):
                for f in (a, b): os.pwrite(f, struct.pack("<Q", n), 0)
                if os.path.exists(sys.argv[2]): break
            END
            python3 "$T/count.py" "$M" "$T/stop" & writer=$!
            for n in $(seq 30); do mkdir "$M/.ctl/group/all/snap/g$n"; done
            touch "$T/stop"; wait $writer
            python3 - "$M" <<'END'
            import struct, sys
            seen = set()
            for n in range(1, 31):
                a, b = (struct.unpack("<Q", open("%s/%s@g%d" % (sys.argv[1], name, n), "rb").read(8))[0] for name in "ab")
                assert a - b in (0, 1), (n, a, b)
                seen.add(a)
            assert len(seen) > 1, seen
            END
            same "$(ls "$M/.ctl/group/all/snap" | wc -l)" 30; rmdir "$M/.ctl/group/all/snap/g7"
            same "$(ls "$M/.ctl/snap/a" "$M/.ctl/snap/b" | grep -c '^g7$')" 0
            mkdir "$M/.ctl/snap/b/only"; fails 1 mkdir "$M/.ctl/group/all/snap/only"; same "$(ls "$M/.ctl/snap/a" | grep -c only)" 0
            unmount_pool; clean
            """)
    }
}
