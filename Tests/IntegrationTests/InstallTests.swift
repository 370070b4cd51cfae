internal import Foundation
internal import TestSupport
import Testing

/// What is around the program: installation, helpers of mount(8), service managers.
extension IntegrationTests {
    /// Installed below a directory, used from there as mount(8) and umount(8) would, and removed without a trace.
    @Test func installedProgram() throws {
        try scenario(
            """
            "$1/scripts/install" --prefix "$T/usr" >/dev/null
            for file in bin/volfs sbin/mount.volfs sbin/umount.fuse.volfs share/man/man1/volfs.1 share/man/man5/volfs-pool.5 share/man/man8/mount.volfs.8 \\
                share/bash-completion/completions/volfs share/zsh/site-functions/_volfs lib/systemd/system/volfs@.service; do
                [ -e "$T/usr/$file" ] || fail "not installed: $file"
            done
            ldd "$T/usr/bin/volfs" | grep -i swift && fail "needs the Swift runtime"
            V=$T/usr/bin/volfs; "$V" create "$P" --size 256M
            "$T/usr/sbin/mount.volfs" "$P" "$M" -n -v -o rw,noatime,_netdev; grep -q " $M fuse.volfs" /proc/mounts || fail "not mounted"
            "$V" new "$M" v 1M; fails 32 "$T/usr/sbin/mount.volfs" "$P" "$M"
            "$T/usr/sbin/umount.volfs" "$M" -r; grep -q " $M fuse" /proc/mounts && fail "still mounted"
            fails 1 "$T/usr/sbin/mount.volfs" "$P" "$M" -o nonsense; says nonsense
            "$T/usr/sbin/mount.fuse.volfs" "$P" "$M" -s -o nonsense,ro; fails 1 touch "$M/x"; "$T/usr/sbin/umount.fuse.volfs" "$M"
            # What the unit runs, on a configuration of our own.
            printf 'pool = %s\nmountpoint = %s\n' "$P" "$M" > c.conf
            of() { sed -n "s#/etc/volfs/%i#$T/c#; s/^$1=//p" "$T/usr/lib/systemd/system/volfs@.service"; }
            same "$(of Type)" notify; same "$(of TimeoutStopSec)" infinity; same "$(of KillMode)" mixed; same "$(of Restart)" on-failure
            NOTIFY_SOCKET=$T/none $(of ExecStart) 2> log & daemon=$!
            for _ in $(seq 100); do grep -qs msg=serving log && break; sleep 0.05; done; touch "$M/unit"
            export MAINPID=$daemon; eval "$(of ExecReload)"; for _ in $(seq 100); do grep -q "configuration read" log && break; sleep 0.05; done
            grep -q "configuration read" log || fail "no reload: $(cat log)"
            $(of ExecStop); status=0; wait $daemon || status=$?; same $status 0 "the daemon's status"
            "$1/scripts/install" --prefix "$T/usr" --uninstall >/dev/null
            same "$(find "$T/usr" -not -type d | wc -l)" 0
            """, [Scenario.root.path], seconds: 600)
    }
}
