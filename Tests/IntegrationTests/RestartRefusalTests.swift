internal import TestSupport
import Testing

/// What ends a mount although a service manager would keep it, and what a daemon does not take over.
extension IntegrationTests {
    /// Damaged, foreign, incomplete: said, with status 1, and the mount is left to whoever can go on with it.
    @Test func damagedRecordIsRefused() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; echo kept > "$M/v"; exec 5<"$M/v"; order hold; kill -9 $(serving); heard 'ended -9'
            refused() { local n; n=$(grep -c 'ended 1$' "$T/heard" || true); order start; for _ in $(seq 200); do [ "$(grep -c 'ended 1$' "$T/heard" || true)" -gt "$n" ] && break; sleep 0.05; done; logged "$1"; }
            # An open file, its number of slots, the magic, the version, the capacity of the tables with a right checksum.
            order write 16424 ff; refused 'what is known of it is damaged'; : > "$T/log"
            order write 16424 62; order write 12304 ffffffffffffffff; refused 'what is known of it is damaged'; : > "$T/log"
            order write 12304 0100000000000000; order write 0 00; refused 'was not left by volfs'; : > "$T/log"
            order write 0 56; order write 8 02; refused 'left by another volfs (version 2)'; : > "$T/log"
            order write 8 01; order write 340 78; refused 'what is known of it is damaged'; : > "$T/log"
            grep -q " $M fuse" /proc/mounts || fail "the mount is gone"
            # As it was before, it goes on.
            order write 340 $(printf '%02x' "'${M:2:1}"); order start; restarted 2
            same "$(cat <&5)" kept; exec 5<&-; stop_all
            """)
    }

    /// Of what is kept only half is there; and a mount of another place.
    @Test func foreignRecordIsRefused() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; echo kept > "$M/v"; exec 5<"$M/v"; order hold; kill -9 $(serving); heard 'ended -9'
            at=$((4436 + ${#P} - 1)); order write $at 4c sum; order start; heard 'ended 1$'; logged 'the service manager kept another mount, of .*data.pooL at'
            order write $at 6c sum; order drop volfs-mount; order start; sleep 0.3; logged 'what is known of it is not complete'
            exec 5<&-; order drop volfs-fuse
            # Now it is dead, as without a manager.
            order start; restarted 2; same "$(cat "$M/v")" kept; stop_all
            """)
    }

    /// A kernel that cannot send requests again: after kill -9 the mount is dead, as without a manager; after an exchange it goes on.
    @Test func oldKernelGoesOnAfterAnExchange() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; echo kept > "$M/v"; exec 5<"$M/v"
            # The flags that the kernel had in its first request, bits 32 to 63.
            order write 104 00000000 sum; kill -URG $(serving); restarted 2; same "$(cat <&5)" kept
            kill -9 $(serving); restarted 3; fails 1 cat <&5; exec 5<&-
            same "$(cat "$M/v")" kept; same "$(grep -c " $M fuse" /proc/mounts)" 1; stop_all
            """)
    }

    /// Who was told to end leaves nothing behind; and without a manager that keeps the mount nothing is handed over.
    @Test func stoppedDaemonIsNotResumed() throws {
        try scenario(
            KeepingManager.prelude + """
            "$V" create "$P" --size 256M; managed; echo kept > "$M/v"; exec 5<"$M/v"
            kill -TERM $(serving); heard 'forgot volfs-fuse'; same "$(cat <&5)" kept; kill -9 $(serving); restarted 2; fails 1 cat <&5; exec 5<&-
            same "$(cat "$M/v")" kept; same "$(json restartable)" 1
            order refuse; same "$(json restartable)" 0; kill -URG $(serving); logged 'no service manager keeps the mount'; same "$(cat "$M/v")" kept
            # Unmounted by somebody else.
            umount "$M"; heard 'ended 0'; echo end > "$T/orders"; wait $manager; clean
            : > "$T/log"; "$V" "$P" "$M" -f 2> "$T/log" & alone=$!; logged msg=serving; same "$(json restartable)" 0
            kill -URG $alone; logged 'no service manager keeps the mount'; kill -TERM $alone; wait $alone; clean
            """)
    }

    /// What the unit's ExecStop does: an exchange if systemd restarts the unit, else an unmount.
    @Test func unitIsRestartedOrStopped() throws {
        try scenario(
            KeepingManager.prelude + """
            mkdir "$T/bin"; PATH=$T/bin:$PATH; job=restart
            printf '#!/bin/sh\\n[ "$1 $5" = "list-jobs volfs@x.service" ] || [ "$1 $4" = "list-jobs volfs@x.service" ] || exit 1\\necho "  812 volfs@x.service $(cat %s) running"\\n' "$T/job" > "$T/bin/systemctl"; chmod +x "$T/bin/systemctl"
            "$V" create "$P" --size 256M; managed; echo kept > "$M/v"; exec 5<"$M/v"; old=$(serving)
            echo restart > "$T/job"; "$V" umount "$M" --service volfs@x.service; heard 'ended 75'; restarted 2; [ $old != $(serving) ] || fail "the same daemon"; same "$(cat <&5)" kept
            fails 6 "$V" umount "$M" --service volfs@y.service; says "v is open by"
            echo stop > "$T/job"; fails 6 "$V" umount "$M" --service volfs@x.service; says "v is open by"; exec 5<&-
            "$V" umount "$M" --service volfs@x.service; heard 'ended 0'; echo end > "$T/orders"; wait $manager; clean
            """)
    }
}
