internal import TestSupport
import Testing

extension IntegrationTests {
    /// `list` has a column for what holds a snapshot, for comments, and for every property that can be set; `info` has those that are.
    @Test func listShowsWhatIsSet() throws {
        try scenario(
            """
            pool 256M; for v in a b; do "$V" new "$M" $v 1M; done; "$V" snapshot "$M" a@s; "$V" snapshot "$M" a@t; "$V" hold "$M" a@s --reason 'for the audit'; "$V" set "$M" a comment="$(printf 'one\\ttwo\\nthree')" quota=5M; "$V" set "$M" b comment=first reservation=1M
            told() {
                same "$("$V" list "$1" -H -o comment a)" 'one\\ttwo\\nthree'; same "$("$V" list "$1" -H -o quota,hold,comment a@s a | head -1)" "$(printf -- '-\\tfor the audit\\t-')"; "$V" list "$1" -o name,hold > "$T/out"; says '^NAME +HOLD$'; says '^a@s +for the audit$'
                same "$("$V" list "$1" -H -p -o name,quota,reservation,readonly -t volume | xargs)" "a 5242880 - - b - 1048576 -"; same "$("$V" list "$1" -H -s comment -o name -t volume | xargs)" "b a"
                "$V" list "$1" -o all > "$T/out"; says '^NAME .* GUID +HOLD +COMMENT$'; fails 2 "$V" list "$1" -o name,colour; says 'no such column; there are name, .*hold, comment, removed, fixed,'
                "$V" list "$1" --json -o name,hold,quota | python3 -c 'import json,sys; o = {x["name"]: x["properties"] for x in json.load(sys.stdin)["objects"]}; assert o == {"a": {"quota": "5242880"}, "a@s": {"hold": "for the audit"}, "a@t": {}, "b": {}}, o'
                "$V" info "$1" a@s > "$T/out"; says '^hold +for the audit$'; "$V" info "$1" a > "$T/out"; says '^quota +5.0 MiB$'; grep -q '^readonly' "$T/out" && fail "what is not set"; "$V" info --json "$1" b | python3 -c 'import json,sys; p = json.load(sys.stdin)["properties"]; assert p == {"comment": "first", "reservation": "1048576"}, p'
            }
            told "$M"; unmount_pool; told "$P"; clean
            """, tools: ["python3"])
    }

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
            # A report that somebody else has taken is not told as a success: not when it is asked for, nor while it is waited for. What the
            # second one is told is held up by a FIFO in the place of the state, which ends with the report.
            mount_pool; head -c 60M /dev/urandom > "$M/root"; "$V" scrub "$M" --start; "$V" wait "$M" scrub; rmdir "$M/.ctl/job/scrub"; fails 4 "$V" wait "$M" scrub; says 'has left no report; see: volfs scrub .* --start'
            "$V" scrub "$M" --start; "$V" wait "$M" scrub; state=$M/.ctl/job/scrub/state; mkfifo held; mount --bind held "$state"; fails 1 "$V" wait "$M" scrub & waiting=$!
            echo running > held; exec 7> held; umount -l "$state"; rmdir "$M/.ctl/job/scrub"; exec 7>&-; wait $waiting || fail "$(cat out)"; says 'scrub: runs no more, and its report is gone'
            """)
    }

    /// What is deleted while others look is left out, or is not there: told by a list of before.
    @Test func whatGoesMeanwhileIsLeftOut() throws {
        try scenario(
            """
            pool 256M; "$V" new "$M" v 1M; for s in a b; do "$V" snapshot "$M" v@$s; done; "$V" hold "$M" v@b --reason kept; cp "$M/.ctl/list" before; mount --bind before "$M/.ctl/list"; rmdir "$M/.ctl/snap/v/a"
            same "$("$V" list "$M" -H -o name,hold | xargs)" "v - v@b kept"; same "$("$V" list "$M" -H -p -o name,used | cut -f1 | xargs)" "v v@a v@b"
            fails 4 "$V" info "$M" v@a; says '^volfs: v@a: no such volume or snapshot'; fails 3 "$V" info "$M" v@a v@b; says '^volfs: v@a: no such'; says '^hold +kept'; fails 4 "$V" info --json "$M" v@a; umount "$M/.ctl/list"
            """)
    }
}
