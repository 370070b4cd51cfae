internal import TestSupport
import Testing

/// mount(8) and umount(8) with our helpers, and what umount says.
extension IntegrationTests {
    /// Runs a script in a mount namespace in which /sbin has the program and the helpers, as scripts/install puts them there.
    private static let helpers = """
        mkdir "$T/work"; mount -t tmpfs none "$T/work"; mkdir "$T/work/upper" "$T/work/work"
        sbin=$(realpath /sbin)
        with_helpers() {
            unshare --mount bash -euc '
                T=$1 V=$2 P=$3 M=$4
                mount -t overlay none -o "lowerdir=$5,upperdir=$T/work/upper,workdir=$T/work/work" "$5"
                for helper in mount.volfs mount.fuse.volfs umount.volfs umount.fuse.volfs; do ln -sf "$V" "$5/$helper"; done; ln -sf "$V" "$5/volfs"
                fail() { echo "FAILED: $*"; exit 1; }
                same() { [ "$1" = "$2" ] || fail "${3:-values differ}: $1 is not $2"; }
                mounted() { grep -q " $M fuse.volfs" /proc/mounts; }
                fails() { local want=$1 got=0; shift; "$@" >"$T/out" 2>&1 || got=$?; [ "$got" = "$want" ] || fail "exit $got, want $want: $*: $(cat "$T/out")"; }
                says() { grep -qE -- "$1" "$T/out" || fail "does not say $1: $(cat "$T/out")"; }
                '"$1" inside "$T" "$V" "$P" "$M" "$sbin"
        }

        """

    /// Lines of an fstab, both types, with and without helpers; when mount(8) returns the mount is ready, and when umount(8)
    /// returns the pool is free.
    @Test func mountsOfAnFstab() throws {
        try scenario(
            Self.helpers + """
            "$V" create "$P" --size 256M
            cat > "$T/fstab" <<END
            $P $M volfs defaults,nofail,noauto,user,x-systemd.mount-timeout=5min,comment=mine,cache=32M 0 0
            END
            with_helpers '
                for type in volfs fuse.volfs; do
                    sed -i "s/ [a-z.]*volfs / $type /" "$T/fstab"
                    mount -T "$T/fstab" "$M"; same "$(cat "$M/.ctl/state")" ready; touch "$M/v-$type"
                    fails 32 mount -T "$T/fstab" "$M"; says "already mounted|is mounted at"
                    umount "$M"; mounted && fail "still mounted"; volfs check "$P" > /dev/null
                done
                mount -t volfs "$P" "$M" -o ro; fails 1 touch "$M/x"; umount "$M"
                mount -t volfs -f "$P" "$M"; mounted && fail "a dry run mounts"
                fails 1 mount -t volfs "$P" "$M" -o nonsense; says "nonsense: no such mount option"
                fails 32 mount -t volfs "$T/none.pool" "$M"; says "no such file"; mounted && fail "mounted"
                fails 1 mount.volfs "$P"; says "give a pool and a directory"
                mount.volfs "$P" "$M" -s -n -v -o nonsense,snapshots=hidden; ls -a "$M" > /dev/null; umount.volfs "$M" -n
                # Whatever mounts of units inherit, mount(8) comes back.
                JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) SYSTEMD_EXEC_PID=$$ timeout 30 mount -t volfs "$P" "$M"; umount "$M"
                rm "$(realpath /sbin)"/*mount*volfs
                mount -t fuse.volfs "$P" "$M" -o nofail,snapshots=hidden; same "$(cat "$M/.ctl/state")" ready; [ -e "$M/v-volfs" ]; umount "$M"
                fails 32 mount -t fuse.volfs "$T/none.pool" "$M"; says "no such file"; if mounted; then fail "mounted"; fi
            '
            """, tools: ["unshare", "mount.fuse3"])
    }

