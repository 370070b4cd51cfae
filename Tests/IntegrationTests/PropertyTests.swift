internal import TestSupport
import Testing

extension IntegrationTests {
    /// Extended attributes as tools use them, and what properties forbid.
    @Test func propertiesAndExtendedAttributes() throws {
        try scenario(
            """
            cat > "$T/x.py" <<'END'
            # x.py get|set|list|remove FILE [NAME [VALUE]]
            import os, sys
            try:
                if sys.argv[1] == "get": print(os.getxattr(sys.argv[2], sys.argv[3]).decode())
                if sys.argv[1] == "set": os.setxattr(sys.argv[2], sys.argv[3], sys.argv[4].encode())
                if sys.argv[1] == "list": print(" ".join(os.listxattr(sys.argv[2])))
                if sys.argv[1] == "remove": os.removexattr(sys.argv[2], sys.argv[3])
            except OSError as e: sys.exit(os.strerror(e.errno))
            END
            x() { python3 "$T/x.py" "$@"; }
            pool 512M; head -c 1M /dev/urandom > "$M/v"
            x set "$M/v" user.note hello; x set "$M/v" trusted.libvirt.security.dac +0:+0; same "$(x get "$M/v" user.note)" hello
            same "$(x list "$M/v")" "trusted.libvirt.security.dac user.note"
            same "$(x get "$M/v" user.volfs.referenced)" 1048576; fails 1 x set "$M/v" user.volfs.referenced 5; says 'not permitted'
            fails 1 x get "$M/v" user.none; says 'No data'; fails 1 x set "$M/v" system.posix_acl_access x
            fails 1 x set "$M/v" user.big "$(head -c 4000 /dev/zero | tr '\\0' a)"; says 'too long'
            mkdir "$M/.ctl/snap/v/s"; same "$(x list "$M/v@s")" user.note; fails 1 x set "$M/v@s" user.note other; says 'Read-only'
            ln -s v@s "$M/.ctl/clone/c"; same "$(x get "$M/c" user.note)" hello
            x remove "$M/v" user.note; fails 1 x remove "$M/v" user.note; kill -9 $(daemon); sleep 0.3; mount_pool
            same "$(x list "$M/v")" trusted.libvirt.security.dac; same "$(x get "$M/c" user.note)" hello
            # Properties as files, the same ones.
            P1=$M/.ctl/vol/v/prop; echo 'the root disk' > $P1/comment; same "$(x get "$M/v" user.volfs.comment)" 'the root disk'
            same "$(cat $P1/size)" 1048576; fails 1 bash -c "echo 5 > $P1/size"; fails 1 bash -c "echo maybe > $P1/fixed"; says 'Invalid'
            echo on > $P1/fixed; fails 1 bash -c "echo more >> '$M/v'"; says 'No space'; echo > $P1/fixed; echo more >> "$M/v"
            echo off > $P1/shrink; fails 1 truncate -s 0 "$M/v"; says 'not permitted'; fails 1 bash -c ": > '$M/v'"; echo on > $P1/shrink
            echo 2 > $P1/snapshot_limit; mkdir "$M/.ctl/snap/v/t"; fails 1 mkdir "$M/.ctl/snap/v/u"; says 'Too many links'
            tail -1 "$M/.ctl/errors" | grep -q 'snapshot_limit allows 2' || fail "$(tail -1 "$M/.ctl/errors")"
            echo keep > "$M/.ctl/snap/v/t/prop/hold"; fails 1 rmdir "$M/.ctl/snap/v/t"; says busy; echo > "$M/.ctl/snap/v/t/prop/hold"; rmdir "$M/.ctl/snap/v/t"
            echo 2000000 > $P1/quota; fails 1 dd if=/dev/urandom of="$M/v" bs=1M seek=1 count=2 conv=notrunc; says 'No space'
            dd if=/dev/urandom of="$M/v" bs=1M count=1 conv=notrunc status=none; echo > $P1/quota
            dd if=/dev/urandom of="$M/v" bs=1M seek=1 count=2 conv=notrunc status=none
            same "$(ls $P1 | tr '\n' ' ')" "$(echo comment created discard fixed generation group guid nbd open quota readonly referenced reservation reserved shrink size snapshot_limit snapshots unique unreserve-on-discard used written '')"
            unmount_pool; clean; "$V" dump "$P" > d; "$V" restore "$P" d --force; mount_pool; same "$(x get "$M/c" user.note)" hello
            unmount_pool; clean
            """)
    }

