internal import TestSupport
import Testing

// The complaints that volfs answers, by number, and the tests that show it. ComplaintTableTests checks this list: each test
// named is there, and each test whose comment names a row is named here. Rows 32, 35, 36, 39 and 40 are about object stores.
//
//    1  space of what was deleted stays used: trimAndDeleteGiveSpaceBack, accountingIsExact
//    2  trimming does not shrink what lies behind: trimAndDeleteGiveSpaceBack
//    3  trimming an empty device takes minutes: discardOfWhatIsNotThereDoesNothing
//    4  mkfs on a new device takes minutes or fails: makingFilesystemsOnLargeEmptyVolumes
//    5  disks of machines never shrink on the host: virtualMachineBootsFromClone, diskOfARunningMachine
//    6  discards do nothing because the disk is a block device: volumeIsARegularFile
//    7  a runtime reserves the whole of every thin image: reservationIsKept
//    8  guests that do not bear discards: discardAndExportCanBeTurnedOff
//    9  a full pool ends in a read-only filesystem: fullPoolRecoversWithOneRmdir, fullPoolRefusesCleanlyAndRecovers, refusalsOfAFullPool
//   10  no space for a snapshot in a pool that is a third full: snapshotNeedsNoHiddenReservation
//   11  a reservation that does not protect: reservationIsKept, fullPoolKeepsItsPromise
//   12  metadata needs repair after a crash, old data shows: killedDaemonLosesNothingAcknowledged, newVolumeNeverShowsOldData, everyHistorySurvivesCrashes
//   13  opening gets slower with every snapshot: snapshotCostDoesNotGrow
//   14  opening a large store takes long: recoveryReadsNoMoreOfALargePool
//   15  first writes are slow, I/O fails during a snapshot: firstWritesWriteNoZeros, fioVerifiesWhileSnapshotsAreTaken
//   16  metadata of images silently corrupted: damageIsNamedAndRepaired, volumeIsARegularFile
//   17  memory grows with data: memoryStaysBelowTheStatedBound
//   18  nothing tells where corruption came from: damageIsNamedAndRepaired, scrubOfMountedPool
//   19  a snapshot with clones cannot be deleted: thousandClonesOfGoldenImage, goldenImageFromStartToEnd
//   20  a force flag deletes the wrong thing: dryRunNamesExactlyWhatGoes, whatSeveralDeletionsFree
//   21  a rollback destroys newer snapshots: rollback
//   22  a small limit on snapshots: snapshotCostDoesNotGrow
//   23  a copy for every machine: thousandClonesOfGoldenImage, goldenImageFromStartToEnd
//   24  a snapshot lacks accepted writes: snapshotHasEveryWriteThatReturned
//   25  a snapshot wants a frozen filesystem: snapshotOfFrozenFilesystem
//   26  volumes that belong together need one cut: groupSnapshotIsOneMoment, snapshotsOfOneMoment
//   27  backups want the changed blocks: differencesBetweenVersions, backupAndRestore, incrementalBackupOverNBD
//   28  a deletion reported, and not done: verbsReturnWhenDurable
//   29  a rollback under a mounted filesystem: rollbackOfAMountedVolumeIsRefused
//   30  stale entries, and walkers that fall into the control directory: walkersLeaveTheControlDirectoryAlone, nothingStaleIsSeen, snapshotAliases
//   31  times of the snapshot directory stay: snapshotDirectoryTimesMove
//   33  unmounting returns before everything is stored: unmountWaitsForTheDaemon, mountsOfAnFstab
//   34  a volume cannot be made larger: filesystemGrowsWithItsVolume
//   37  starting takes minutes, data is lost when the machine stops: serviceManagerIsTold, recoveryIsReported, installedProgram
//   38  a newer program does not open older pools: opensEveryFormat
//   41  a dead mount stays after a crash: deadMountIsCleared
//   42  mount returns before it can say what is wrong: mountTellsWhyBeforeItReturns, commandMistakes
//   43  generic mount options are refused: genericMountOptionsAreTaken
//   44  suid and dev silently off: suidAndDevAreNotTakenAwaySilently
//   45  loop devices with direct I/O fail: filesystemOnVolumeSnapshotAndClone, discardsAndZerosOfALoopDevice
//   46  status that no program can read: everyCommandSpeaksJSON, everythingAsJSON, commandsOnMountedAndUnmountedPool, everyCommandTakesJSON
//   47  resizing over NBD is unreliable: mountAndNBDAreCoherent
//   48  is it complete when it appears?: mountedMeansReady
//   49  what does a snapshot cost, and how to limit them: accountingIsExact, refusalsOfEveryRow
//   50  snapshots cleaned up one by one: manySnapshotsGoWithOneShellLine, retentionLoopKeepsTheNewest

