internal import TestSupport
import Testing

/// Images in and out, and copies: sparse, and never half under their final name.
extension IntegrationTests {
    /// An import that is interrupted, terminated or killed goes on where it was, mounted or not; and with another source it is
    /// that source in the end.
    @Test func interruptedImportGoesOn() throws {
        try scenario(
            """
            pool 768M; head -c 30M /dev/urandom > image; truncate -s 90M image; printf end | dd of=image bs=1 seek=$((90 * 1048576 - 3)) conv=notrunc status=none
            head -c 12M /dev/urandom > other; mkfifo p
            # The first 10 MiB, and then nothing for as long as anybody waits.
            cat > slow.py <<'END'
            import os, sys, time
            data = open("image", "rb").read(10 << 20); at = 0
            while at < len(data): at += os.write(1, data[at:at + 65536])
            open(sys.argv[1], "w").close(); time.sleep(300)
            END
            # SIGNAL STATUS NAME: an import of that name that got stuck in the middle of the image.
            interrupt() {
                local got=0 slow command
                rm -f given; python3 slow.py given > p & slow=$!
                env --default-signal "$V" import "$P" - $3 < p 2>err & command=$!
                while [ ! -e given ]; do sleep 0.05; done
                kill -$1 $command; wait $command || got=$?; same "$got" "$2" "$(cat err)"; kill $slow; wait $slow || true
                "$V" list "$P" -H -o name > names; grep -qx "$3.import" names || fail "nothing is left of $3"; if grep -qx "$3" names; then fail "half a volume"; fi
            }
            both() {
                interrupt INT 130 "$1-int"; grep -q "the same command goes on with it" err; "$V" import "$P" image "$1-int" 2>err; grep -q 'going on with' err
                interrupt TERM 143 "$1-term"; "$V" import "$P" - "$1-term" < image 2>/dev/null
                interrupt KILL 137 "$1-kill"; "$V" import "$P" image "$1-kill" 2>/dev/null
                interrupt KILL 137 "$1-other"; "$V" import "$P" other "$1-other" 2>/dev/null
                "$V" list "$P" -H -o name | grep import && fail "something stayed"
                fails 5 "$V" import "$P" other "$1-other"
                for name in int term kill; do "$V" export "$P" "$1-$name" - | cmp - image; done; "$V" export "$P" "$1-other" - | cmp - other
            }
            both mounted; before=$(json allocated)
            truncate -s 1M "$M/x.import"; fails 5 "$V" import "$P" image x; says 'x.import: is in the way'; rm "$M/x.import"
            getfattr --dump "$M/mounted-int" | grep unfinished && fail "the mark stayed"
            unmount_pool; both direct; clean
            """, tools: ["getfattr"])
    }

    /// With the size that it has to have a stream that ends before or goes on is no volume under its name; the same command goes on
    /// with what was there.
    @Test func importOfAnExpectedSize() throws {
        try scenario(
            """
            pool 256M; head -c 5000001 /dev/urandom > image; size=$(stat -c %s image)
            both() {
                fails 1 bash -c "head -c 3000000 image | '$V' import '$P' - $1 --size $size"; says '^volfs: standard input: ended after 2.9 MiB .3000000 bytes. of 4.8 MiB .5000001 bytes.; what is there is kept as'
                same "$("$V" list "$P" -H -o name | grep "^$1")" $1.import; fails 1 bash -c "cat image image | '$V' import '$P' - $1 --size $size"; says 'has more than 4.8 MiB'
                same "$("$V" list "$P" -H -o name | grep "^$1")" $1.import; "$V" import "$P" - $1 --size $size < image; "$V" export "$P" $1 - | cmp - image
                fails 1 "$V" import "$P" image x$1 --size $((size + 1)); says 'nothing was made'; fails 1 "$V" import "$P" image x$1 --size 4M; says 'nothing was made'; fails 2 "$V" import "$P" image x$1 --size much
                "$V" list "$P" -H -o name | grep "^x$1" && fail 'it is there'; "$V" import "$P" image x$1 --size $size
            }
            both mounted; unmount_pool; both direct; clean
            """)
    }