    /// What several deletions free together, asked before, is what the pool has more after them: mounted and not.
    @Test func whatSeveralDeletionsFree() throws {
        try scenario(
            """
            pool 512M; head -c 8M /dev/urandom > "$M/v"; for s in a b c; do mkdir "$M/.ctl/snap/v/$s"; head -c 4M /dev/urandom | dd of="$M/v" bs=1M conv=notrunc status=none; done
            # a and b alone free only what one of them has: 4 MiB of the first writes are in b and c too, but for the first four.
            exec 3<>"$M/.ctl/unique"; echo "v@a v@b" >&3; asked=$(cat <&3); printf 'v@a\nv@b' >&3; same "$(cat <&3)" "$asked" 'asked again'; exec 3>&-
            exec 3<>"$M/.ctl/unique"; echo "v@a v@none" >&3; fails 1 cat <&3; says 'No such file'; exec 3>&-; same "$(cat "$M/.ctl/unique")" ''
            alone=$(($(cat "$M/.ctl/snap/v/a/prop/unique") + $(cat "$M/.ctl/snap/v/b/prop/unique"))); [ $asked -ge $((8 << 20)) ] && [ $asked -ge $alone ] || fail "$asked, alone $alone"
            "$V" destroy "$P" v@a v@b -n > out; grep -q 'together they free 8' out || fail "$(cat out)"; same "$("$V" destroy "$P" v@a v@b -n --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["frees"])')" $asked
            before=$(cat "$M/.ctl/prop/allocated"); same "$before" "$("$V" get "$P" . allocated)"; same "$before" "$(python3 -c 'import os,sys; print(os.getxattr(sys.argv[1], "user.volfs.allocated").decode())' "$M")"
            unmount_pool; same "$("$V" destroy "$P" v@a v@b -n --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["frees"])')" $asked 'not mounted'
            before=$("$V" get "$P" . allocated); "$V" destroy "$P" v@a v@b -y; mount_pool; "$V" wait "$P"; after=$(cat "$M/.ctl/prop/allocated")
            # Blocks of the catalog come and go besides.
            [ $((before - after - asked)) -lt 100000 ] && [ $((asked - before + after)) -lt 100000 ] || fail "$before - $after, asked $asked"
            ls "$M/.ctl/prop" | tr '\n' ' ' | grep -qx 'allocated autogrow available block_size capacity dirty errors fragmentation free guid ' || fail "$(ls "$M/.ctl/prop")"
            fails 1 bash -c "echo 5 > '$M/.ctl/prop/free'"; says 'not permitted'; fails 2 "$V" set "$P" . free=5; says computed
            unmount_pool; clean
            """)
    }

    /// With the property discard off what is punched reads as zero and stays the volume's; with nbd off no client finds it.
    @Test func discardAndExportCanBeTurnedOff() throws {
        try scenario(
            """
            pool 512M; head -c 64M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/s"; rmdir "$M/.ctl/snap/v/s"; echo off > "$M/.ctl/vol/v/prop/discard"
            fallocate -p -o 1M -l 32M "$M/v"; same "$(cat "$M/.ctl/vol/v/prop/reserved")" $((32 << 20)); cmp -n $((32 << 20)) -i $((1 << 20)):0 "$M/v" /dev/zero
            fallocate -p -o 63M -l 32M "$M/v"; same "$(cat "$M/.ctl/vol/v/prop/reserved")" $((33 << 20)) 'only what was mapped'
            bound=$(json memory_bound); unmount_pool; mount_pool -o nbd=unix:$T/s; [ $(($(json memory_bound) - bound)) -ge $((540 << 20)) ] || fail "bound $bound without NBD, $(json memory_bound) with"
            U="nbd+unix:///v?socket=$T/s"; nbdinfo --can trim "$U" && fail 'offers a trim'; nbdinfo --can zero "$U"; nbdinfo --list "nbd+unix:///?socket=$T/s" | grep -q 'export="v"'
            echo on > "$M/.ctl/vol/v/prop/discard"; nbdinfo --can trim "$U"
            echo off > "$M/.ctl/vol/v/prop/nbd"; fails 1 qemu-img info "$U"; says 'the property nbd of v is off'; nbdinfo --list "nbd+unix:///?socket=$T/s" 2>&1 | grep -q 'export="v"' && fail 'listed'
            echo > "$M/.ctl/vol/v/prop/nbd"; nbdinfo "$U" > /dev/null; unmount_pool; clean
            """)
    }

