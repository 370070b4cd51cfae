internal import TestSupport
import Testing

extension IntegrationTests {
    /// Row 17. Under any load the daemon stays below the bound that it states: more map nodes than all of it would hold, requests of
    /// every size at once, many readers, snapshots, copies that share blocks, a scrub all the while, holes punched, control files kept
    /// open; and with NBD, many connections that ask for as much at once as they may.
    @Test func memoryStaysBelowTheStatedBound() throws {
        try scenario(
            """
            "$V" create "$P" --size 8G; mount_pool -o cache=8M,dirty=4M; pid=$(daemon); bound=$(json memory_bound)
            [ $bound -lt $((430 << 20)) ] || fail "a bound of $bound says nothing here"
            below() { local most=$(awk '/VmHWM/ { print $2 * 1024 }' /proc/$pid/status); echo "RESULT memory $1: $((most >> 20)) MiB of $((bound >> 20))"; [ $most -lt $bound ] || fail "$1: $most bytes, bound $bound"; }
            for n in 1 2 3; do truncate -s 2T "$M/v$n"; done
            # Every block in a leaf of its own.
            for n in 1 2 3; do
                fio --name=w --filename="$M/v$n" --rw=randwrite --bs=4k --io_size=150M --size=1800G --direct=1 --iodepth=32 --ioengine=libaio --randseed=$n > "$T/fio$n" &
                jobs="${jobs:-} $!"
            done
            for n in $(seq 300); do mkdir "$M/.ctl/snap/v1/s$n"; done; wait $jobs; below "one block in each leaf"
            # A scrub begins beside each of what follows.
            scrubs() { ! [ -d "$M/.ctl/job/scrub" ] || "$V" scrub "$M" --stop; "$V" scrub "$M" --start; }
            scrubbed() { local at state=$(cat "$M/.ctl/job/scrub/state"); read -r at _ < "$M/.ctl/job/scrub/progress"; [ $state = clean ] || [ $state = running ] && [ $at -gt 0 ] || fail "the scrub is $state at $at"; }
            scrubs; jobs=
            # Two by the way of cat, which sends one request for the whole, one by reading and writing, two as commands.
            shared=$(json shared_bytes)
            cat "$M/v1@s300" > "$M/copy1" & jobs="$jobs $!"; cat "$M/v2" > "$M/copy2" & jobs="$jobs $!"; cp "$M/v3" "$M/copy3" & jobs="$jobs $!"
            for n in 4 5; do "$V" copy "$M" v$((n - 3)) copy$n & jobs="$jobs $!"; done
            for job in $jobs; do wait $job || fail "a copy"; done; [ $(($(json shared_bytes) - shared)) -gt $((400 << 20)) ] || fail "copies share $(($(json shared_bytes) - shared)) bytes"
            below "copies and a scrub"; scrubbed; scrubs; jobs=
            for n in $(seq 8); do
                fio --name=m --filename="$M/v$((n % 3 + 1))" --rw=randrw --bsrange=4k-1M --io_size=60M --size=1G --direct=1 --iodepth=32 --ioengine=libaio --randseed=$n > "$T/fio$n" &
                jobs="$jobs $!"
            done
            for n in $(seq 60); do dd if="$M/v$((n % 3 + 1))" of=/dev/null bs=1M count=40 skip=$n status=none & jobs="$jobs $!"; done
            wait $jobs; scrubbed; below "requests of all sizes, a scrub and 60 readers"
            python3 - "$M" <<'END'
            import errno, os, resource, sys
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            files = []
            size = len(open(sys.argv[1] + "/.ctl/list").read())
            try:
                while len(files) < 3000: files.append(os.open(sys.argv[1] + "/.ctl/list", os.O_RDONLY))
                sys.exit("nothing is refused")
            except OSError as e:
                assert e.errno == errno.ENOMEM, e
            assert len(files) * size <= 32 << 20 < (len(files) + 2) * size, (len(files), size)
            assert "of memory" in (lambda: (os.close(files.pop()), open(sys.argv[1] + "/.ctl/errors").read()))()[1]
            END
            below "control files"
            for n in 1 2 3; do fallocate -p -o 0 -l 20G "$M/v$n"; done; below "holes punched"
            for n in $(seq 300); do rmdir "$M/.ctl/snap/v1/s$n"; done; sleep 1; below "snapshots deleted"; "$V" scrub "$M" --stop
            unmount_pool; mount_pool -o cache=8M,dirty=4M,nbd=unix:"$T/s"; pid=$(daemon) bound=$(json memory_bound)
            [ $bound -lt $((970 << 20)) ] || fail "a bound of $bound says nothing here"
            uri() { echo "nbd+unix:///$1?socket=$T/s"; }
            truncate -s 1G "$M/w"; head -c 1G /dev/urandom | dd of="$M/w" bs=1M conv=notrunc status=none; scrubs; jobs=
            # More is asked for than may be in memory at once: 16 times 64 requests of 32 MiB, read and written.
            nbdcopy --connections=16 --requests=64 --request-size=33554432 "$(uri w)" null: & jobs="$jobs $!"
            nbdcopy --connections=16 --requests=64 --request-size=33554432 --allocated "$(uri w)" "$(uri copy2)" & jobs="$jobs $!"
            for n in 1 2 3; do
                fio --name=n --ioengine=nbd --uri="$(uri v$n)" --rw=randrw --bsrange=4k-1M --iodepth=64 --io_size=150M --size=1G --randseed=$n > "$T/fio$n" & jobs="$jobs $!"
                fio --name=m --filename="$M/v$n" --rw=randrw --bsrange=4k-1M --io_size=60M --size=1G --direct=1 --iodepth=32 --ioengine=libaio --randseed=$n > "$T/fiom$n" & jobs="$jobs $!"
            done
            cat "$M/w" > "$M/copy6" & jobs="$jobs $!"
            for job in $jobs; do wait $job || fail "a client: $(tail -3 "$T"/fio*)"; done; scrubbed; below "NBD clients, the mount, copies and a scrub"; "$V" scrub "$M" --stop
            cmp -n $((1 << 30)) "$M/w" "$M/copy2"; unmount_pool; clean
            """, tools: ["fio", "nbdcopy"], seconds: 500)
    }
}
