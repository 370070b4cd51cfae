internal import TestSupport
import Testing

extension IntegrationTests {
    /// What volumes, snapshots and clones take, to the byte, through every door, and that it comes back.
    @Test func accountingIsExact() throws {
        try scenario(
            """
            MIB=1048576; LEAF=4096; ROOT=8192; ONE=$((MIB + LEAF + ROOT)); WHOLE=$((16 * (MIB + LEAF) + ROOT))
            put() { dd if=/dev/urandom of="$1" bs=1M seek="$2" count="$3" conv=notrunc status=none; }
            # used unique written
            is() { for name in used unique written; do echo "$(cat ".ctl/$1/prop/$name")"; done | tr '\\n' ' ' | grep -qx "$2 $3 $4 " || fail "$1: $(cat .ctl/$1/prop/used .ctl/$1/prop/unique .ctl/$1/prop/written | tr '\\n' ' '), want $2 $3 $4"; }
            pool 1G; start=$(json allocated); cd "$M"; truncate -s 64M v; is vol/v 0 0 0
            put v 0 16; is vol/v $WHOLE $WHOLE $((16 * MIB)); sync -f .; is vol/v $WHOLE $WHOLE $((16 * MIB))
            mkdir .ctl/snap/v/s; is vol/v 0 0 0; is snap/v/s 0 0 $((16 * MIB))
            put v 0 1; is vol/v $ONE $ONE $MIB; is snap/v/s $ONE $ONE $((16 * MIB))
            # A second that began as the snapshot: now nothing goes with the snapshot alone.
            ln -s v@s .ctl/clone/c; is vol/c 0 0 0; is snap/v/s 0 0 $((16 * MIB))
            put c 1 1; is vol/c $ONE $ONE $MIB; is snap/v/s $ROOT 0 $((16 * MIB))
            # All doors say the same, mounted or not.
            python3 - <<END
            import json, os
            for name, directory in (("v", ".ctl/vol/v"), ("v@s", ".ctl/snap/v/s"), ("c", ".ctl/vol/c")):
                info = json.load(open(directory + "/info.json"))
                text = dict(line.split(None, 1) for line in open(directory + "/info"))
                for field in "used", "unique", "written":
                    value = int(open(f"{directory}/prop/{field}").read())
                    assert value == int(os.getxattr(name, "user.volfs." + field)) == info[field] == int(text[field]), (name, field)
                assert not [n for n in os.listxattr(name) if "used" in n]
            END
            all() { "$V" list -H -p -o name,used,unique,written "$P"; "$V" get "$P" v@s used; "$V" get "$P" c | grep -E '^(used|unique|written) '; "$V" info "$P" v; "$V" info --json "$P" c; "$V" destroy -n "$P" v@s c; "$V" destroy -n --json "$P" c; }
            all > "$T/mounted"; fails 2 "$V" set "$P" v used=5; says 'cannot be set'
            grep -qx "c	$ONE	$ONE	$MIB" "$T/mounted" || fail "$(cat "$T/mounted")"
            grep -q 'would destroy c (16.0 MiB referenced, frees 1.0 MiB)' "$T/mounted" && grep -q 'together they free' "$T/mounted" || fail "$(cat "$T/mounted")"
            cd /; unmount_pool; all > "$T/unmounted"; diff "$T/mounted" "$T/unmounted" || fail "the mounted pool says something else"
            mount_pool; cd "$M"; is vol/v $ONE $ONE $MIB
            # With the snapshot deleted, what only v still needs of it goes with v.
            rmdir .ctl/snap/v/s; freed; is vol/v $ONE $((2 * ONE)) $MIB; is vol/c $ONE $((2 * ONE)) $MIB
            sync -f .; sleep 1; before=$(json allocated); rm v; freed; sleep 1
            gone=$((before - $(json allocated) - 2 * ONE)); [ ${gone#-} -le 65536 ] || fail "deleting v gave back $gone more than $((2 * ONE))"
            is vol/c $WHOLE $WHOLE $((16 * MIB))
            # Overwriting and punching: never more than there is, and back to nothing.
            put c 0 16; is vol/c $WHOLE $WHOLE $((16 * MIB))
            fallocate --punch-hole --offset 0 --length $((8 * MIB)) c; is vol/c $((8 * (MIB + LEAF) + ROOT)) $((8 * (MIB + LEAF) + ROOT)) $((8 * MIB))
            fallocate --punch-hole --offset 0 --length $((64 * MIB)) c; is vol/c 0 0 0; rm c; freed; emptied $start
            cd /; unmount_pool; clean
            """, tools: ["fallocate"])
    }
}
