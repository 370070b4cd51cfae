internal import TestSupport
import Testing

/// Every wrong use that volfs-ctl(7) lists, by plain tools: the errno that the tool says, and the line in `.ctl/errors` with the
/// thing's name and what to do. What the kernel refuses by itself never reaches the daemon, and has no line.
extension IntegrationTests {
    /// `row TEXT ERRNO REASON COMMAND…` and `kernel TEXT COMMAND…`; `x` sets and gets extended attributes.
    private static let table = """
        cat > "$T/x.py" <<'END'
        # x.py get|set|remove|link|mknod|fallocate|tmpfile|mmap|reflink|ioctl FILE [NAME [VALUE]]: one system call, whose errno is said.
        import ctypes, fcntl, mmap, os, stat, sys
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            verb, path = sys.argv[1:3]; rest = sys.argv[3:]
            if verb == "get": print(os.getxattr(path, rest[0]).decode())
            if verb == "set": os.setxattr(path, rest[0], rest[1].encode())
            if verb == "create": os.setxattr(path, rest[0], rest[1].encode(), os.XATTR_CREATE)
            if verb == "fill":
                for n in range(100): os.setxattr(path, "user.fill%d" % n, bytes(3000)); print(n + 1, flush=True)
            if verb == "remove": os.removexattr(path, rest[0])
            if verb == "link": os.link(path, rest[0])
            if verb == "mknod": os.mknod(path, stat.S_IFREG | 0o644)
            if verb == "tmpfile": os.open(path, os.O_TMPFILE | os.O_RDWR)
            if verb == "mmap":
                f = os.open(path, os.O_RDWR); mmap.mmap(f, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            if verb == "fallocate":
                f = os.open(path, os.O_RDWR)
                if libc.fallocate(f, int(rest[0]), ctypes.c_long(0), ctypes.c_long(4096)) != 0: raise OSError(ctypes.get_errno(), "")
            if verb == "clone": fcntl.ioctl(os.open(path, os.O_RDWR), 0x40049409, os.open(rest[0], os.O_RDONLY))
            if verb == "ioctl":
                f = os.open(path, os.O_RDWR); fcntl.ioctl(f, int(rest[0], 0), bytearray(64))
            if verb == "small":
                buffer = ctypes.create_string_buffer(1)
                if libc.getxattr(path.encode(), rest[0].encode(), buffer, ctypes.c_size_t(1)) < 0: raise OSError(ctypes.get_errno(), "")
        except OSError as e: sys.exit(os.strerror(e.errno))
        END
        x() { python3 "$T/x.py" "$@"; }
        refused() { wc -l < .ctl/errors; }
        run() { local got=0; "$@" >"$T/out" 2>&1 || got=$?; [ $got != 0 ] || fail "not refused: $*"; }
        row() {
            local text=$1 number=$2 reason=$3 before; shift 3; before=$(refused)
            [ "$before" -lt 90 ] || { here=$PWD; cd /; unmount_pool; mount_pool; cd "$here"; before=0; }
            run "$@"; says "$text"; tail -n +$((before + 1)) .ctl/errors > "$T/new"
            grep -Eq "errno=$number: .*$reason" "$T/new" || fail "$*: no line has errno=$number: $reason: $(cat "$T/new")"
            rows=$((${rows:-0} + 1))
        }
        kernel() { local text=$1 before; shift; before=$(refused); run "$@"; says "$text"; same "$(refused)" "$before" "the kernel should have refused: $*"; rows=$((${rows:-0} + 1)); }
        write() { bash -c 'echo "$1" > "$2"' write "$@"; }

        """