    /// A copy is no less private than what it was made from: a volume of an image, an image of a volume, a copy, a clone.
    @Test func copiesAreAsPrivate() throws {
        try scenario(
            """
            pool 256M; head -c 1M /dev/urandom > image; chmod 600 image; cp image open; chmod 644 open; cp image read; chmod 440 read; "$V" create other.pool --size 64M; umask 022
            mode() { local was; if mountpoint -q "$M"; then was=yes; else was=; mount_pool; fi; stat -c %a "$M/$1"; [ $was ] || unmount_pool; }
            both() {
                "$V" import "$P" image $1; same "$(mode $1)" 600; "$V" import "$P" open o$1; same "$(mode o$1)" 644; "$V" import "$P" read r$1; same "$(mode r$1)" 640; "$V" import "$P" - p$1 < image; same "$(mode p$1)" 644
                "$V" snapshot "$P" $1@s; "$V" export "$P" $1@s $1.image; same "$(stat -c %a $1.image)" 600; "$V" export "$P" o$1 o$1.image; same "$(stat -c %a o$1.image)" 644
                "$V" copy "$P" $1 c$1; same "$(mode c$1)" 600; "$V" copy "$P" $1@s cs$1; same "$(mode cs$1)" 600; "$V" clone "$P" $1@s k$1; same "$(mode k$1)" 600; "$V" clone "$P" o$1 ko$1; same "$(mode ko$1)" 644
                "$V" copy "$P" $1 t$1 --to other.pool
            }
            both mounted; (umask 077; "$V" import "$P" open private; same "$(mode private)" 600; "$V" new "$P" made 1M; same "$(mode made)" 600); unmount_pool; both direct; clean
            mkdir other; "$V" other.pool other; same "$(stat -c %a other/tmounted other/tdirect | xargs)" '600 600'; "$V" umount other
            mount_pool -o umask=077; cp open "$M/by-umask"; same "$(stat -c %a "$M/by-umask")" 600; "$V" import "$P" open by-import; same "$(stat -c %a "$M/by-import")" 600; unmount_pool; clean
            """)
    }

    /// Two imports under one name at once do not mix; a block device is an image too.
    @Test func importFromDevice() throws {
        try scenario(
            """
            pool 256M; head -c 5M /dev/urandom > image; truncate -s 64M image; loop=$(attach image); "$V" import "$P" "$loop" disk; cmp image "$M/disk"
            [ $(stat -c %b "$M/disk") -lt 12000 ] || fail "zeros take space"; losetup -d "$loop"
            mkfifo p; "$V" import "$P" - two < p & first=$!; exec 6>p; printf hello >&6; while [ ! -e "$M/two.import" ]; do sleep 0.05; done
            fails 6 "$V" import "$P" image two; says 'another import'; printf ' world' >&6; exec 6>&-; wait $first; same "$(cat "$M/two")" "hello world"
            fails 1 "$V" import "$P" "$T" x; says 'is a directory'; "$V" import "$P" - empty < /dev/null; same "$(stat -c %s "$M/empty")" 0
            unmount_pool; clean
            """)
    }

