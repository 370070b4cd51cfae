internal import TestSupport
import Testing

extension IntegrationTests {
    /// What is mistyped and what is only not there are two answers, and each names the thing as it was typed.
    @Test func answersNameWhatWasMeant() throws {
        try scenario(
            """
            pool 256M; for v in root b; do "$V" new "$M" $v 1M; done; "$V" snapshot "$M" root@a; "$V" snapshot "$M" root@b
            for form in "$M" "$P"; do
                [ "$form" = "$M" ] || unmount_pool
                fails 2 "$V" wait "$form" scrib; says 'scrib: there is no such job; there is freed, scrub, check, check-data, shrink, freeing'; fails 4 "$V" wait "$form" scrub; says 'scrub: does not run'; fails 4 "$V" wait "$form" shrink; "$V" wait "$form" freeing; "$V" wait "$form"
                fails 5 "$V" rename "$form" root@a root@b; says '^volfs: root@b: '; fails 5 "$V" rename "$form" root b; says '^volfs: b: '
                "$V" destroy -n "$form" b root@b > "$T/out"; says '^together they free nothing$'; "$V" hold "$form" root@b; fails 6 "$V" destroy -y "$form" root@b; says '^volfs: root@b: is held; release it first: '; "$V" release "$form" root@b
                fails 9 "$V" set "$form" root@a quota=1M; says "^volfs: root@a quota: is a snapshot, which never changes, and quota a property of volumes; .*: volfs clone $form root@a NEW"
                why='volfs does not compress: each block of 4 KiB has a place of its own'; fails 2 "$V" set "$form" root compression=zstd; says "$why"; fails 4 "$V" get "$form" root compression; says "$why"; fails 4 "$V" get "$form" . compression; says "$why"; fails 2 "$V" new "$form" c 1M --compress; says "$why"
            done
            fails 2 "$V" create other.pool --compression=zstd; says "--compression: no such option of create; $why"; fails 2 "$V" "$P" "$M" -o compress=zstd; says 'compress=zstd: is nothing volfs has'; fails 2 "$V" "$P" "$M" -o compression; says 'compression: is nothing volfs has'; clean
            # A report that somebody else has taken is not told as a success.
            mount_pool; head -c 60M /dev/urandom > "$M/root"; "$V" scrub "$M" --start; "$V" wait "$M" scrub; rmdir "$M/.ctl/job/scrub"; fails 4 "$V" wait "$M" scrub; says 'has left no report; see: volfs scrub .* --start'
            """)
    }
}
