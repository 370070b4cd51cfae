internal import TestSupport
import Testing

extension IntegrationTests {
    /// Row 17. Under any load the daemon stays below the bound that it states: more map nodes than all of it would hold, requests of
    /// every size at once, many readers, snapshots, holes punched, control files kept open.
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
            jobs=
            for n in $(seq 8); do
                fio --name=m --filename="$M/v$((n % 3 + 1))" --rw=randrw --bsrange=4k-1M --io_size=60M --size=1G --direct=1 --iodepth=32 --ioengine=libaio --randseed=$n > "$T/fio$n" &
                jobs="$jobs $!"
            done
            for n in $(seq 60); do dd if="$M/v$((n % 3 + 1))" of=/dev/null bs=1M count=40 skip=$n status=none & jobs="$jobs $!"; done
            wait $jobs; below "requests of all sizes, and 60 readers"
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
            for n in $(seq 300); do rmdir "$M/.ctl/snap/v1/s$n"; done; sleep 1; below "snapshots deleted"
            unmount_pool; clean
            """, tools: ["fio"], seconds: 400)
    }
}