    /// Without permission to another user's pool, and with a mountpoint that is none, mount(8)'s numbers say which it is.
    @Test func setuidRunsTheDaemonAsAUser() throws {
        try scenario(
            """
            chmod 755 "$T"; mkdir "$T/home" "$T/home/mnt"; chown -R 65534:65534 "$T/home"; P=$T/home/data.pool; cp "$V" "$T/volfs"; V=$T/volfs
            setpriv --reuid=65534 --regid=65534 --clear-groups "$V" create "$P" --size 256M
            mknod "$T/fuse" c 10 229; chmod 666 "$T/fuse"
            cat > inside <<'END'
            set -eu
            mount --bind "$T/fuse" /dev/fuse
            "$V" "$P" "$T/home/mnt" -o setuid=65534
            grep " $T/home/mnt fuse.volfs .*user_id=65534" /proc/mounts > /dev/null
            setpriv --reuid=65534 --regid=65534 --clear-groups touch "$T/home/mnt/v"
            ps -o uid= -p "$(setpriv --reuid=65534 --regid=65534 --clear-groups sed 's/.*"pid":\\([0-9]*\\).*/\\1/' "$T/home/mnt/.ctl/stats.json")"
            setpriv --reuid=65534 --regid=65534 --clear-groups "$V" umount "$T/home/mnt"
            END
            T=$T V=$V P=$P unshare --mount bash inside > out; same "$(tr -d ' ' < out)" 65534 "user of the daemon"; clean
            """, tools: ["unshare", "setpriv", "fusermount3", "ps"])
    }

    /// A mount that is in use is not unmounted, and who uses it is said: open volumes, loop devices, a shell's directory.
    @Test func unmountSaysWhoHoldsIt() throws {
        try scenario(
            """
            pool 512M; truncate -s 64M "$M/root"; truncate -s 1M "$M/disk"
            python3 -c 'import sys, time; f = open(sys.argv[1]); time.sleep(60)' "$M/disk" & holder=$!
            for _ in $(seq 100); do grep -q "pid=$holder" "$M/.ctl/vol/disk/users" && break; sleep 0.05; done
            fails 6 "$V" umount "$M"; says "in use: disk is open by pid $holder .python3.*--lazy"; kill $holder; wait $holder || true
            loop=$(attach "$M/root"); fails 6 "$V" umount "$M"; says "root is attached to $loop"; losetup -d $loop
            (cd "$M"; exec sleep 60) & holder=$!; sleep 0.2
            fails 6 "$V" umount "$M"; says "sleep \\($holder\\) has its directory there"; [ -e "$M/root" ] || fail "unmounted all the same"
            kill $holder; wait $holder || true; unmount_pool; clean
            """)
    }

    /// mount.fuse3(8) has mounted already when drop_privileges can be refused: it is said what is wrong, and what clears the mount.
    @Test func droppedPrivilegesAreRefused() throws {
        try scenario(
            """
            "$V" create "$P" --size 64M; mkdir bin; ln -s "$V" bin/volfs
            PATH=$T/bin:$PATH fails 2 timeout 20 mount.fuse3 "$P" "$M" -t fuse.volfs -o drop_privileges; says "^volfs: -o drop_privileges: is not for volfs, .*use setuid=USER"
            if grep -q " $M fuse" /proc/mounts; then says "cleared by: volfs umount $M"; "$V" umount "$M"; fi
            ! grep -q " $M fuse" /proc/mounts || fail "still mounted"; clean
            """, tools: ["mount.fuse3"])
    }

