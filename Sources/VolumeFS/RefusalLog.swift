package import BlockStorage
internal import Synchronization

/// The last hundred refused operations, for `.ctl/errors`: a shell's user sees an errno only, the reason is here.
final class RefusalLog: Sendable {
    private let lines = Mutex<[String]>([])
    static let limit = 100

    func add(_ line: String) {
        lines.withLock { lines in
            lines.append(line)
            if lines.count > Self.limit { lines.removeFirst() }
        }
    }

    var text: String { lines.withLock { $0.map { $0 + "\n" }.joined() } }
}

/// Why something was refused, in a sentence that says what to do, where nothing is known but the failure. A mount says more:
/// `VolumeFileSystem.explanation`.
package func reason(for error: PoolError) -> String {
    switch error {
    case .outOfSpace(let needed, let free):
        "the pool is full: \(needed) bytes are needed, \(free) are free; delete snapshots or volumes, or punch holes, or make the pool larger: echo BYTES > .ctl/size"
    case .outOfRange(let offset, let count, let size): "\(count) bytes at \(offset) reach beyond \(size) bytes"
    case .tooLarge(let size, let limit): "\(size) bytes are more than the largest volume, \(limit)"
    case .invalid(.name):
        "names are made of letters, digits and . _ + - (a snapshot's also of :), and begin with a letter or digit (a snapshot's also with _)"
    case .invalid(.nameTooLong): "names have at most 127 bytes; choose a shorter one"
    case .invalid(.destination): "it can be renamed only where it is, and volumes stay volumes"
    case .invalid(.size): "a pool grows by two segments of 2 MiB or more, and shrinks by one or more"
    case .invalid(.job): "there is no such job; there is scrub, check and check-data to do"
    case .invalid: "that value is not allowed here"
    case .notFound: "there is no volume or snapshot of that name"
    case .exists: "that name is taken; remove or rename what has it first"
    case .hasSnapshots(let count): "the volume has \(Wording.count(count, "snapshot")); remove them first: rmdir .ctl/snap/VOLUME/*"
    case .inUse: "another request is changing its size; try again"
    case .readOnly: "snapshots, and pools mounted read-only, cannot be changed; clone it: ln -s VOL@SNAP .ctl/clone/NAME"
    case .notPermitted: "not here: volumes are files at the top, snapshots are made by mkdir and removed by rmdir in .ctl/snap/VOLUME"
    case .notSupported: "this kind of request is not supported"
    case .suspended: "an earlier write to the pool's file failed; unmount and mount again to recover"
    case .malformed(let line): "line \(line) of the text is wrong"
    case .noProperty: "no such property is set"
    case .tooMany(let limit): "snapshot_limit allows \(Wording.count(limit, "snapshot")); remove one or raise it"
    case .outOfMemory(let limit):
        "more than \(limit) bytes of memory are not for this; close files that are open below .ctl"
    case .held: "it is held; first: echo > .ctl/snap/VOL/SNAP/prop/hold"
    case .refused(let refusal): reason(for: refusal)
    case .cancelled: "it was cancelled"
    case .corrupt(.data, let position, let problem):
        "damaged data at byte \(position) of the pool's file (\(problem)); volfs scrub tells all ranges; overwrite them, or restore them from a copy"
    case .corrupt(let structure, let position, let problem):
        "damaged \(structure) at byte \(position) of the pool's file (\(problem)); run volfs check"
    case .truncated(let size, let expected):
        "the pool's file has been cut to \(size) bytes, and what is asked for lies before byte \(expected) of it; unmount, and restore the file from a copy"
    case .locked, .notAPool, .unsupportedFormat: "the pool cannot be used"
    // ENOSPC, by its number, as there is no C library here.
    case .system(_, errno: 28): "the filesystem that the pool's file is on has no room left; make some there, or delete snapshots or volumes here"
    // EFBIG.
    case .system(_, errno: 27): "the filesystem that the pool's file is on takes no file of that size; choose a smaller one"
    case .system(let call, let errno): "\(call) on the pool's file failed with errno \(errno)"
    case .remote(.isAnother): "the server of the pool came back without what was stored; unmount, and see what it serves"
    case .remote(.lostWrites): "the server of the pool came back and did not take again what it may have lost; unmount and mount again to recover"
    case .remote: "the server that has the pool does not answer; unmount and mount again once it does"
    }
}

