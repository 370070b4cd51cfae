internal import TestSupport
import Testing

/// What users of other systems complain about most, about snapshots, and does not happen here; rows of the table in ComplaintTests.
extension IntegrationTests {
    /// Row 20. What destroy -n prints is what destroy -y then removes, no more and no less, and nothing that was not
    /// named goes.
    @Test func dryRunNamesExactlyWhatGoes() throws {
        try scenario(
            """
            pool 256M; for name in a b ab; do head -c 1M /dev/urandom > "$M/$name"; mkdir "$M/.ctl/snap/$name/s1" "$M/.ctl/snap/$name/s2"; done; ln -s a@s1 "$M/.ctl/clone/c"
            for words in "a@s1" "a -r" "b@s1 b@s2" "ab -r"; do
                names() { "$V" list "$P" -H -o name | sort; }
                names > before; "$V" destroy "$P" $words -n | sed -n 's/^would destroy \\([^ ]*\\).*/\\1/p' | sort > said; names | cmp - before || fail "$words: a dry run changed something"
                "$V" destroy "$P" $words -y > /dev/null; names > after; comm -23 before after > gone
                [ -s gone ] && diff said gone || fail "destroy $words: said '$(cat said)', gone '$(cat gone)'"
            done
            fails 4 "$V" destroy "$P" c@none -y
            same "$(names | tr '\\n' ' ')" "b c "; cmp "$M/c" "$M/c"; fails 2 "$V" destroy "$P" c --force; says 'no such option'
            unmount_pool; clean
            """)
    }

    /// Row 28. Each verb has had the disk's word before it returns; if the disk refuses, so does the verb.
    @Test func verbsReturnWhenDurable() throws {
        try scenario(
            """
            pool 256M; for n in 1 2 3; do echo old > "$M/v$n"; done; mkdir "$M/.ctl/snap/v1/gone" "$M/.ctl/snap/v1/moved"; sync -f "$M"
            trace() { strace --follow-forks --quiet=all --attach=$(daemon) --trace=fdatasync,fsync "$@" & tracer=$!; for _ in $(seq 100); do grep -q "TracerPid:.*[1-9]" /proc/$(daemon)/task/*/status && break; sleep 0.05; done; sleep 0.2; }
            trace --output="$T/trace"
            synced() { local before=$(wc -l < "$T/trace"); "$@"; [ $(wc -l < "$T/trace") -gt $before ] || fail "returned before anything was durable: $*"; }
            synced mkdir "$M/.ctl/snap/v2/new"; synced rmdir "$M/.ctl/snap/v1/gone"; synced mv "$M/.ctl/snap/v1/moved" "$M/.ctl/snap/v1/there"
            synced ln -s v1@there "$M/.ctl/clone/c"; synced rm "$M/v3"; synced mv "$M/v2" "$M/w"; synced bash -c "echo there > '$M/.ctl/vol/v1/rollback'"
            kill $tracer; wait $tracer || true; kill -9 $(daemon); sleep 0.3; mount_pool
            same "$(ls "$M" | sed 's/pre-rollback-.*/pre-rollback/' | tr '\\n' ' ')" "c v1 v1@pre-rollback v1@there w w@new "
            trace --output=/dev/null --inject=fdatasync,fsync:error=EIO
            fails 1 rmdir "$M/.ctl/snap/w/new"; says 'Input/output error'; same "$(cat "$M/.ctl/state")" degraded
            kill $tracer; wait $tracer || true; fails 1 mkdir "$M/.ctl/snap/w/after"
            "$V" umount "$M" || true; for _ in $(seq 100); do "$V" check "$P" >/dev/null && break; sleep 0.1; done; clean
            """, tools: ["strace"])
    }

    /// Row 29. A volume whose filesystem is mounted is not rolled back behind its back; unmounted, it is, and shows the
    /// old files.
    @Test func rollbackOfAMountedVolumeIsRefused() throws {
        try scenario(
            """
            pool 512M; truncate -s 200M "$M/v"; loop=$(attach "$M/v"); mkfs.ext4 -q $loop; mkdir "$T/a"; mount $loop "$T/a"; echo one > "$T/a/file"; sync -f "$T/a"
            fsfreeze -f "$T/a"; mkdir "$M/.ctl/snap/v/s"; fsfreeze -u "$T/a"; echo two > "$T/a/file"; sync -f "$T/a"
            fails 1 bash -c "echo s > '$M/.ctl/vol/v/rollback'"; says busy; fails 6 "$V" rollback "$P" v@s; says "$(printf 'open|busy')"
            echo three > "$T/a/file"; sync -f "$T/a"; umount "$T/a"; losetup -d $loop
            echo s > "$M/.ctl/vol/v/rollback"; loop=$(attach "$M/v"); mount $loop "$T/a"; same "$(cat "$T/a/file")" one; umount "$T/a"; losetup -d $loop
            kept=$(ls "$M/.ctl/snap/v" | grep pre-rollback); ln -s "v@$kept" "$M/.ctl/clone/kept"
            loop=$(attach "$M/kept"); mount $loop "$T/a"; same "$(cat "$T/a/file")" three "what the rollback kept"; umount "$T/a"; losetup -d $loop
            unmount_pool; clean
            """, tools: ["mkfs.ext4"])
    }

