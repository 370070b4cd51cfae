internal import TestSupport
import Testing

/// Who keeps a pool, and how that ends.
extension IntegrationTests {
    /// umount waits for who has the pool, not for who has a file of its name.
    @Test func unmountKnowsARenamedPool() throws {
        try scenario(
            #"""
            released() { ! grep -q "FLOCK.* $1 " /proc/locks || fail "$2: the daemon still has the pool"; }
            pool 512M; head -c 60M /dev/urandom > "$M/v"; pid=$(daemon); kill -9 $pid; ended $pid
            for options in rw ctl=off; do
                mount_pool -o $options; pid=$(pgrep -f -n "^$V $P $M"); dd if=/dev/urandom of="$M/w" bs=1M count=60 status=none; mv "$P" other; timeout 60 "$V" umount "$M"; released $pid $options; mv other "$P"
            done
            # What keeps the daemon from ending keeps umount from returning as if it had.
            mount_pool -o ctl=off; pid=$(pgrep -f -n "^$V $P $M"); mkdir b; mount --bind "$M" b; mv "$P" other; fails 6 timeout 60 "$V" umount "$M"; says "in use by process $pid"; umount b; ended $pid; mv other "$P"
            # By its new name.
            mount_pool; pid=$(daemon); mv "$P" other; fails 6 "$V" list other; says "in use by process $pid, which has it mounted at $M; first: volfs umount $M"; timeout 60 "$V" umount other; released $pid other; mv other "$P"
            clean
            """#)
    }

    /// A dead mount is cleared at once, whoever has its pool now.
    @Test func deadMountIsClearedAtOnce() throws {
        try scenario(
            #"""
            pool 64M; pid=$(daemon); kill -9 $pid; ended $pid; mkdir b; "$V" "$P" b; echo kept > b/v
            # By the pool it is the mount that lives.
            timeout 60 "$V" umount "$P"; ! grep -q " $T/b fuse" /proc/mounts || fail "b is mounted"; grep -q " $M fuse" /proc/mounts || fail "the dead one is gone"
            "$V" "$P" b; timeout 60 "$V" umount "$M"; ! grep -q " $M fuse" /proc/mounts || fail "still there"; same "$(cat b/v)" kept; timeout 60 "$V" umount b; clean
            """#)
    }

    /// A copy of the mount in another mount namespace, or at another directory, is named, and not waited for without end.
    @Test func copiesOfTheMountAreNamed() throws {
        try scenario(
            #"""
            pool 64M; pid=$(daemon); unshare --mount --propagation private sleep 1000 & other=$!
            for _ in $(seq 500); do [ "$(readlink /proc/$other/ns/mnt)" != "$(readlink /proc/$$/ns/mnt)" ] && [ "$(cat /proc/$other/comm)" = sleep ] && break; sleep 0.02; done; grep -q " $M " /proc/$other/mountinfo
            there="at $M in another mount namespace, that of sleep .$other."; first="nsenter --target $other --mount umount $M"
            fails 6 timeout 60 "$V" umount "$M"; says "unmounted, but there is a copy of the mount $there, which keeps the pool in use by process $pid; unmount that too: $first"; says 'waiting until that ends'
            ! grep -q " $M fuse" /proc/mounts || fail "still mounted here"
            fails 6 "$V" list "$P"; says "in use by process $pid, which has it mounted $there; first: $first"; fails 6 "$V" umount "$P"; says "is not mounted here, but in use by process $pid"
            fails 6 "$V" umount "$P" --wait 1; says "copy of the mount $there"; $first; ended $pid; kill $other; clean
            # At another directory.
            mount_pool; pid=$(daemon); mkdir b; mount --bind "$M" b; fails 6 timeout 60 "$V" umount "$M"; says "copy of the mount at $T/b, which .*unmount that too: umount $T/b"; umount b; ended $pid; clean
            """#, tools: ["unshare", "nsenter"])
    }

    /// What has a pool in use is said as what it is.
    @Test func usersOfAPoolAreNamed() throws {
        try scenario(
            #"""
            pool 64M; "$V" new "$M" v 1M; unmount_pool; "$V" serve "$P" --nbd unix:"$T/s" > served & serving=$!; for _ in $(seq 200); do [ -s served ] && break; sleep 0.05; done
            fails 6 "$V" snapshot "$P" v@s; says "in use by process $serving, a volfs serve; to end that: kill $serving"; kill $serving; ended $serving
            mount_pool; pid=$(daemon); exec 5<"$M/v"; "$V" umount --lazy "$M"; fails 6 "$V" status "$P"; says "in use by process $pid, which was unmounted with --lazy and serves what is open still; close that, or wait: volfs umount --wait SECONDS $P"; exec 5<&-; ended $pid
            flock "$P" sleep 1000 & other=$!; for _ in $(seq 200); do grep -q "FLOCK.* $other " /proc/locks && break; sleep 0.05; done; fails 6 "$V" list "$P"; says "in use by process $other; end that first"; pkill -P $other; kill $other 2> /dev/null || true
            # Somebody else's mount is not his to unmount, however he asks.
            mount_pool; loop=$(attach "$M/v"); cp "$V" volfs; chmod 755 "$T" volfs; nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
            for option in '' --lazy; do fails 9 nobody "$T/volfs" umount $option "$M"; says 'cannot be unmounted: it is not yours; run as who mounted it, or as root'; done; losetup -d $loop; unmount_pool
            # Advice can be typed, whatever the pool is called.
            mv "$P" "a b.pool"; fails 4 "$V" info "a b.pool" none; says "volfs list 'a b.pool'"; "$V" dump "a b.pool" > d; dd if=/dev/zero of="a b.pool" bs=1M count=4 conv=notrunc status=none; fails 2 "$V" restore d "a b.pool"; says "d: is a dump, and the pool comes first: volfs restore 'a b.pool' d"; "$V" restore "a b.pool" d --force; "$V" check "a b.pool"
            """#, tools: ["setpriv", "flock"])
    }

    /// With VOLFS_POOL, a first word that is both a pool here and a volume there is refused.
    @Test func ambiguousPoolIsRefused() throws {
        try scenario(
            #"""
            for p in A B; do "$V" create $p.pool --size 64M; "$V" new $p.pool x 1M; done; for v in B C y; do "$V" new A.pool $v 1M; done; mkdir B C; "$V" B.pool B; export VOLFS_POOL=A.pool
            fails 2 "$V" destroy B x -y; says "B: is a pool here, and in A.pool, which VOLFS_POOL names; say which: volfs destroy A.pool B for what is in that, ./B for the pool"
            same "$(ls B)" x; same "$("$V" list A.pool -H -o name | xargs)" "B C x y"; fails 2 "$V" list B; "$V" destroy ./B x -y; same "$(ls B)" ""; same "$("$V" list -H -o name | xargs)" "B C x y"
            # What is no pool here is the volume, and so is what a command needs one of.
            "$V" destroy C y -y; "$V" destroy B -y; same "$("$V" list A.pool -H -o name | xargs)" x; "$V" list B > /dev/null
            # Nothing is taken for the one while the other cannot be known; one that is not there has nothing.
            head -c 100000 /dev/urandom > junk; fails 8 env VOLFS_POOL=junk "$V" list B; says 'junk, which VOLFS_POOL names and which does not tell'; VOLFS_POOL=none.pool "$V" list B > /dev/null; "$V" umount B
            """#)
    }
}