    @Test func refusalsOfEveryRow() throws {
        try scenario(
            Self.table + """
            pool 512M; cd "$M"; truncate -s 8M root other vm; mkdir .ctl/snap/root/v1 .ctl/snap/root/v2 .ctl/snap/other/v1; ln -s root@v1 .ctl/clone/vm1
            P1=.ctl/vol/root/prop; long=$(printf 'a%.0s' $(seq 200)); huge=$(head -c 4000 /dev/zero | tr '\\0' a)
            # A snapshot never changes.
            for command in 'dd if=/dev/zero of=root@v1 count=1' 'truncate -s 4M root@v1' 'fallocate -p -o 0 -l 4096 root@v1' 'chmod u+w root@v1' 'touch root@v1' 'x set root@v1 user.note y' 'dd if=/dev/zero of=.ctl/snap/root/v1/data count=1'; do
                row 'Read-only file system' 30 'root@v1 is a snapshot and never changes; clone it and change that: ln -s root@v1 .ctl/clone/NEW' $command
            done
            for property in fixed quota readonly group; do row 'Read-only file system' 30 "$property is a property of volumes, and root@v1 is a snapshot, which never changes; clone it and set it of that: ln -s root@v1 .ctl/clone/NEW" x set root@v1 user.volfs.$property on; done
            for place in .ctl/snap/root/v1/prop .ctl/snap/root@v1/prop; do row 'Read-only file system' 30 'quota is a property of volumes, and root@v1 is a snapshot' write 1 $place/quota; row 'Operation not permitted' 1 'that property of root@v1 is computed and can only be read' write 1 $place/reserved; done
            # Sizes.
            row 'File too large' 27 'bytes are more than the largest volume, 17592186044416' truncate -s 17T root; row 'File too large' 27 'bytes are more than the largest volume' fallocate -l 17T root
            row 'File too large' 27 'bytes are more than the largest volume' dd if=/dev/zero of=root bs=4096 count=1 seek=$((1 << 32)) conv=notrunc
            echo on > $P1/fixed; row 'No space left' 28 'root is fixed at 8388608 bytes; make it larger: truncate -s SIZE root, or: echo off > .ctl/vol/root/prop/fixed' bash -c 'echo more >> root'
            row 'No space left' 28 'root is fixed at 8388608 bytes' fallocate -z -o 8M -l 1M root; echo off > $P1/fixed
            echo 1000000 > $P1/quota; row 'No space left' 28 'the quota of root, 1000000 bytes, is used up; raise it: echo BYTES > .ctl/vol/root/prop/quota, or punch holes' dd if=/dev/urandom of=root bs=1M count=2 conv=notrunc; echo > $P1/quota
            dd if=/dev/urandom of=root bs=1M count=1 conv=notrunc status=none; row 'No space left' 28 'root has mapped 1048576 bytes already, more than that quota; give it that or more, or first punch holes' write 1000000 $P1/quota; fallocate -p -o 0 -l 1M root
            echo off > $P1/shrink; row 'Operation not permitted' 1 'the property shrink of root is off; first: echo on > .ctl/vol/root/prop/shrink' truncate -s 1M root
            row 'Operation not permitted' 1 'the property shrink of root is off' write x root; echo on > $P1/shrink
            # Open elsewhere.
            exec 5<root 6<root@v1 7<vm; who='process [0-9]+ \\(bash\\) to read since 20[^ ]*Z; close, unmount or detach it first'
            row 'Device or resource busy' 16 "root is open: $who" truncate -s 1M root; row 'Device or resource busy' 16 "root is open: $who" write x root
            row 'Device or resource busy' 16 "vm is open: $who" rm vm; row 'Device or resource busy' 16 "root is open: $who" write v1 .ctl/vol/root/rollback
            row 'Device or resource busy' 16 "root@v1 is open: $who" rmdir .ctl/snap/root/v1; exec 5<&- 6<&- 7<&-
            echo 'for the audit' > .ctl/snap/root/v1/prop/hold; row 'Device or resource busy' 16 'root@v1 is held \\(for the audit\\); release it first: echo > .ctl/snap/root/v1/prop/hold' rmdir .ctl/snap/root/v1; echo > .ctl/snap/root/v1/prop/hold
            # Removing.
            row 'Directory not empty' 39 'root has 2 snapshots; remove them first: rmdir .ctl/snap/root/\\*' rm root
            row 'Operation not permitted' 1 'root@v1 is a snapshot; remove it with: rmdir .ctl/snap/root/v1' rm -f root@v1
            row 'Operation not permitted' 1 '.ctl/snap/root is there as long as the volume is; remove that: rm root' rmdir .ctl/snap/root; row 'Operation not permitted' 1 '.ctl/vol/root is there as long as the volume is' rmdir .ctl/vol/root
            for place in .ctl/vol .ctl/vol/root/prop .ctl/clone .ctl/diff .ctl/group .ctl/group/all/members .ctl/group/all/snap .ctl/job .ctl/prop; do row 'Operation not permitted' 1 "$place is always there" rmdir $place; row 'Operation not permitted' 1 'nothing is made in' mv -f -T $place ${place}2; done
            row 'Operation not permitted' 1 '.ctl/diff/root is there as long as the volume is' rmdir .ctl/diff/root
            row 'Operation not permitted' 1 '.ctl/snap is always there' rmdir .ctl/snap; row 'Operation not permitted' 1 '.ctl is always there' rmdir .ctl; row 'Operation not permitted' 1 '.ctl/README is always there' rm -f .ctl/README
            row 'Operation not permitted' 1 'what a snapshot shows is not removed one by one; remove the snapshot: rmdir .ctl/snap/root/v1' rm -rf .ctl/snap/root/v1; [ -e root@v1 ] || fail "rm -rf removed a snapshot"
            # Making what does not belong there.
            row 'Operation not permitted' 1 'new@snap would be a snapshot, and those are made with: mkdir .ctl/snap/new/snap' touch new@snap; row 'Operation not permitted' 1 'are made with: mkdir .ctl/snap/root/x' truncate -s 1M root@x
            row 'Operation not permitted' 1 'that snapshot is made with: mkdir .ctl/snap/root/z$' mkdir root@z
            row 'Operation not permitted' 1 'a volume is made with: truncate -s SIZE directory, a snapshot with: mkdir .ctl/snap/VOL/directory' mkdir directory
            row 'Operation not permitted' 1 'a clone is made with: ln -s root .ctl/clone/link' ln -s root link; row 'Operation not permitted' 1 'ln -s VOL .ctl/clone/hard' x link root hard
            row 'Operation not permitted' 1 'truncate -s SIZE node' x mknod node; row 'Operation not permitted' 1 'nothing is made in .ctl like that' mkdir .ctl/thing
            row 'Operation not permitted' 1 'nothing is made in .ctl/vol/root like that' touch .ctl/vol/root/thing; row 'Operation not permitted' 1 'nothing is made in .ctl/snap/root like that' ln -s root .ctl/snap/root/thing
            row 'Operation not permitted' 1 'nothing is made in .ctl/snap/root/v1 like that' touch .ctl/snap/root/v1/file; row 'Operation not permitted' 1 'nothing is made in .ctl/clone like that' mkdir .ctl/clone/thing
            # Wherever it is not a verb: .ctl/snap and .ctl/job have a mkdir of their own, .ctl/clone and members links.
            for place in .ctl .ctl/vol .ctl/vol/root .ctl/vol/root/prop .ctl/snap .ctl/snap/root .ctl/snap/root/v1 .ctl/snap/root/v1/prop .ctl/clone .ctl/diff .ctl/diff/root .ctl/group .ctl/group/all .ctl/group/all/members .ctl/group/all/snap .ctl/job .ctl/prop; do
                row 'Operation not permitted' 1 'truncate -s SIZE made' x mknod $place/made; row 'Operation not permitted' 1 'a volume has one name' x link root $place/made
                case $place in .ctl/*/prop) row 'Invalid argument' 22 'no such property' write x $place/made;; .ctl/group/all/members) ;; *) row 'Operation not permitted' 1 'nothing is made in' write x $place/made;; esac
                case $place in .ctl/clone | *members) ;; *) row 'Operation not permitted' 1 'nothing is made in' ln -s root $place/made;; esac
                case $place in .ctl/snap | .ctl/snap/root | .ctl/group | .ctl/group/all/snap | .ctl/job | */members) ;; *) row 'Operation not permitted' 1 'nothing is made in' mkdir $place/made;; esac
            done
            row 'Operation not permitted' 1 '.ctl/state can only be read' write x .ctl/state; row 'Operation not permitted' 1 'chmod and chown VOL instead' chmod 600 .ctl/state
            row 'Operation not permitted' 1 'rollback cannot be read; it takes the name of a snapshot: echo SNAP > .ctl/vol/root/rollback' cat .ctl/vol/root/rollback
            for name in .hidden 'a,b' 'a b' 'a=b' -dash; do row 'Invalid argument' 22 'names are made of letters, digits and . _ \\+ -' touch -- "./$name"; done; row 'Invalid argument' 22 'names are made of' mkdir '.ctl/snap/root/a b'
            row 'File name too long' 36 'names have at most 127 bytes; choose a shorter one' touch $long; row 'File name too long' 36 'names have at most 127 bytes' mkdir .ctl/snap/root/$long
            row 'Invalid argument' 22 'head is what a difference calls the volume itself, so no snapshot is called that; choose another name' mkdir .ctl/snap/root/head; row 'subdirectory of itself|Invalid argument' 22 'head is what a difference' mv -f .ctl/snap/root/v1 .ctl/snap/root/head
            # Taken names.
            kernel 'File exists' mkdir .ctl/snap/root/v1; kernel 'File exists' mkdir .ctl/snap/root; kernel 'File exists' ln -s root@v1 .ctl/clone/vm1; kernel 'exists' "$V" new "$M" root 1M
            row 'File exists' 17 'the name other is taken by a volume; choose another, or remove it first: rm other' ln -s root@v1 .ctl/clone/other
            row 'File exists' 17 'the name other is taken, and nothing is ever replaced; remove or rename what has it first' mv -f -T vm other; row 'File exists' 17 'the name v2 is taken, and nothing is ever replaced' mv -f -T .ctl/snap/root/v1 .ctl/snap/root/v2
            exec 5<other; row 'File exists' 17 'the name other is taken, and nothing is ever replaced' mv -f -T vm other; exec 5<&-
            # Moving. mv has its own words for EINVAL.
            invalid='subdirectory of itself|Invalid argument'
            row "$invalid" 22 'root@v2 stays a snapshot of root; rename it with: mv .ctl/snap/root/v2 .ctl/snap/root/NEW, copy it with: ln -s root@v2 .ctl/clone/NEW' mv -f .ctl/snap/root/v2 .ctl/snap/other/
            row "$invalid" 22 'vm stays a volume; a snapshot of it is made with: mkdir .ctl/snap/vm/SNAP' mv -f vm vm@x; row "$invalid" 22 'root@v1 stays a snapshot' mv -f root@v1 volume; row "$invalid" 22 'root@v1 stays a snapshot' mv -f root@v1 root@v9
            row 'Operation not permitted' 1 'a clone is called as its volume, which is renamed with: mv vm1 vm2' mv -f .ctl/clone/vm1 .ctl/clone/vm2
            row "$invalid" 22 'vm stays at the top; it is renamed with: mv vm NEW, and removed for good with: rm vm; a mount with -o trash=TIME would keep it' mv -f vm .ctl/; row "$invalid" 22 'root@v2 stays a snapshot' mv -f .ctl/snap/root/v2 .
            # What is not there.
            row 'No such file' 2 'there is no volume none; make it first: truncate -s SIZE none' mkdir .ctl/snap/none; row 'No such file' 2 'there is no volume none' mkdir .ctl/snap/none@x; kernel 'No such file' mkdir .ctl/snap/none/x
            row 'No such file' 2 'there is no volume or snapshot root@none; see: ls, and: ls .ctl/snap/root' ln -s root@none .ctl/clone/x; row 'No such file' 2 'root has no snapshot of that name; see: ls .ctl/snap/root' write none .ctl/vol/root/rollback
            row 'Invalid argument' 22 'etc/passwd is no volume or snapshot of this pool; write it as VOL or VOL@SNAP: ln -s VOL@SNAP .ctl/clone/x' ln -s /etc/passwd .ctl/clone/x
            row 'Invalid argument' 22 'ln -sf does not work; remove it first: rm CLONE' ln -sf root@v1 .ctl/clone/vm1; same "$(ls .ctl/clone)" vm1; ls | grep Cu && fail "ln -sf left something"
            # Only snapshots of one volume, and it, have a difference.
            for pair in v1..none none..v1 v1 v1..; do kernel 'No such file' cat .ctl/diff/root/$pair; done
            for pair in v1..other@v1 v1..root@v2 v1..vm1 other..v1 head..v1 head..head v1..vm1.json; do
                row 'Invalid argument' 22 "$pair is no difference of root: both sides are snapshots of it, or the second is head, as others have no history in common with them; see: ls .ctl/snap/root" cat .ctl/diff/root/$pair
            done
            fails 2 "$V" diff "$M" root@v1 other@v1; says 'with a later snapshot of it'; rows=$((rows + 1))
            # Properties.
            row 'No data available' 61 'root has no property or attribute user.volfs.nothing set; see: ls .ctl/vol/root/prop' x get root user.volfs.nothing; row 'No data available' 61 'user.none' x remove root user.none
            row 'No data available' 61 'the pool has no property user.volfs.nothing; see: ls .ctl/prop' x get . user.volfs.nothing; row 'Operation not permitted' 1 'that property of the pool is computed and can only be read' x set . user.volfs.free 1
            row 'Invalid argument' 22 'the pool has no such property; see: ls .ctl/prop' x set . user.volfs.nothing 1; row 'not supported' 95 'the top of the mount keeps no attributes, but volumes do' x set . user.x 1
            why='volfs does not compress: each block of 4 KiB has a place of its own'; row 'Invalid argument' 22 "$why" x set root user.volfs.compression lz4; row 'Invalid argument' 22 "$why" write lz4 $P1/compression; row 'Invalid argument' 22 "$why" write lz4 .ctl/prop/compression
            row 'No data available' 61 "$why" x get root user.volfs.compression; row 'No data available' 61 "$why" x get . user.volfs.compression; row 'Invalid argument' 22 "$why" x set . user.volfs.compression lz4; row 'Invalid argument' 22 "$why" x set root@v1 user.volfs.compression lz4
            row 'Invalid argument' 22 'root has no such property; see: ls .ctl/vol/root/prop' x set root user.volfs.nothing y; row 'Invalid argument' 22 'no such property' write y .ctl/vol/root/prop/nothing
            row 'Operation not permitted' 1 'that property of root is computed and can only be read' x set root user.volfs.size 5; row 'Operation not permitted' 1 'is computed and can only be read' write 5 $P1/size
            row 'Invalid argument' 22 'fixed is on or off, of a volume only' write maybe $P1/fixed; row 'Invalid argument' 22 'quota is a number of bytes' write many $P1/quota; row 'Invalid argument' 22 'group has names of groups with commas between' x set root user.volfs.group 'a b'
            row 'Invalid argument' 22 'hold takes any text, of a snapshot only' x set root user.volfs.hold y; row 'Invalid argument' 22 'write the name of a snapshot, and discard behind it' write 'v1 v2' .ctl/vol/root/rollback; row 'Invalid argument' 22 'the pool has 536870912 bytes; it grows by two segments of 2 MiB or more, and shrinks by one or more' write 536875008 .ctl/size; row 'Invalid argument' 22 'for itself; this one has [0-9]+ bytes' write 5 .ctl/size; row 'Invalid argument' 22 'write a number of bytes' write 64G .ctl/size; row 'Invalid argument' 22 'write a number of bytes' write '1 2' .ctl/size
            row 'Argument list too long' 7 'a value has at most 3072 bytes' x set root user.big "$huge"; row 'Argument list too long' 7 'a value has at most 3072 bytes' write "$huge" $P1/comment; row 'Argument list too long' 7 'a value has at most 3072 bytes' write "$huge$huge" $P1/comment
            row 'Argument list too long' 7 "all of one object's 65536; choose a shorter one" x fill other; same "$(grep -c '^[0-9]*$' "$T/out")" 21 "attributes of 3000 bytes"
            kernel 'No such file' cat $P1/nothing
            echo long > $P1/comment; kernel 'out of range' x small root user.volfs.comment; row 'File exists' 17 'that attribute is set already' x create root user.volfs.comment y; row 'not supported' 95 'attributes called system.thing are not kept; use user.NAME' x set root system.thing y
            # Groups.
            mkdir .ctl/group/db; ln -s ../../../../root .ctl/group/db/members/root; ln -s ../../../../other .ctl/group/db/members/other
            row 'File exists' 17 'root has a snapshot v2 already, so none was made; choose another name' mkdir .ctl/group/db/snap/v2; same "$(ls .ctl/snap/other)" v1
            row 'Directory not empty' 39 'the group db has 2 members; remove them first: rm .ctl/group/db/members/\\*' rmdir .ctl/group/db; row 'Operation not permitted' 1 'make another: mkdir .ctl/group/GROUP' rmdir .ctl/group/all; row 'Operation not permitted' 1 'has them all' rm .ctl/group/all/members/root
            row 'Invalid argument' 22 'a member is a volume, and the link is called as it: ln -s ../../../../x .ctl/group/db/members/x' ln -s root .ctl/group/db/members/x; mkdir .ctl/group/none; row 'Invalid argument' 22 'the group none has no members; add one' mkdir .ctl/group/none/snap/s
            echo 1 > .ctl/vol/other/prop/snapshot_limit; row 'Too many links' 31 'the property snapshot_limit allows 1 snapshot of other; remove one, or raise it: echo N > .ctl/vol/other/prop/snapshot_limit' mkdir .ctl/snap/other/v3
            row 'Too many links' 31 'snapshot_limit allows 1 snapshot of other' mkdir .ctl/group/db/snap/v3; echo > .ctl/vol/other/prop/snapshot_limit; mkdir .ctl/snap/root/v5 .ctl/snap/other/v5; echo w > .ctl/snap/other/v5/prop/hold
            row 'Device or resource busy' 16 'other@v5 is held \\(w\\), so none was removed; release it first: echo > .ctl/snap/other/v5/prop/hold' rmdir .ctl/group/db/snap/v5; [ -e root@v5 ] || fail "half of a group snapshot is gone"
            row 'Invalid argument' 22 'there is no such job; there is scrub, check and check-data to do' mkdir .ctl/job/nothing; row 'Operation not permitted' 1 'what was deleted is freed by itself' mkdir .ctl/job/freeing
            # What the kernel answers itself, or what tools only try.
            for mode in 8 32 64; do kernel 'not supported' x fallocate vm $mode; done; # FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR, BLKSSZGET, BLKGETSIZE64, BLKDISCARD; FIEMAP and FICLONE.
            for number in 0x80086601 0x801c581f 0x1268 0x80081272 0x1277; do kernel 'Inappropriate ioctl' x ioctl vm $number; done; kernel 'not supported' x ioctl vm 0xc020660b; kernel 'not supported' x clone vm other
            kernel 'not supported' cp --reflink=always vm copy; rm -f copy; kernel 'not supported' x tmpfile .; kernel 'No such device' x mmap vm
            mkdir "$T/second"; fails 32 "$V" "$P" "$T/second"; says "process $(daemon)"; rows=$((rows + 1))
            # Who may.
            cd /; unmount_pool; mount_pool -o clone_mode=1777; cd "$M"; chmod 755 "$T"; chmod 600 root; user() { setpriv --reuid=1234 --regid=1234 --clear-groups "$@"; }
            row 'Permission denied' 13 'root may not be read by you, so not cloned; ask its owner for: chmod \\+r' user ln -s root .ctl/clone/mine
            row 'Permission denied' 13 'other belongs to somebody else; ask its owner or root' user mkdir .ctl/group/db/snap/mine; row 'Permission denied' 13 'vm belongs to somebody else' user ln -s ../../../../vm .ctl/group/db/members/vm
            row 'Permission denied' 13 'root belongs to somebody else; ask its owner or root' user mkdir .ctl/snap/root@mine; row 'Permission denied' 13 'other belongs to somebody else' user mkdir .ctl/snap/other,vm@mine
            kernel 'Operation not permitted' user rmdir .ctl/snap/root@v1; kernel 'Operation not permitted' user mv .ctl/snap/root@v1 .ctl/snap/root@mine
            kernel 'Permission denied' user touch mine; kernel 'Permission denied' user mkdir .ctl/snap/root/mine; kernel 'Permission denied' user dd if=root count=1; kernel 'Permission denied' user mkdir .ctl/group/all/snap/mine; kernel 'Permission denied' user rm vm
            # A volume that is read-only, and a pool that is.
            echo on > .ctl/vol/vm/prop/readonly; row 'Read-only file system' 30 'the property readonly of vm is on; first: echo off > .ctl/vol/vm/prop/readonly' write x vm; row 'Read-only file system' 30 'readonly of vm is on' truncate -s 9M vm
            cd /; unmount_pool; mount_pool -o ro; cd "$M"; same "$(cat .ctl/state)" read-only
            for command in 'touch new' 'rm vm' 'mkdir .ctl/snap/vm/s' 'ln -s vm .ctl/clone/c' 'mv vm vm2' 'truncate -s 1M vm' 'chmod 600 vm' 'write x .ctl/vol/vm/prop/comment' 'x set vm user.note y' 'mkdir .ctl/group/g'; do kernel 'Read-only file system' $command; done
            cd /; unmount_pool; clean; echo "RESULT $rows refusals"
            """, tools: ["setpriv"], seconds: 240)
    }

