internal import TestSupport
import Testing

extension IntegrationTests {
    /// What was removed under a mount with a trash is listed, named where it is looked for, taken back and deleted for good, by commands
    /// and by the daemon's own words; mounted and not.
    @Test func trashIsListedTakenBackAndEmptied() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mount_pool -o trash=1d; cd "$M"; head -c 64K /dev/urandom > gone; sum=$(cksum < gone); touch other; guid=$("$V" get "$M" gone guid); created=$("$V" get "$M" gone created)
            rm gone; echo second > gone; rm gone; same "$("$V" list "$M" -H -o name,type,guid -t trash | head -1)" "gone	trash	$guid"
            "$V" list "$M" -t trash > "$T/out"; says '^NAME +SIZE +REFERENCED +CREATED +REMOVED$'; says "^gone +64.0 KiB +64.0 KiB +$created +20"; says '^gone~2 +7 B'
            "$V" list --json -t trash "$M" | python3 -c 'import json,sys; o = json.load(sys.stdin)["objects"]; assert [x["name"] for x in o] == ["gone", "gone~2"] and all(x["type"] == "trash" and x["removed"] >= x["created"] for x in o), o'
            cp -r "$P" "$T/copy.pool"; "$V" list "$M" -t trash -o name,size,created,removed > "$T/mounted"
            looked() { for c in "info $1 gone" "get $1 gone" "clone $1 gone x" "snapshot $1 gone@x" "destroy -y $1 gone" "export $1 gone -" "resize $1 gone 1G" "hold $1 gone@x" "rollback $1 gone@s" "set $1 gone comment=x" "rename $1 gone b" "swap $1 other gone" "diff $1 gone@a gone" "copy $1 gone x"; do
                fails 4 "$V" $c; says "^volfs: gone.*it is in the trash; take it back: volfs undelete $1 gone$"; done; }
            looked "$M"; fails 1 mkdir .ctl/snap/gone@x; fails 1 ln -s gone .ctl/clone/x
            same "$(grep -cE 'errno=2: there is no volume.* gone; it is in the trash; take it back: mv .ctl/trash/gone gone$' .ctl/errors)" 3 "$(cat .ctl/errors)"
            fails 4 "$V" info "$M" none; says 'no such volume or snapshot; see: volfs list'; fails 4 "$V" undelete "$M" none; says "none: is not in the trash; see: volfs list $M -t trash"; fails 2 "$V" undelete "$M" gone a,b
            "$V" undelete --json "$M" gone > "$T/out"; says 'volfs.change/1.*"name":"gone"'; same "$(cksum < gone)" "$sum"; fails 5 "$V" undelete "$M" gone~2; says 'gone: the name gone is taken'; "$V" undelete "$M" gone~2 back; same "$(cat back)" second
            # For good: all or nothing of several names.
            rm gone back; fails 4 "$V" purge -y "$M" gone none; says 'none: is not in the trash'; fails 2 "$V" purge "$M"; says 'purge: there is no terminal to ask on; add -y'; says 'will delete gone for good \\(64.0 KiB referenced\\)'
            "$V" purge -n "$M" > "$T/out"; same "$(wc -l < "$T/out")" 2; "$V" purge -n --json "$M" gone > "$T/out"; says '"schema":"volfs.destroy/1","dry_run":true'; same "$(ls .ctl/trash | xargs)" "back gone"
            "$V" purge --json -y "$M" back > "$T/out"; says '"name":"back"'; same "$(ls .ctl/trash)" gone; cd "$T"; unmount_pool
            looked "$P"; "$V" list "$P" -t trash -o name > "$T/out"; says '^gone'; "$V" undelete "$P" gone back; fails 4 "$V" purge "$P" gone -y; "$V" purge "$P" -y 2> "$T/out"; says 'its trash is empty'; same "$("$V" list -H -o name "$P" | xargs)" "back other"; clean
            mount_pool -o trash=1d; same "$(cksum < "$M/back")" "$sum"; rm "$M/back"; exec 5<"$M/.ctl/trash/back"; fails 6 "$V" purge -y "$M"; says 'back: is open'; exec 5<&-; "$V" purge -y "$M"; same "$(ls "$M/.ctl/trash")" ""; freed; unmount_pool; clean
            """, tools: ["python3"])
    }
}
