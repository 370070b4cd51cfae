internal import TestSupport
import Testing

/// What a mount's users can do to its daemon and to each other.
extension IntegrationTests {
    /// Times no clock can have, names no shell prints, a mountpoint that is not ASCII.
    @Test func oddTimesAndNames() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" root 1M
            touch -d @20000000000 "$M/root"; touch -d @-5 "$M/root"
            python3 -c 'import os,sys; os.utime(sys.argv[1], ns=(0, 2**63 - 1))' "$M/root"
            [ -e "$M/root" ] || fail "the daemon is gone"
            fails 1 mkdir "$M/.ctl/snap/root/$(printf 'a\\nb')"; fails 1 touch "$M/$(printf 'x\\ny')"
            [ "$(grep -c 'pid=' "$M/.ctl/errors")" = "$(wc -l < "$M/.ctl/errors")" ] || fail "a name forged a line"
            unmount_pool
            M=$T/mé; mkdir "$M"; mount_pool
            printf xroot > "$M/xroot"; printf a > "$M/a"
            ln -s "$M/xroot" "$M/.ctl/clone/c1"; ln -s "$M/a" "$M/.ctl/clone/c2"
            same "$(cat "$M/c1")" xroot; same "$(cat "$M/c2")" a
            unmount_pool
            """)
    }

    /// The kernel leaves O_DSYNC to the daemon: each such write is a barrier of the pool.
    @Test func synchronousWritesAreFlushed() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" root 1M
            before=$(json flushes); dd if=/dev/urandom of="$M/root" bs=4k count=5 oflag=dsync conv=notrunc status=none
            same $(($(json flushes) - before)) 5 "flushes of five O_DSYNC writes"
            before=$(json flushes); dd if=/dev/urandom of="$M/root" bs=4k count=5 conv=notrunc status=none
            same $(($(json flushes) - before)) 0 "flushes of plain writes"
            unmount_pool; mount_pool -o sync
            before=$(json flushes); dd if=/dev/urandom of="$M/root" bs=4k count=5 conv=notrunc status=none
            same $(($(json flushes) - before)) 5 "flushes under -o sync"
            unmount_pool
            """)
    }

    /// A zero-range that cannot be carried out has zeroed nothing.
    @Test func refusedZeroRangeChangesNothing() throws {
        try scenario(
            """
            pool 512M; head -c 1M /dev/urandom > "$M/io"; sum=$(cksum < "$M/io")
            fails 1 fallocate --zero-range --offset 0 --length 17T "$M/io"
            same "$(cksum < "$M/io")" "$sum"
            fallocate --zero-range --offset 4096 --length 2M "$M/io"; same $(stat -c %s "$M/io") $((2097152 + 4096))
            unmount_pool
            """)
    }

    /// A daemon that is told to end unmounts its own mount only.
    @Test func terminationLeavesOtherMountsAlone() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" root 1M; first=$(daemon)
            exec 5<"$M/root"; "$V" umount --lazy "$M"
            "$V" create "$T/two.pool" --size 512M; "$V" "$T/two.pool" "$M"; "$V" new "$M" second 1M
            kill -TERM $first; sleep 0.5
            [ -e "$M/second" ] || fail "the second pool was unmounted"
            exec 5<&-
            ended $first
            second=$(daemon); mkdir "$T/cover"; mount -t tmpfs none "$M"; echo kept > "$M/file"
            kill -TERM $second; sleep 0.5
            same "$(cat "$M/file")" kept "the tmpfs over the mount"
            umount "$M"; [ -e "$M/second" ] || fail "the covered mount is gone"
            kill -TERM $second; ended $second
            "$V" check "$T/two.pool" | grep '^clean'
            """)
    }

    /// Requests that wait do not keep others from being served: while five wait, twenty reads finish.
    @Test func waitingRequestsDoNotStopOthers() throws {
        try scenario(
            """
            pool 512M; for name in a b c d e free; do head -c 64K /dev/urandom > "$M/$name"; done
            exec 5<"$M/a" 6<"$M/b" 7<"$M/c" 8<"$M/d" 9<"$M/e"
            for name in a b c d e; do (truncate -s 4096 "$M/$name" 2>/dev/null; echo done >> "$T/ended") 5<&- 6<&- 7<&- 8<&- 9<&- & done
            sleep 0.2
            for _ in $(seq 20); do dd if="$M/free" of=/dev/null bs=4k count=1 status=none; done
            [ -e "$T/ended" ] && fail "the waiting requests ended before twenty reads did"
            exec 5<&- 6<&- 7<&- 8<&- 9<&-; wait
            for name in a b c d e; do same $(stat -c %s "$M/$name") 4096 "size of $name, whose reader closed it"; done
            unmount_pool; clean
            """)
    }

    /// After SIGTERM nothing new is made, and the state says why.
    @Test func stoppingDaemonMakesNothing() throws {
        try scenario(
            """
            pool 512M; "$V" new "$M" root 1M; pid=$(daemon)
            cd "$M"; exec 5<root; kill -TERM $pid; sleep 0.5
            same "$(cat .ctl/state)" stopping; fails 1 touch newvol; fails 1 mkdir .ctl/snap/root/s; fails 1 ln -s root .ctl/clone/c
            cd "$T"; exec 5<&-; ended $pid
            same "$("$V" list "$P" -H -o name)" root
            clean
            """)
    }
}