    /// A full pool refuses writes, properties, snapshots and clones with ENOSPC, says what helps, and lets go of all that is removed.
    @Test func refusalsOfAFullPool() throws {
        try scenario(
            Self.table + """
            pool 64M; cd "$M"; truncate -s 1G v; same "$(cat .ctl/state)" ready
            row 'No space left' 28 'the pool is full: [0-9]+ bytes are needed, [0-9]+ are free; delete snapshots or volumes, or punch holes' dd if=/dev/urandom of=v bs=1M count=100 conv=notrunc; same "$(cat .ctl/state)" full
            row 'No space left' 28 'the pool is full: [0-9]+ bytes are needed, [0-9]+ are free' fallocate --length 100M more; rm -f more
            # Down to what only removing may take: attributes, which take space of another kind.
            cat > "$T/fill.py" <<'END'
            import errno, os
            for n in range(200):
                try:
                    os.close(os.open("a%d" % n, os.O_CREAT | os.O_WRONLY))
                    for k in range(20): os.setxattr("a%d" % n, "user.%d" % k, os.urandom(2000).hex()[:3000].encode())
                except OSError as e:
                    assert e.errno == errno.ENOSPC, e
                    break
            else: raise SystemExit("never full")
            END
            python3 "$T/fill.py"; grep -Eq 'setxattr a[0-9]+ user.[0-9]+ errno=28: the pool is full' .ctl/errors || fail "$(tail -1 .ctl/errors)"
            until_full() { for n in $(seq 20000); do "$@" "$n" 2> "$T/out" || return 0; done; fail "never full: $*"; }
            snap() { mkdir .ctl/snap/v/$1; }; clone() { ln -s v .ctl/clone/c$1; }; make() { touch "n$1"; }
            for kind in make clone snap; do until_full $kind; says 'No space left'; tail -1 .ctl/errors | grep -Eq 'errno=28: the pool is full' || fail "$kind: $(tail -1 .ctl/errors)"; done
            rmdir .ctl/snap/v/* 2> /dev/null || true; rm -f n* c* a* v; same "$(ls | wc -l)" 0; freed; same "$(cat .ctl/state)" ready; echo again > v
            cd /; unmount_pool; clean
            """, seconds: 240)
    }

