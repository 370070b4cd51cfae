internal import TestSupport
import Testing

/// Where a pool cannot be, or cannot be reached, the message says why, and what to do.
extension IntegrationTests {
    /// A filesystem that is read-only, one that is no place for files, and directories of others.
    @Test func placesWhereNoPoolCanBe() throws {
        try scenario(
            """
            chmod 755 "$T"; cp "$V" "$T/volfs"; as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
            "$V" create "$P" --size 64M; mkdir ro priv; chmod 755 priv; mount -t tmpfs none ro; cp "$P" ro/p; mount -o remount,ro ro
            for words in "new ro/p v 1M" "create ro/p --force --size 64M" "serve ro/p --nbd unix:$T/s"; do fails 9 "$V" $words; says "ro/p: the filesystem that it is on is read-only; mount the pool with -o ro"; done
            fails 32 "$V" ro/p "$M"; says "read-only; .*-o ro"; "$V" ro/p "$M" -o ro; unmount_pool; "$V" check ro/p; fails 9 "$V" create ro/q --size 64M; says "ro/q: $T/ro is on a read-only filesystem; choose another directory"
            fails 9 "$V" create /proc/x --size 64M; says "/proc/x: /proc takes no files; choose another directory"; fails 9 "$V" create /sys/x --size 64M; says "no permission to make a file in /sys; choose another directory"
            fails 4 "$V" create "$T/none/x" --size 64M; says "its directory does not exist; make it first"
            for place in /proc /proc/self/task; do fails 2 "$V" "$P" $place; says "is in /proc.*choose another directory"; done; same "$(grep -c "^$P " /proc/mounts || true)" 0
            fails 9 as "$T/volfs" create priv/x --size 64M; says "priv/x: no permission to make a file in $T/priv; choose another, or run as who may write there"
            """, tools: ["setpriv"])
    }

    /// A mount of an ordinary user is not for root, who is told so, and can end it.
    @Test func rootAndTheMountOfAUser() throws {
        try scenario(
            """
            chmod 755 "$T"; cp "$V" "$T/volfs"; mkdir home home/mnt; chown -R 65534:65534 home
            cat > inside <<'END'
            as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
            mount --bind fuse /dev/fuse; cd home; as ../volfs create p --size 64M; as ../volfs p mnt; as truncate -s 1M mnt/v
            for words in 'list mnt' 'list p' 'new mnt w 1M' 'snapshot p v@s' 'stats p' 'events mnt' 'top mnt' 'export p v out' 'grow p +2M'; do
                fails 9 ../volfs $words; says "permission denied to root too: the pool is mounted for its owner alone; run as who mounted it, or have it mounted with allow_root"
            done
            fails 8 ../volfs check mnt; says "permission denied to root too"; ../volfs umount mnt; ../volfs check p
            END
            mknod fuse c 10 229; chmod 666 fuse; export T; export -f fails says fail; unshare --mount bash -euo pipefail inside
            """, tools: ["setpriv", "unshare", "fusermount3"])
    }
}
