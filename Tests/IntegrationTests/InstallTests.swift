internal import Foundation
internal import TestSupport
import Testing

/// What is around the program: installation, helpers of mount(8), service managers.
extension IntegrationTests {
    /// Installed below a directory, used from there as mount(8) and umount(8) would, and removed without a trace.
    @Test func installedProgram() throws {
        try scenario(
            """
            # The release build that scripts/test makes: building anew here would wait for the end of the tests.
            "$1/scripts/install" --prefix "$T/usr" --program "$1/.build/release/volfs" >/dev/null
            for file in bin/volfs sbin/mount.volfs sbin/umount.fuse.volfs share/man/man1/volfs.1 share/man/man5/volfs-pool.5 share/man/man8/mount.volfs.8 share/man/man7/volfs-howto.7 \\
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
            same "$(of Type)" notify; same "$(of TimeoutStopSec)" infinity; same "$(of KillMode)" mixed; same "$(of Restart)" on-failure; same "$(of Before)" "remote-fs.target libvirtd.service"
            NOTIFY_SOCKET=$T/none $(of ExecStart) 2> log & daemon=$!
            for _ in $(seq 100); do grep -qs msg=serving log && break; sleep 0.05; done; touch "$M/unit"
            export MAINPID=$daemon; eval "$(of ExecReload)"; for _ in $(seq 100); do grep -q "configuration read" log && break; sleep 0.05; done
            grep -q "configuration read" log || fail "no reload: $(cat log)"
            $(of ExecStop); status=0; wait $daemon || status=$?; same $status 0 "the daemon's status"
            # The examples do what they say, and what the lines of the fstab ask for is taken.
            export PATH=$T/usr/bin:$PATH; cd "$T/usr/share/doc/volfs/examples"; same "$(echo *)" "fstab golden-image nbd-copy retention"; for script in golden-image nbd-copy retention; do ./$script --help | grep -q "^Usage: $script "; done
            volfs "$P" "$M"; head -c 3M /dev/urandom > "$T/image"; ./golden-image "$M" "$T/image" gold 3 > "$T/made"; grep -q '^3 volumes from gold@2' "$T/made"; same "$(ls "$M" | grep -c '^gold-[123]$')" 3; cmp "$M/gold-3" "$T/image"
            fails 1 ./golden-image "$M" "$T/image" gold 3; says 'gold exists'
            for day in 1 2 3 4; do mkdir "$M/.ctl/snap/gold-1/2024010${day}T000000Z"; done; mkdir "$M/.ctl/snap/gold-1/other"; echo kept > "$M/.ctl/snap/gold-1/20240101T000000Z/prop/hold"
            fails 1 ./retention "$M" gold-1 2; says busy; same "$(ls "$M/.ctl/snap/gold-1" | sed 's/^20[3-9].*\\|^202[5-9].*/now/' | tr '\\n' ' ')" "20240101T000000Z 20240104T000000Z now other "
            volfs snapshot "$P" gold-2@s; volfs umount "$M"; ./nbd-copy "$P" gold-2@s "$T/copied"; cmp "$T/copied" "$T/image"; fails 1 ./nbd-copy "$T/none.pool" v@s "$T/out.raw"
            awk '$3 == "volfs" { print $4 }' fstab | while read -r options; do "$T/usr/sbin/mount.volfs" -f "$P" "$M" -o "$options"; done; cd "$T"
            "$1/scripts/install" --prefix "$T/usr" --uninstall >/dev/null
            [ ! -e "$T/usr" ] || fail "left: $(find "$T/usr")"
            # As a package would have it. A directory in which somebody put something stays.
            mkdir "$T/stage"; for _ in 1 2; do "$1/scripts/install" --prefix /usr --destdir "$T/stage" --program "$1/.build/release/volfs" >/dev/null; done
            zsh -f -c 'print -l $fpath' > fpath; zsh=$(dirname "$(cd "$T/stage" && find usr/share/zsh -name _volfs)"); grep -qx "/$zsh" fpath || fail "zsh does not look in $zsh: $(cat fpath)"
            same "$(stat -c %a "$T/stage/etc/volfs")" 750; [ -L "$T/stage/sbin/mount.volfs" ]; touch "$T/stage/etc/volfs/mine.conf"
            "$1/scripts/install" --prefix /usr --destdir "$T/stage" --uninstall >/dev/null; same "$(cd "$T/stage"; find . | sort | xargs)" ". ./etc ./etc/volfs ./etc/volfs/mine.conf"
            """, [Scenario.root.path], tools: ["nbdcopy", "zsh"], seconds: 120)
    }