/// What users of other systems complain about most, about space and recovery, and does not happen here.
extension IntegrationTests {
    /// Row 3. Discarding an empty range, however large, writes nothing to the pool and reads nothing of it.
    @Test func discardOfWhatIsNotThereDoesNothing() throws {
        try scenario(
            """
            pool 512M; truncate -s 10T "$M/v"; loop=$(attach "$M/v"); sync -f "$M"; pid=$(daemon)
            moved() { awk '/^(rchar|wchar)/ { sum += $2 } END { print sum }' /proc/$pid/io; }
            least=0
            # What the daemon reads and writes for a request is its message and the reply, together far from a block. The best of three,
            # for a checkpoint of earlier changes may fall into one.
            for n in 1 2 3; do before=$(moved); fallocate --punch-hole --offset 0 --length 10T "$M/v"; now=$(($(moved) - before)); [ $n -gt 1 ] && [ $least -lt $now ] || least=$now; done
            [ $least -lt 4096 ] || fail "a discard of 10 TiB of nothing moved $least bytes"
            requests=$(json discards); before=$(moved); blkdiscard $loop; now=$(($(moved) - before)); requests=$(($(json discards) - requests))
            [ $requests -gt 0 ] && [ $now -lt $((requests * 1024 + (1 << 20))) ] || fail "$requests discards moved $now bytes"
            losetup -d $loop; unmount_pool; clean | grep " 0 blocks"
            """, tools: ["fallocate", "blkdiscard"])
    }

    /// Row 6. A volume is a regular file to whoever asks, so that the way of hypervisors that punch holes in files is
    /// open.
    @Test func volumeIsARegularFile() throws {
        try scenario(
            """
            pool 512M; head -c 4M /dev/urandom > "$M/v"
            same "$(stat -c '%F %h %s' "$M/v")" "regular file 1 4194304"; same "$(stat -c %F "$M/.")" directory
            [ -f "$M/v" ] && [ ! -b "$M/v" ] || fail "not a file"
            blocks=$(stat -c %b "$M/v"); fallocate --punch-hole --offset 1M --length 2M "$M/v"
            same $((blocks - $(stat -c %b "$M/v"))) 4096 "sectors given back by a punched hole"
            same "$(stat --file-system -c %S "$M")" 4096 "unit in which discards are honoured"
            qemu-img info --output=json "$M/v" | python3 -c 'import json, sys; i = json.load(sys.stdin); assert i["format"] == "raw" and i["actual-size"] == 2 << 20, i'
            unmount_pool; clean
            """, tools: ["fallocate", "qemu-img"])
    }

    /// Row 9. A filesystem that ran into a full pool is itself again after one rmdir and what a machine does when it
    /// starts: an automatic check and a mount.
    @Test func fullPoolRecoversWithOneRmdir() throws {
        try scenario(
            """
            pool 256M; truncate -s 1G "$M/disk"; loop=$(attach --direct-io=on "$M/disk"); mkfs.ext4 -q -E nodiscard $loop; mkdir "$T/a"; mount -o errors=continue $loop "$T/a"
            head -c 20M /dev/urandom > "$T/a/kept"; sum=$(cksum < "$T/a/kept"); head -c 60M /dev/urandom > "$T/a/old"; sync -f "$T/a"; mkdir "$M/.ctl/snap/disk/s"; rm "$T/a/old"; sync -f "$T/a"; fstrim "$T/a"
            head -c 400M /dev/urandom > "$T/a/new" 2>/dev/null || true; sync -f "$T/a" 2>/dev/null || true
            dd if=/dev/urandom of="$M/rest" bs=4K count=1000 status=none 2>/dev/null && fail "not full"
            same "$(cat "$M/.ctl/state")" full; grep -q 'errno=28' "$M/.ctl/errors" || fail "no reason: $(cat "$M/.ctl/errors")"
            umount "$T/a"; rmdir "$M/.ctl/snap/disk/s"; freed; same "$(cat "$M/.ctl/state")" ready
            got=0; e2fsck -p $loop > "$T/fsck" 2>&1 || got=$?; [ $got -le 1 ] || fail "e2fsck $got: $(cat "$T/fsck")"; mount $loop "$T/a"
            same "$(cksum < "$T/a/kept")" "$sum" "what was written before"; rm -f "$T/a/new"; fstrim "$T/a"; head -c 60M /dev/urandom > "$T/a/again"; sync -f "$T/a"
            sum=$(cksum < "$T/a/again"); umount "$T/a"; mount $loop "$T/a"; same "$(cksum < "$T/a/again")" "$sum" "what was written after the rmdir"
            umount "$T/a"; e2fsck -fn $loop > "$T/fsck" 2>&1 || fail "$(cat "$T/fsck")"; losetup -d $loop; unmount_pool; clean
            """, tools: ["mkfs.ext4", "e2fsck", "fstrim"])
    }