    /// A pool that has as many versions as its format can number, and a mount that has as many groups as it keeps: ENOSPC and EMLINK, and
    /// everything that gives something back, or needs no number, goes on.
    @Test func refusalsAtTheLimitsOfTheFormat() throws {
        try scenario(
            Self.table + """
            pool 256M; truncate -s 1M "$M/root"; mkdir "$M/.ctl/snap/root/v1"; unmount_pool; "$V" dump "$P" > dump
            for field in next_generation=4294967286 next_id=281474976710654; do
                sed "2s/${field%=*}=[0-9]*/$field/" dump > last; "$V" restore --force "$P" last; mount_pool; cd "$M"; mkdir .ctl/snap/root/last
                why='the pool has made as many volumes, snapshots and clones in its life as its format can number; copy what it has into a new pool: volfs copy'
                row 'No space left' 28 "$why" touch new; row 'No space left' 28 "$why" mkdir .ctl/snap/root/v2; row 'No space left' 28 "$why" mkdir .ctl/group/all/snap/v2; row 'No space left' 28 "$why" ln -s root .ctl/clone/c
                row 'No space left' 28 "$why" write v1 .ctl/vol/root/rollback; fails 7 "$V" snapshot "$M" root@v2; says "$why"; same "$(cat .ctl/state)" ready
                echo data > root; same "$(cat root)" data; truncate -s 1M root; echo x > .ctl/vol/root/prop/comment; mv root disk; mv disk root; rmdir .ctl/snap/root/last; freed
                cd "$T"; unmount_pool; fails 7 "$V" clone "$P" root c; says "$why"; clean
            done
            "$V" create new.pool --size 64M; "$V" copy "$P" root root --to new.pool; "$V" snapshot new.pool root@v1
            mount_pool; cd "$M"; for n in $(seq 1000); do echo .ctl/group/g$n; done | xargs mkdir
            row 'Too many links' 31 'there are 1000 groups without members; remove some: rmdir .ctl/group/GROUP' mkdir .ctl/group/more; rmdir .ctl/group/g7; mkdir .ctl/group/more; cd "$T"; unmount_pool; clean
            """)
    }