    /// What the properties of a volume refuse is refused alike where nobody has its pool mounted, and where it is only planned.
    @Test func propertiesRefuseWithoutAMount() throws {
        try scenario(
            """
            "$V" create "$P" --size 64M; "$V" new "$P" v 2M; "$V" snapshot "$P" v@s; "$V" resize "$P" v 3M
            refused() { fails 9 "$V" "$@"; says "first: volfs set $2 v $way"; }
            tries() {
                refused resize "$1" v 1M --shrink; refused resize "$1" v 1M --shrink -n; [ $way = readonly=off ] || return 0
                for option in --json -n; do refused resize "$1" v 5M $option; refused rollback "$1" v@s $option; done
            }
            "$V" set "$P" v shrink=off; way=shrink=on; tries "$P"; "$V" resize "$P" v 4M; mount_pool; tries "$M"; unmount_pool
            "$V" set "$P" v shrink= readonly=on; way=readonly=off; tries "$P"; mount_pool; tries "$M"; same "$(stat -c %s "$M/v")" 4194304; unmount_pool
            "$V" set "$P" v readonly=off; "$V" resize "$P" v 1M --shrink; "$V" rollback "$P" v@s; mount_pool; same "$(stat -c %s "$M/v")" 2097152; unmount_pool; clean
            """)
    }

    /// An empty value removes each property that can be set, through every door; and a quota is never less than what is used.
    @Test func emptyValuesRemove() throws {
        try scenario(
            """
            cat > "$T/x.py" <<'END'
            import os, sys
            os.setxattr(sys.argv[1], sys.argv[2], sys.argv[3].encode())
            END
            pool 256M; head -c 2M /dev/urandom > "$M/v"; echo 1M > more; mkdir "$M/.ctl/snap/v/s"; "$V" snapshot "$P" v@s2; cd "$M"
            value() { case $1 in comment | hold) echo text ;; group) echo db ;; quota) echo 8000000 ;; reservation) echo 1048576 ;; snapshot_limit) echo 9 ;; *) echo on ;; esac; }
            gone() { if [ $2 = reservation ]; then same "$("$V" get "$form" $1 reservation)" 0 "$3"; else fails 4 "$V" get "$form" $1 $2; fi; }
            each() {
                for object in v v@s; do
                    place=.ctl/vol/v/prop; properties='comment fixed shrink snapshot_limit quota readonly group reservation unreserve-on-discard discard nbd'; [ $object = v ] || { place=.ctl/snap/v/s/prop; properties='comment hold'; }
                    for property in $properties; do
                        "$V" set "$form" $object $property="$(value $property)"; same "$("$V" get "$form" $object $property)" "$(value $property)"; "$V" set "$form" $object $property=; gone $object $property set; "$V" set "$form" $object $property=
                        [ $form = "$M" ] || continue
                        value $property > $place/$property; echo > $place/$property; gone $object $property file; echo > $place/$property
                        python3 "$T/x.py" $object user.volfs.$property "$(value $property)"; python3 "$T/x.py" $object user.volfs.$property ''; gone $object $property xattr; python3 "$T/x.py" $object user.volfs.$property ''
                        python3 "$T/x.py" $object user.volfs.$property "$(value $property)"; setfattr -x user.volfs.$property $object; gone $object $property removexattr
                    done
                done
            }
            form=$M; each; "$V" set "$M" v reservation=1M; "$V" set "$M" v reservation=; same "$(cat .ctl/vol/v/prop/reserved)" 0
            fails 7 "$V" set "$M" v quota=1M; says 'v quota: has mapped 2097152 bytes already, more than that quota'; fails 1 bash -c 'echo 1000000 > .ctl/vol/v/prop/quota'; says 'No space left'; grep 'v has mapped 2097152 bytes already' .ctl/errors > /dev/null
            "$V" set "$M" v quota=2M; fails 1 bash -c 'cat "$1" >> v' bash "$T/more"; says 'No space left'; "$V" set "$M" v quota=; cat "$T/more" >> v; cd "$T"; unmount_pool
            form=$P; each; fails 7 "$V" set "$P" v quota=1M; says 'v quota: less than it has mapped already, 2101248 bytes'; fails 4 "$V" get "$P" v quota; clean
            """, tools: ["setfattr"])
    }