    /// Row 30. Nobody makes a .ctl of their own, nobody who walks the mount comes upon it, what is destroyed is gone
    /// for everyone at once, and no rm of everything removes a snapshot.
    @Test func walkersLeaveTheControlDirectoryAlone() throws {
        try scenario(
            """
            pool 512M; for n in 1 2 3; do echo $n > "$M/v$n"; done; mkdir "$M/.ctl/snap/v1/s" "$M/.ctl/snap/v2/s"
            for name in .ctl .ctl2 .snap; do fails 1 mkdir "$M/$name"; fails 1 bash -c "echo x > '$M/$name'"; fails 1 ln -s v1 "$M/$name"; fails 1 mv "$M/v3" "$M/$name"; done
            same "$(find "$M" | grep -c '[.]ctl' || true)" 0; same "$(ls -A "$M" | tr '\\n' ' ')" "v1 v1@s v2 v2@s v3 "; same "$(tar -C "$M" -cf - . | tar -tf - | grep -c ctl || true)" 0
            # Seen, destroyed, made again under the same name: whoever looks finds what is there now.
            exec 5<"$M/v1@s"; stat "$M/v2@s" "$M/.ctl/snap/v2/s/info" "$M/.ctl/snap/v2@s/data" "$M/.ctl/vol/v2" >/dev/null; ls -l "$M/.ctl/snap/v2" >/dev/null
            rmdir "$M/.ctl/snap/v2/s"; for gone in v2@s .ctl/snap/v2/s .ctl/snap/v2/s/info .ctl/snap/v2/s/data .ctl/snap/v2@s .ctl/snap/v2@s/data; do fails 1 stat "$M/$gone"; says 'No such file'; done
            echo longer > "$M/v2"; mkdir "$M/.ctl/snap/v2/s"; same "$(cat "$M/v2@s") $(stat -c %s "$M/v2@s") $(cat "$M/.ctl/snap/v2@s/data")" "longer 7 longer"; "$V" destroy "$P" v2@s -y >/dev/null; fails 1 stat "$M/v2@s"
            "$V" rename "$P" v3 w3; fails 1 stat "$M/v3"; fails 1 stat "$M/.ctl/vol/v3"; stat "$M/.ctl/vol/w3" >/dev/null
            python3 -c 'import os, sys; os.chroot(sys.argv[1]); os.chdir("/"); print(open("/.ctl/state").read(), os.listdir("/.ctl/snap/v1"))' "$M" | tr '\\n' ' ' > inside; grep -q "ready.*'s'" inside || fail "from a chroot: $(cat inside)"
            mkdir "$M/.ctl/snap/v2/keep"
            (cd "$M"; rm -rf -- * 2>"$T/rm" || true; find . -type f -exec rm -f {} + 2>>"$T/rm" || true; find . -delete 2>>"$T/rm" || true; rm -rf .ctl/snap/v1/s 2>>"$T/rm" || true; rm -rf .ctl 2>>"$T/rm" || true)
            exec 5<&-; same "$(ls "$M" | tr '\\n' ' ')" "v1 v1@s v2 v2@keep "; same "$(cat "$M/v1") $(cat "$M/v1@s") $(cat "$M/v2@keep") $(cat "$M/.ctl/state")" "1 1 longer ready"
            unmount_pool; clean
            """)
    }

    /// Row 31. The time of .ctl/snap/VOL moves with every snapshot made, renamed and removed; a snapshot tells when it
    /// was made; a name may have 127 bytes and not one more.
    @Test func snapshotDirectoryTimesMove() throws {
        try scenario(
            """
            pool 256M; echo x > "$M/v"; last=0
            moves() { local now; sleep 0.02; "$@"; now=$(stat -c %.9Y "$M/.ctl/snap/v"); [ "$now" != "$last" ] && [ "$(printf '%s\\n' "$last" "$now" | sort -n | tail -1)" = "$now" ] || fail "mtime stays $now: $*"; last=$now; }
            moves mkdir "$M/.ctl/snap/v/a"; moves mkdir "$M/.ctl/snap/v/b"; moves mv "$M/.ctl/snap/v/a" "$M/.ctl/snap/v/c"; moves rmdir "$M/.ctl/snap/v/b"
            moves "$V" snapshot "$P" v@d; moves "$V" destroy "$P" v@d -y >/dev/null
            top=$(stat -c %.9Y "$M"); sleep 0.02; touch "$M/new"; [ "$(stat -c %.9Y "$M")" != "$top" ] || fail "the root's mtime stays"
            created=$("$V" info "$P" v@c --json | python3 -c 'import json, sys; r = json.load(sys.stdin); print((r[0] if isinstance(r, list) else r.get("objects", [r])[0])["created"])')
            same "$(date -u -d "$created" +%s)" "$(stat -c %Y "$M/v@c")" "created and mtime"; same "$(stat -c %Y "$M/.ctl/snap/v/c")" "$(stat -c %Y "$M/v@c")"
            long=$(head -c 127 /dev/zero | tr '\\0' n); mkdir "$M/.ctl/snap/v/$long"; stat "$M/v@$long" >/dev/null
            fails 1 mkdir "$M/.ctl/snap/v/${long}n"; says 'File name too long'; touch "$M/$long"; fails 1 touch "$M/${long}n"; says 'File name too long'
            mkdir "$M/.ctl/snap/$long/$long"; [ -e "$M/$long@$long" ] || fail "both names at their longest"; unmount_pool; clean
            """)
    }

    /// Row 50. Patterns of the shell remove snapshots by the hundred.
    @Test func manySnapshotsGoWithOneShellLine() throws {
        try scenario(
            """
            pool 256M; echo x > "$M/v"; cd "$M"
            for n in $(seq -w 300); do mkdir .ctl/snap/v/hourly-$n; done; mkdir .ctl/snap/v/daily-1
            rmdir .ctl/snap/v/hourly-0*; same "$(ls .ctl/snap/v | wc -l)" 202; rmdir .ctl/snap/v/hourly-*; same "$(ls .ctl/snap/v)" daily-1; freed
            cd /; unmount_pool; clean
            """)
    }
}
