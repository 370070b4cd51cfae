internal import TestSupport
import Testing

/// A daemon that takes a mount over does so whatever its configuration says by now.
extension IntegrationTests {
    private static let prelude = KeepingManager.prelude + """
        good() { printf 'pool = %s\\nmountpoint = %s\\ntrash = 7d\\nnbd = unix:%s\\n' "$P" "$M" "$T/s" > c.conf; }
        number=1
        # exchanged WORDS…: the next daemon goes on, and has said so.
        exchanged() { : > "$T/log"; kill -URG $(serving); number=$((number + 1)); restarted $number; same "$(cat "$M/v")" kept; for words in "$@"; do logged "$words"; done; }
        begin() { "$V" create "$P" --size 256M; good; managed_as --config c.conf; echo kept > "$M/v"; exec 5<"$M/v"; [ -S s ] || fail "no socket"; }

        """

    /// What is wrong in a line is left out and said; what is removed is kept then, and nobody is let in by NBD otherwise than was wanted.
    @Test func wrongConfigurationEndsNoMount() throws {
        try scenario(
            Self.prelude + """
            begin; mkdir "$T/certs"; mkfifo "$T/pipe"; ln -s "$M" link; ln -s link/log linked.log
            for line in 'trash = soon' trash 'cach = 1G' 'cache = 999T' 'dirty = 1' 'threads = many' 'ro = maybe' 'config = /other' 'pool =' 'mountpoint =' 'setuid = nobody-here' 'setuid = nobody' 'uid = nobody-here' \\
                'umask = 9' "log = $T/none/log" "log = $T/pipe" "log = $M/log" "metrics = $M/m" 'loglevel = loud' clone_fd metrics 'max_read = 1' 'checksum = off' 'entry_timeout = 9' 'snapshots = no' 'direct = maybe' 'autogrow = 1' 'lock_wait = x' \\
                'nbd_tls = /none' "nbd_tls = $T/certs" 'nbd_readonly = maybe' 'nbd_readnoly = yes' 'nbd = 0.0.0.0:0' 'nbd = nowhere' "nbd = unix:$T" "nbd = unix:$M/s" "nbd_tls = $M/certs" \\
                'log = link/log' "log = $T/linked.log" 'log = mnt/log' "metrics = $T/certs/../link/m" "metrics = $M" "nbd = nbd+unix:///?socket=$T/link/s" 'nbd_tls = link' 'ndb_readonly = yes' \\
                "pool = $T/link/v" "mountpoint = $M/v" 'file_mode = 9' 'umsak = 077'; do
                good; echo "$line" >> c.conf; exchanged 'level=\\(warning\\|error\\) .*reason='
                case $line in nbd* | ndb*) [ ! -S s ] || fail "served over NBD with $line" ;; *) [ -S s ] || fail "not served over NBD with $line" ;; esac
                case $line in umask* | umsak* | file_mode*) rm -f "$M/w"; touch "$M/w"; same "$(stat -c %a "$M/w")" 600 "with $line" ;; esac
                case $line in trash*) [ "$(json trash_seconds)" -gt 604800 ] || fail "$line: $(json trash_seconds)" ;; *) same "$(json trash_seconds)" 604800 ;; esac
            done
            # The only line of a trash is mistyped; the configuration is in the mount.
            good; sed -i s/^trash/trsh/ c.conf; exchanged 'c.conf:3: trsh=7d'; [ "$(json trash_seconds)" -gt 604800 ] || fail "trsh: $(json trash_seconds)"
            ln -sf "$M/v" c.conf; exchanged 'c.conf reason="is in the mount itself'; [ "$(json trash_seconds)" -gt 604800 ] || fail "in the mount: $(json trash_seconds)"
            rm c.conf; exchanged 'c.conf reason="the configuration cannot be read'; exec 5<&-; rm "$M/v"; [ -e "$M/.ctl/trash/v" ]; mv "$M/.ctl/trash/v" "$M/v"; exec 5<"$M/v"
            # Killed instead of exchanged; and to unmount, the line is no obstacle.
            good; echo 'threads = many' >> c.conf; kill -9 $(serving); number=$((number + 1)); restarted $number; logged 'c.conf:5: threads=many'; same "$(cat <&5)" kept; exec 5<&-
            echo 'cach = 1G' >> c.conf; "$V" umount --config c.conf; heard 'ended 0'; echo end > "$T/orders"; wait $manager; clean
            """)
    }

