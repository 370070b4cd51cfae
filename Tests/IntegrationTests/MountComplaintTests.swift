internal import TestSupport
import Testing

/// What users of other systems complain about most, about mounting and commands, and does not happen here; rows of the table in ComplaintTests.
extension IntegrationTests {
    /// Row 42. mount(8) prints the reason and returns 32 when nothing was mounted, and when it returns 0 the root
    /// answers.
    @Test func mountTellsWhyBeforeItReturns() throws {
        try scenario(
            """
            # The helper of mount(8) finds the program only where programs are installed: in a namespace, there is one.
            cat > inside <<'EOF'
            mount -t tmpfs none /usr/local/bin; ln -s "$V" /usr/local/bin/volfs; echo junk > "$T/junk"
            fails 32 mount -t fuse.volfs "$T/none.pool" "$M"; says 'no such file'; fails 32 mount -t fuse.volfs "$T/junk" "$M"; says 'not a volfs pool'
            fails 32 mount -t fuse.volfs "$P" "$T/missing"; says 'missing'; same "$(grep -c " $M fuse" /proc/mounts || true)" 0 "mounts"
            mount -t fuse.volfs "$P" "$M"; same "$(cat "$M/.ctl/state")" ready; fails 32 mount -t fuse.volfs "$P" "$M"; says 'mounted'; umount "$M"
            fails 1 mount -t fuse.volfs -o no_such_option "$P" "$M"; says 'no_such_option'
            EOF
            "$V" create "$P" --size 256M; export P M T; export -f fails says same fail; unshare --mount bash -euo pipefail inside
            for _ in $(seq 100); do "$V" check "$P" > out && break; sleep 0.1; done; clean
            """, tools: ["mount", "unshare", "fusermount3"])
    }

    /// Row 43. Every generic option of mount(8), as fstab lines have them, is taken; those with a meaning have it.
    @Test func genericMountOptionsAreTaken() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            for option in rw nodev nosuid noexec exec relatime noatime dirsync sync user users nouser auto noauto nofail _netdev defaults x-systemd.automount x-gvfs-show comment=text allow_other; do
                mount_pool -o $option || fail "-o $option"; [ -e "$M/.ctl/state" ] || fail "$option: nothing there"; unmount_pool
            done
            mount_pool -o defaults,nofail,_netdev,x-systemd.mount-timeout=5min,noexec,nosuid,nodev; options=$(awk -v m="$M" '$2 == m { print $4 }' /proc/mounts)
            for flag in noexec nosuid nodev allow_other; do case ,$options, in *,$flag,*) ;; *) fail "$flag is not in $options" ;; esac; done; unmount_pool
            mount_pool -o ro,noexec; fails 1 touch "$M/x"; says 'Read-only'; unmount_pool; clean
            """)
    }

    /// Row 44. Who asks for suid and dev as root gets them, together with allow_other, and no helper process watches
    /// the mount.
    @Test func suidAndDevAreNotTakenAwaySilently() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M; mount_pool -o suid,dev,allow_other; options=$(awk -v m="$M" '$2 == m { print $4 }' /proc/mounts)
            case ,$options, in *,nosuid,* | *,nodev,*) fail "asked for suid,dev, got $options" ;; esac; case ,$options, in *,allow_other,*) ;; *) fail "allow_other is lost: $options" ;; esac
            same "$(ps -eo args | grep -v grep | grep -c "fusermount3.*$M" || true)" 0 "helpers left running"
            kill -9 $(daemon); sleep 0.2; mount_pool; same "$(cat "$M/.ctl/state")" ready "mounted over its own dead mount"; unmount_pool; clean
            """, tools: ["fusermount3"])
    }

    /// Row 46. Every command that prints takes --json and says in it which schema it follows; so do errors.
    @Test func everyCommandSpeaksJSON() throws {
        try scenario(
            """
            pool 256M; head -c 1M /dev/urandom > "$M/v"; mkdir "$M/.ctl/snap/v/a" "$M/.ctl/snap/v/b"; echo image > image
            cat > schema.py <<'EOF'
            # All of standard input is JSON, whole or a line at a time, and each object at the top names its schema.
            import json, re, sys
            text = sys.stdin.read()
            try:
                found = json.loads(text)
                if not isinstance(found, list): found = [found]
            except ValueError: found = [json.loads(line) for line in text.splitlines()]
            assert found, "nothing printed"
            for value in found: assert re.fullmatch(r"volfs\\.[a-z-]+/[0-9]+", value["schema"]), value
            EOF
            speaks() { "$V" "$@" --json > out 2>err || fail "$* --json: $? $(cat err)"; python3 schema.py < out || fail "$* --json: '$(cat out)'"; }
            speaks list "$P"; speaks list "$P" v; speaks info "$P"; speaks info "$P" v v@a; speaks diff "$P" v@a v; speaks get "$P" v; speaks check "$P"; speaks check "$P" --data; speaks scrub "$P"; speaks version
            for words in "new $P n 1M" "resize $P n 2M" "snapshot $P n@s" "clone $P n@s c" "rename $P c d" "rollback $P n@s" "set $P n comment=x" "swap $P n d" "destroy $P d -r -y" "grow $P +64M" "import $P image i" "export $P i copied"; do
                "$V" $words --json > out 2>err || fail "$words --json: $(cat err)"; [ ! -s out ] || python3 schema.py < out || fail "$words --json: '$(cat out)'"
            done
            errs() { "$V" "$@" --json > out 2>err && fail "$* succeeded"; [ ! -s out ] || fail "$*: an error on standard output: $(cat out)"; python3 - <<'EOF' || fail "$*: $(cat err)"
            import json; e = json.load(open("err")); assert e["schema"] == "volfs.error/1" and e["code"] > 0 and e["message"], e
            EOF
            }
            errs info "$P" none; errs new "$P" v 1M; errs destroy "$P" none -y; errs list "$T/none"; errs resize "$P" v 1; errs clone "$P" v@none c; errs frobnicate; errs list "$P" --colour; errs set "$P" v x=1; errs rollback "$P" v@none
            for file in stats.json vol/v/info.json snap/v/a/info.json; do python3 schema.py < "$M/.ctl/$file" || fail "$file"; done
            unmount_pool; speaks list "$P"; speaks info "$P"; speaks check "$P"; speaks repair "$P" -n; errs info "$P" none
            """)
    }

    /// Row 48. When the mount command returns, after a kill too, the state is ready, every volume is there and a write
    /// goes through.
    @Test func mountedMeansReady() throws {
        try scenario(
            """
            "$V" create "$P" --size 256M
            for n in $(seq 12); do
                mount_pool; same "$(cat "$M/.ctl/state")" ready; same "$(ls "$M" | wc -l)" $((n - 1)) "volumes at once"
                echo $n > "$M/v$n"; same "$(cat "$M/v$n")" $n; if [ $((n % 3)) = 0 ]; then kill -9 $(daemon); else unmount_pool; fi
            done
            # Who mounts while the old daemon is dying waits for its end, and then has the mount.
            mount_pool; old=$(daemon); kill -STOP $old; mount_pool & mounting=$!; sleep 0.5; kill -9 $old; wait $mounting || fail "mounting while the old daemon dies"
            same "$(cat "$M/.ctl/state")" ready; unmount_pool; clean
            """)
    }
}