    /// An export goes on with what there is of an earlier one, wrong bytes in it included; SIGUSR1 tells how far it is.
    @Test func interruptedExportGoesOn() throws {
        try scenario(
            """
            pool 256M; head -c 20M /dev/urandom > image; truncate -s 64M image; "$V" import "$P" image v
            cp image out.volfs-export; truncate -s 40M out.volfs-export; printf wrong | dd of=out.volfs-export bs=1 seek=5000 conv=notrunc status=none
            printf wrong | dd of=out.volfs-export bs=1M seek=30 conv=notrunc status=none
            "$V" export "$P" v out.img; rm out.img; mv out.volfs-export out.img.volfs-export; "$V" export "$P" v out.img 2>err; grep -q 'going on with' err; cmp image out.img
            [ ! -e out.img.volfs-export ] || fail "it stayed"
            # A limit on the size of files is a failure that is said, of what writes and of the daemon, which lives on.
            (ulimit -f 5000; fails 1 "$V" export "$P" v limited; says 'File too large'); rm limited.volfs-export
            "$V" create small.pool --size 256M; (ulimit -f 20000; fails 1 "$V" import small.pool image v; says 'a limit that ulimit -f tells'); "$V" check small.pool
            mkdir small; (ulimit -f 20000; "$V" small.pool small); fails 1 dd if=/dev/urandom of=small/w bs=1M count=60 conv=fsync; "$V" status small.pool > "$T/out"; says '^mounted  *at'; "$V" umount small || true; "$V" check small.pool
            # A pipe that nobody reads.
            mkfifo p; exec 7<>p; env --default-signal "$V" export "$P" v - > p 2>err & command=$!
            # It listens to signals before it writes.
            until grep -q '^export: .* of 64.0 MiB' err; do head -c 1M <&7 >/dev/null; kill -USR1 $command; done
            got=0; kill -INT $command; timeout 20 cat <&7 >/dev/null & reader=$!; wait $command || got=$?; same $got 130; grep -q 'start again' err; exec 7>&-; kill $reader 2>/dev/null || true
            unmount_pool; clean
            """)
    }

    /// A device takes bytes before it has them, and says only when it is asked for all of them that it could not.
    @Test func exportsToDevicesThatLoseBytesFail() throws {
        try scenario(
            """
            mkdir small; mount -t tmpfs -o size=4M none small; truncate -s 64M small/disk; loop=$(attach small/disk); "$V" create "$P" --size 256M; head -c 16M /dev/urandom > image; "$V" import "$P" image a
            fails 8 "$V" export "$P" a $loop; says "^volfs: $loop: Input/output error"; losetup -d $loop; umount small
            # What is no file cannot be asked.
            "$V" export "$P" a /dev/null; "$V" export "$P" a - | cmp - image
            """)
    }

    /// The bytes of a volume or a snapshot in a volume of their own, in the same pool or another, each mounted or not; blocks of
    /// one pool are shared.
    @Test func copiesWithinAndBetweenPools() throws {
        try scenario(
            """
            pool 512M; "$V" create other.pool --size 256M; mkdir other
            head -c 3M /dev/urandom > image; truncate -s 200M image; "$V" import "$P" image a; "$V" snapshot "$P" a@s; head -c 1M /dev/urandom | dd of="$M/a" conv=notrunc bs=1M status=none
            "$V" copy "$P" a@s b --progress=json 2>progress; cmp image "$M/b"; [ $(stat -c %b "$M/b") -lt 7000 ] || fail "not sparse"; grep -q '"operation":"copy"' progress
            "$V" copy "$P" a@s x --to other.pool; "$V" other.pool other; cmp image other/x; "$V" copy other.pool x c --to "$M"; cmp image "$M/c"; "$V" copy "$P" a y --to other; cmp "$M/a" other/y
            fails 5 "$V" copy "$P" a b; fails 4 "$V" copy "$P" none n; fails 2 "$V" copy "$P" a 'n,m'; unmount_pool
            allocated() { "$V" stats "$P" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["allocated"])'; }
            before=$(allocated); "$V" copy "$P" a@s d; [ $(($(allocated) - before)) -lt 500000 ] || fail "blocks are not shared: $before, $(allocated)"
            "$V" copy "$P" d z --to other.pool; cmp image other/z; "$V" umount other; "$V" copy other.pool z e --to "$P"; "$V" export "$P" e - | cmp - image; clean
            """)
    }
}