    /// What the daemon itself uses is not in the mount, by whatever name; nor is the pool. Then nothing is mounted.
    @Test func placesInTheMountAreRefused() throws {
        try scenario(
            Self.prelude + """
            "$V" create "$P" --size 64M; ln -s "$M" link; ln -s link/log linked.log; mkdir "$T/other"; ln -s "$T/other" aside; in='is in the mount itself'
            for word in "log=$M/log" log=link/log log=linked.log log=mnt/log "metrics=$T/aside/../mnt/x" "nbd=unix:$T/link/s" nbd=nbd+unix:///?socket=link/s "nbd_tls=$M" metrics=link/../other/m; do
                fails 2 "$V" "$P" "$M" -o "$word"; says "$in"
            done
            good; cp c.conf "$M"; fails 2 "$V" --config "$M/c.conf"; says "c.conf: $in"; fails 2 "$V" "$P" link --config link/c.conf; says "c.conf: $in"
            "$V" create "$M/p" --size 64M; fails 2 "$V" "$M/p" link; says 'is in the directory that it would be mounted on'; same "$(ls "$M" | xargs)" 'c.conf p'
            # Beside the mount, with a name that begins like its.
            mkdir "$M-s"; "$V" "$P" link -o "log=$M-s/log,metrics=aside/m"; [ -s "$M-s/log" ]; unmount_pool
            """)
    }

    /// A number of seconds, as versions before took it, is one for a mount that goes on and at SIGHUP; who mounts is asked.
    @Test func timeOfBeforeIsTaken() throws {
        try scenario(
            Self.prelude + """
            begin; sed -i s/7d/86400/ c.conf; exchanged 'c.conf:3: trash=86400.*taken for seconds as before; write 86400s'; same "$(json trash_seconds)" 86400
            : > "$T/log"; echo 'loglevel = warning' >> c.conf; kill -HUP $(serving); logged 'taken for seconds'; kill -USR2 $(serving); logged 'log level" loglevel=info'
            exec 5<&-; stop_all; fails 2 "$V" --config c.conf; says 'c.conf:3: trash=86400: is without a unit; write 86400d'
            """)
    }

    /// Another pool or directory than the one that goes on is one for the next mount.
    @Test func otherPoolOfTheConfigurationWaits() throws {
        try scenario(
            Self.prelude + """
            begin; mkdir "$T/other"
            good; sed -i "s|$M|$T/other|" c.conf; exchanged "names another pool or directory; .*of $P at $M"
            good; sed -i "s|$P|$T/none.pool|" c.conf; exchanged "names another pool or directory"
            echo 'trash = 7d' > c.conf; exchanged "names another pool or directory"; echo 'pool = s3://b/p' > c.conf; exchanged "names another pool or directory"
            same "$(cat <&5)" kept; exec 5<&-; stop_all
            """)
    }

    /// The daemon of a mount runs as who mounted it, whatever `setuid` is by now.
    @Test func userOfTheMountStays() throws {
        try scenario(
            KeepingManager.prelude + """
            chmod 755 "$T"; cp "$V" "$T/volfs"; V=$T/volfs P=$T/home/data.pool M=$T/home/mnt; mkdir -p "$M"; chown -R 65534:65534 "$T/home"
            mknod fuse c 10 229; chmod 666 fuse; declare -f > functions; export T V P M
            cat > inside <<'END'
            . ./functions; mount --bind fuse /dev/fuse; as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }; number=1
            with() { printf 'pool = %s\\nmountpoint = %s\\n%s\\n' "$P" "$M" "$1" > c.conf; }
            as "$V" create "$P" --size 256M; with 'setuid = 65534'; managed_as --config c.conf; as touch "$M/v"
            for line in 'setuid = nobody-here' 'setuid = 0' ''; do
                with "$line"; : > "$T/log"; kill -URG $(serving); number=$((number + 1)); restarted $number; logged 'object=setuid reason="takes effect when the pool is mounted the next time"'
                as test -e "$M/v"; same "$(ps -o uid= -p $(serving) | tr -d ' ')" 65534 "the user with $line"
            done
            stop_all
            END
            unshare --mount bash -euo pipefail inside
            """, tools: ["unshare", "setpriv", "fusermount3", "ps"])
    }
}