    /// After a failed write to the pool's file names and settings cannot change (EROFS), data fails (EIO), and reading goes on.
    @Test func refusalsOfASuspendedPool() throws {
        try scenario(
            Self.table + """
            mkdir "$T/ram" "$T/host"; mount -t tmpfs -o size=48M none "$T/ram"
            truncate -s 256M "$T/ram/host.img"; mkfs.ext4 -q -E lazy_itable_init=1 "$T/ram/host.img"; mount -o loop,errors=continue "$T/ram/host.img" "$T/host"; P=$T/host/data.pool
            "$V" create "$P" --size 200M; mount_pool; cd "$M"; echo kept > kept; sync kept; truncate -s 128M disk; exec 5<>disk
            python3 - disk <<'END' || true
            import os, sys
            f = os.open(sys.argv[1], os.O_WRONLY)
            for n in range(30000):
                os.pwrite(f, os.urandom(4096), n * 4096)
                if n % 64 == 0: os.fsync(f)
            END
            same "$(cat .ctl/state)" degraded; why='the pool is read-only after a failed write; unmount and mount again to recover'
            row 'Read-only file system' 30 "$why" touch new; row 'Read-only file system' 30 "$why" mkdir .ctl/snap/disk/s; row 'Read-only file system' 30 "$why" ln -s disk .ctl/clone/c; row 'Read-only file system' 30 "$why" rm kept
            row 'Read-only file system' 30 "$why" mv kept other; row 'Read-only file system' 30 "$why" write x kept; row 'Read-only file system' 30 "$why" write x .ctl/vol/disk/prop/comment; row 'Read-only file system' 30 "$why" mkdir .ctl/group/g
            row 'Input/output error' 5 'an earlier write to the pool.s file failed; unmount and mount again to recover' bash -c 'echo x >&5'; same "$(cat kept)" kept
            grep -q 'errno=5' .ctl/errors; exec 5>&-; cd /
            for command in check scrub; do fails 8 "$V" $command "$M"; says "$command: .*(after|an earlier) .*write"; done
            ln -s "$V" "$T/umount.fuse.volfs"; fails 1 "$T/umount.fuse.volfs" "$M"; says 'what was not stored then is lost'; ! grep -q " $M fuse" /proc/mounts || fail "still mounted"; umount -l "$T/host" || true; umount -l "$T/ram"; echo "RESULT $rows refusals of a suspended pool"
            """, tools: ["mkfs.ext4"], seconds: 180)
    }
}