    /// What was put where and what to do next is said, what cannot be before anything is built; examples that are called wrongly say how.
    @Test func installationIsTold() throws {
        try scenario(
            """
            I=$1/scripts/install; mkdir bin; printf '#!/bin/sh\\necho >> "%s/built"\\n' "$T" > bin/swift; chmod +x bin/swift; export PATH=$T/bin:$PATH; chmod 755 "$T"
            fails 2 "$I" --program none; says 'none: no such file'; fails 2 "$I" --prefix "$T/usr" --program /bin/ls; says 'bin/ls: is no volfs that runs here; nothing was installed'; [ ! -e usr ]; fails 2 "$I" --prefix usr; says 'absolute path'; touch file; fails 1 "$I" --prefix "$T/file"; says "file: is not a directory"
            mkdir others; chmod 755 others; cp -r "$1/scripts" "$1/man" .; fails 1 setpriv --reuid=65534 --regid=65534 --clear-groups "$T/scripts/install" --prefix "$T/others"; says "no permission to write to $T/others; run it as root, or give another place"
            fails 1 "$I" --prefix "$T/usr" --uninstall; says "no volfs is installed under $T/usr"; [ ! -e built ]
            fails 0 "$I" --prefix "$T/usr" --program "$V"; says "program *$T/usr/bin/volfs"; says "$T/usr/bin is not in PATH.*export PATH=$T/usr/bin:"; says "systemctl link $T/usr/lib/systemd/system/volfs@.service"; says 'next: volfs create'
            (export PATH=$T/usr/bin:$PATH; fails 0 "$I" --prefix "$T/usr" --program "$V"; ! grep 'not in PATH' out) || fail "$(cat out)"
            fails 0 "$I" --prefix "$T/usr" --uninstall; says "^removed volfs from $T/usr"; [ ! -e usr ]
            fails 0 "$I" --prefix "$T/usr" --program "$V"; rm usr/bin/volfs; fails 0 "$I" --prefix "$T/usr" --uninstall; [ ! -e usr ] || fail "left: $(find usr)"
            fails 0 "$I" --prefix /usr --destdir "$T/stage" --program "$V"; says "configuration *$T/stage/etc/volfs/NAME.conf"; (! grep next: out) || fail "$(cat out)"; touch stage/etc/volfs/mine.conf; fails 0 "$I" --prefix /usr --destdir "$T/stage" --uninstall; says "left: $T/stage/etc/volfs"
            cd "$1/scripts/examples"; ln -s "$V" "$T/bin/volfs"; for script in golden-image nbd-copy retention; do fails 2 ./$script; says "$script: takes .* words, not 0"; says "Usage: $script"; fails 2 ./$script a; fails 2 ./$script a b c d e; done
            fails 2 ./golden-image "$T" "$V" g many; says 'many: give the count'; fails 1 ./golden-image "$T" "$V" g 3; says 'no pool is mounted there'; fails 2 ./retention "$T" v x; says 'x: give the number'; fails 1 ./retention "$T" v 3; says 'no pool is mounted'; fails 2 ./nbd-copy p v "$T/i"; says 'v: name a snapshot'
            pool 64M; fails 1 ./retention "$M" v 3; says 'v: no such volume'; fails 1 ./golden-image "$M" "$T/no" g 3; says 'no such image'; same "$(ls "$M")" ""; unmount_pool
            """, [Scenario.root.path], tools: ["nbdcopy", "setpriv"])
    }
}