private func reason(for refusal: Refusal) -> String {
    switch refusal {
    case .quotaIsUsed(let used): "less than it has mapped already, \(used) bytes; give a quota of that or more, or first punch holes"
    case .quota(let limit): "its quota, \(limit) bytes, is used up; raise the property quota, or punch holes"
    case .fixed(let size): "it is fixed at \(size) bytes; make it larger with truncate, or set fixed=off"
    case .noNumbersLeft: "the pool has made as many volumes, snapshots and clones in its life as its format can number; copy what it has into a new pool: volfs copy"
    case .shrinkIsOff: "its property shrink is off; set shrink=on first"
    case .volumeIsReadOnly: "its property readonly is on; set readonly=off first"
    case .poolIsSuspended: "the pool is read-only after a failed write; unmount and mount again to recover"
    case .isHandedOver: "the mount is just being handed over to another daemon; do it again"
    case .isStopping: "the mount is ending, and opens and makes nothing new; wait, and mount again"
    case .isOpen: "it is open; close, unmount or detach it first"
    case .computedProperty: "that property is computed; it can only be read"
    case .unknownProperty: "there is no such property; see: ls .ctl/vol/VOLUME/prop"
    case .valueTooLarge(let limit): "a value has at most 3072 bytes, and all of one object's \(max(limit, 65_536)); choose a shorter one"
    case .notOwner: "it belongs to somebody else; ask its owner or root"
    case .needsRoot: "the group of all volumes is root's; make a group of your own: mkdir .ctl/group/GROUP"
    case .mayNotRead: "it may not be read by you, so not cloned; ask its owner for: chmod +r"
    case .replacingLink: "a clone is never replaced, so ln -sf does not work; remove it first: rm CLONE"
    case .linkTarget: "that is no volume or snapshot of this pool; write it as VOL or VOL@SNAP"
    case .headIsTheVolume: "head is what a difference calls the volume itself, so no snapshot is called that; choose another name"
    case .headIsTwo: "head is the volume, and a snapshot of it too; rename that first: mv .ctl/snap/VOL/head .ctl/snap/VOL/NEW"
    case .differenceIsTwo: "that is the difference of two pairs of snapshots, as their names have two dots in them; rename one: mv .ctl/snap/VOL/SNAP .ctl/snap/VOL/NEW"
    case .differenceOfOthers: "a difference is of two snapshots of one volume, or of one and the volume, called head; see: ls .ctl/snap/VOL"
    case .memberHasName: "a volume of the group has a snapshot of that name; choose another"
    case .memberIsFull(_, let limit): "snapshot_limit allows \(Wording.count(limit, "snapshot")) of a volume of the group; remove one or raise it"
    case .memberIsHeld: "the snapshot of a volume of the group is held; release it first"
    case .groupHasMembers(let count): "the group has \(Wording.count(count, "member")); remove them first: rm .ctl/group/GROUP/members/*"
    case .groupIsEmpty: "the group has no members; add one: ln -s ../../../../VOL .ctl/group/GROUP/members/VOL"
    case .groupOfAll: "the group of all volumes is always there and has them all; make another: mkdir .ctl/group/GROUP"
    case .isInTrash: "it is in the trash; restore it first: mv .ctl/trash/NAME NAME"
    case .tooManyReaders(let limit): "\(limit) streams of events are open; close one"
    case .poolSizeIsNoNumber: "write a number of bytes, as 68719476736 for 64 GiB"
    case .poolTooSmall(let least): "a pool needs some of its size for itself; this one has \(least) bytes (\(Wording.size(least))) at the least"
    case .poolTooLarge(let most): "a pool has about \(Wording.size(most)) at the most"
    case .noZonesLeft(let count):
        "the pool has grown as often as its format can note, and has \(count) zones; copy what it has into a new pool: volfs copy"
    case .dataIsElsewhere: "none of the blocks that the dump names is there; restore it to the pool's file, or a copy of that"
    case .deviceHasNoMore(let size): "what the pool is on has \(size) bytes (\(Wording.size(size))) and no more; make that larger first"
    case .shrinksBySize: "a smaller size written to .ctl/size makes the pool shrink"
    case .freesByItself: "what was deleted is freed by itself; wait until .ctl/job/freeing is gone"
    }
}