    /// umount returns when the daemon has stored everything; whoever mounts meanwhile waits for it and says for whom.
    @Test func unmountWaitsForTheDaemon() throws {
        try scenario(
            """
            pool 1G; head -c 100M /dev/urandom > "$M/v"; pid=$(daemon); unmount_pool; kill -0 $pid 2>/dev/null && [ "$(awk '{ print $3 }' /proc/$pid/stat)" != Z ] && grep -q "data.pool" /proc/$pid/maps && fail "the daemon still has the pool"
            clean
            # One that cannot store: stopped in the middle.
            mount_pool; pid=$(daemon); exec 5<"$M/v"; "$V" umount --lazy "$M"
            ("$V" "$P" "$M" -o lock_wait=60 2> "$T/waiting" && echo mounted >> "$T/waiting") 5<&- & second=$!
            for _ in $(seq 100); do grep -qs "process $pid" waiting && break; sleep 0.1; done
            grep -q "waiting for the pool.*in use by process $pid" waiting || fail "$(cat waiting)"
            fails 32 "$V" "$P" "$M" -o lock_wait=1; says "in use by process $pid"
            fails 6 "$V" umount --wait 1 "$P"; says "process $pid still has it"; fails 6 "$V" umount "$P"; says "is not mounted, but process $pid has it: after umount --lazy"
            exec 5<&-; wait $second; grep -qx mounted waiting || fail "$(cat waiting)"; [ -e "$M/v" ]; unmount_pool; clean
            # Detached, it is waited for as long as it has the pool.
            mount_pool; exec 5<"$M/v"; "$V" umount --lazy "$M"; (sleep 0.5) 5<&5 & "$V" umount --wait 60 "$P" --json 5<&- > waited & waiter=$!; exec 5<&-; wait $waiter; grep -q '"mountpoint":null' waited; clean
            fails 4 "$V" umount "$P"; says 'is not mounted, and nothing'
            mount_pool; pid=$(daemon); kill -STOP $pid; timeout 5 umount -l "$M"; kill -CONT $pid
            ended $pid; clean
            """)
    }

    /// A mount whose daemon was killed is cleared by the next one of the same pool, and by umount; another pool's is left.
    @Test func deadMountIsCleared() throws {
        try scenario(
            """
            pool 256M; touch "$M/v"; pid=$(daemon); kill -9 $pid; ended $pid; fails 2 ls "$M"; says "not connected"
            mount_pool; [ -e "$M/v" ]; same "$(grep -c " $M fuse" /proc/mounts)" 1 "mounts"
            pid=$(daemon); kill -9 $pid; ended $pid; "$V" create "$T/two.pool" --size 256M
            fails 32 "$V" "$T/two.pool" "$M"; says "dead mount of $P on it; .*volfs umount"
            "$V" umount "$M"; same "$(grep -c " $M fuse" /proc/mounts)" 0 "mounts"; "$V" "$T/two.pool" "$M"; "$V" umount "$M"; clean
            """)
    }

    /// In the foreground with a mounted loop device: SIGTERM leaves the filesystem working, and the status at the end is 0.
    @Test func terminationEndsWithSuccess() throws {
        try scenario(
            """
            "$V" create "$P" --size 1G; "$V" "$P" "$M" -f 2> log & daemon=$!
            for _ in $(seq 100); do grep -q msg=serving log && break; sleep 0.05; done
            mkdir "$T/a"; truncate -s 512M "$M/root"; loop=$(attach --direct-io=on "$M/root"); mkfs.ext4 -q $loop; mount $loop "$T/a"; echo before > "$T/a/x"
            kill -TERM $daemon; for _ in $(seq 100); do grep -q " $M fuse" /proc/mounts || break; sleep 0.05; done
            grep -q " $M fuse" /proc/mounts && fail "still at its mountpoint"
            for n in 1 2 3; do head -c 20M /dev/urandom > "$T/a/f$n"; sync -f "$T/a"; done; echo 3 > /proc/sys/vm/drop_caches; sha1sum "$T"/a/x "$T"/a/f* > sums
            running $daemon || fail "the daemon left its loop device"; grep -q 'msg="still open" volume=root' log || fail "$(cat log)"
            # Unmounted, it is still attached: the daemon waits for that too, and serves meanwhile.
            umount "$T/a"; e2fsck -fn $loop > fsck 2>&1 || fail "$(cat fsck)"; mount $loop "$T/a"; echo again > "$T/a/y"; umount "$T/a"; sleep 0.5; running $daemon || fail "the daemon left its loop device when it was unmounted"
            losetup -d $loop; status=0; wait $daemon || status=$?; same $status 0 "exit status"; clean
            mount_pool; loop=$(attach "$M/root"); mount $loop "$T/a"; sha1sum --quiet -c sums; same "$(cat "$T/a/y")" again; umount "$T/a"; losetup -d $loop; unmount_pool
            """, tools: ["mkfs.ext4", "e2fsck"])
    }
}