    /// The same from the command line, mounted or not; and what a collector of metrics reads.
    @Test func propertyCommandsAndMetrics() throws {
        try scenario(
            """
            pool 512M; head -c 1M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/s"
            "$V" set "$P" v comment='the root disk' fixed=on; same "$("$V" get "$P" v comment)" 'the root disk'; same "$(cat "$M/.ctl/vol/v/prop/fixed")" on
            "$V" set "$P" v@s hold=backup; fails 6 "$V" destroy "$P" v@s -y; says 'held'; fails 2 "$V" set "$P" v nothing=1; says "cannot be set"; fails 2 "$V" set "$P" v comment=x fixed=maybe; says "on or off"; same "$("$V" get "$P" v comment)" "the root disk" "nothing is set where one is wrong"
            fails 2 "$V" set "$P" v comment; fails 4 "$V" get "$P" v none; "$V" get "$P" v | grep -q '^referenced  *1048576'
            fails 1 rmdir "$M/.ctl/snap/v/s"; says busy; [ ! -e "$M/nothing" ]
            "$V" get "$P" v --json | python3 -c 'import json,sys; assert json.load(sys.stdin)["properties"]["fixed"] == "on"'
            python3 - "$M/.ctl/metrics" <<'END'
            # Every line is a help, a type behind its help, or a sample of one that was named before; counters end in _total; histograms add up.
            import re, sys
            types, values, helped = {}, {}, ""
            for line in open(sys.argv[1]):
                if line.startswith("# HELP"): _, _, helped, text = line.split(maxsplit=3); assert text.strip().endswith("."), line
                elif line.startswith("# TYPE"): assert line.split()[2] == helped, line; _, _, name, kind = line.split(); assert name not in types, name; types[name] = kind
                else:
                    name, labels, value = re.fullmatch(r'([a-z_]+)(\\{(?:[a-z]+="[^"\\n]*",?)+\\})? ([0-9.e+-]+|[+]Inf)\\n', line).groups()
                    assert name in types or re.sub("_(bucket|sum|count)$", "", name) in types, name
                    values[name + (labels or "")] = float(value)
            assert all(kind != "counter" or name.endswith("_total") for name, kind in types.items()), types
            assert values['volfs_pool_state{state="ready"}'] == 1 and values["volfs_snapshots"] == 1 and values["volfs_written_bytes_total"] >= 1 << 20, values
            assert values['volfs_volume_size_bytes{volume="v"}'] == 1 << 20 and values['volfs_volume_referenced_bytes{volume="v"}'] == 1 << 20 and values['volfs_volume_open{volume="v"}'] == 0, values
            assert any(name.startswith("volfs_build_info{version=") for name in values) and values['volfs_errors_total{errno="16"}'] > 0, values
            # Who looked for what is not there was not refused anything.
            assert not any(f'volfs_errors_total{{errno="{number}"}}' in values for number in (2, 61)) and values["volfs_memory_bound_bytes"] > 64 << 20, values
            assert values['volfs_volume_written_bytes_total{volume="v"}'] == 1 << 20 and values['volfs_volume_writes_total{volume="v"}'] > 0 and values['volfs_volume_reads_total{volume="v"}'] == 0, values
            writes = [values[name] for name in values if name.startswith('volfs_request_seconds_bucket{op="write"')]
            assert writes == sorted(writes) and writes[-1] == values['volfs_request_seconds_count{op="write"}'] > 0 and values['volfs_request_seconds_sum{op="write"}'] > 0, writes
            END
            unmount_pool
            same "$("$V" get "$P" v@s hold)" backup; "$V" set "$P" v@s hold= comment=done; same "$("$V" get "$P" v@s comment)" 'done'; fails 4 "$V" get "$P" v@s hold
            "$V" destroy "$P" v@s -y; clean
            """)
    }
}