    /// Row 10. Volumes promise far more than the pool has, and a snapshot and a clone of them are made at any fill.
    @Test func snapshotNeedsNoHiddenReservation() throws {
        try scenario(
            """
            pool 512M; for n in 1 2 3; do truncate -s 8T "$M/promise$n"; done; truncate -s 4G "$M/v"
            capacity=$(json capacity); at=0
            for percent in 0 30 60 90; do
                count=$(((capacity * percent / 100 - $(json allocated)) >> 20)); [ $count -le 0 ] || dd if=/dev/urandom of="$M/v" bs=1M seek=$at count=$count conv=notrunc status=none
                at=$((at + (count > 0 ? count : 0)))
                mkdir "$M/.ctl/snap/v/at$percent"; ln -s v@at$percent "$M/.ctl/clone/c$percent"; mkdir "$M/.ctl/snap/promise1/at$percent"
                same "$(head -c 4096 "$M/c$percent" | cksum)" "$(head -c 4096 "$M/v@at$percent" | cksum)"
            done
            # Until nothing more fits: what available says is what can be written.
            left=$(json available); dd if=/dev/urandom of="$M/v" bs=64K seek=$((at * 16)) conv=notrunc status=none 2>"$T/dd" && fail "never full"
            grep -q 'No space' "$T/dd" || fail "$(cat "$T/dd")"
            [ $(json available) -lt $((left / 4)) ] || fail "full with $(json available) of $left bytes available"
            unmount_pool; clean
            """)
    }

    /// Row 12. Blocks of a deleted volume never show in a new one, whether its blocks are whole or in part written, and
    /// also if the daemon is killed in between.
    @Test func newVolumeNeverShowsOldData() throws {
        try scenario(
            """
            pool 64M
            for round in 1 2; do
                for n in 1 2; do python3 -c 'import sys; sys.stdout.buffer.write(b"SECRET.." * (16 << 17))' > "$M/old$n"; done; sync "$M/old1"
                rm "$M/old1" "$M/old2"; [ $round = 1 ] || freed
                truncate -s 30M "$M/new"
                # A few bytes in each block: the rest of it must be zeros, not what lay there.
                python3 - "$M/new" <<'EOF'
            import os, sys
            f = os.open(sys.argv[1], os.O_WRONLY)
            for n in range(0, 30 << 20, 8192): os.pwrite(f, b"new", n + 1000)
            EOF
                if [ $((round % 2)) = 0 ]; then kill -9 $(daemon); sleep 0.2; mount_pool; fi
                same "$(grep --count --text SECRET "$M/new" || true)" 0 "lines of old data in a new volume"
                same "$(tr -d '\\0' < "$M/new" | head -c 9)" newnewnew; rm "$M/new"; freed
            done
            unmount_pool; clean
            """, tools: ["fallocate"])
    }

    /// Row 14. What opening a killed pool reads depends on its journal and not on how large the pool is.
    @Test func recoveryReadsNoMoreOfALargePool() throws {
        try scenario(
            """
            read_by_recovery() {
                P=$T/$1.pool; "$V" create "$P" --size $1; mount_pool; truncate -s 512M "$M/v"
                python3 - "$M/v" <<'EOF'
            import os, random, sys
            random.seed(1); f = os.open(sys.argv[1], os.O_WRONLY)
            for n in range(4000): os.pwrite(f, b"%08d" % n * 512, random.randrange(1 << 17) << 12)
            EOF
                mkdir "$M/.ctl/snap/v/s"; cksum < "$M/v" > "$T/$1.sum"; kill -9 $(daemon); sleep 0.2; mount_pool
                awk '/^rchar/ { print $2 }' /proc/$(daemon)/io > "$T/$1.read"
                same "$(cksum < "$M/v@s")" "$(cat "$T/$1.sum")" "contents after recovery"; unmount_pool; rm "$P"
            }
            read_by_recovery 64G; read_by_recovery 2T; small=$(cat "$T/64G.read") large=$(cat "$T/2T.read")
            echo "RESULT recovery reads $small bytes of a pool of 64 GiB, $large of one of 2 TiB"
            # The journal is the same; the bitmaps alone of the large one are 64 MiB.
            [ $large -lt $((40 << 20)) ] || fail "recovery read $large bytes of 2 TiB, $small of 64 GiB"
            """)
    }

    /// Row 15. The first write of a block costs that block and its record, not zeros around it.
    @Test func firstWritesWriteNoZeros() throws {
        try scenario(
            """
            pool 1G; truncate -s 8T "$M/v"; sync -f "$M"; pid=$(daemon)
            written() { awk '/^wchar/ { print $2 }' /proc/$pid/io; }
            before=$(written)
            python3 - "$M/v" <<'EOF'
            import mmap, os, random, sys
            random.seed(2); f = os.open(sys.argv[1], os.O_WRONLY | os.O_DIRECT); b = mmap.mmap(-1, 4096); b.write(os.urandom(4096))
            for n in range(2000): os.pwrite(f, b, random.randrange(2 << 30) << 12)
            EOF
            grown=$(($(written) - before)); echo "RESULT 2000 first writes of 4 KiB: $((grown / 2000)) bytes written each"
            [ $grown -lt $((2000 * 5 * 4096)) ] || fail "$((grown / 2000)) bytes written for each block"
            same $(($(json written_bytes))) $((2000 * 4096)); unmount_pool; clean
            """)
    }
}
