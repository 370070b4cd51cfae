internal import Glibc

/// Which rule of a mount, or which setting of a volume, refuses something that a disk would do. Sizes in bytes; `object` and
/// `volume` are ids, for whoever says the name.
public enum Refusal: Equatable, Sendable {
    /// The volume has mapped what its property `quota` allows.
    case quota(limit: UInt64)
    /// It would be a quota of less than the volume has mapped.
    case quotaIsUsed(used: UInt64)
    /// Beyond the end of a volume whose property `fixed` is on.
    case fixed(size: UInt64)
    /// The pool has made as many versions in its life as its format has numbers for.
    case noNumbersLeft
    /// The volume's property `shrink` is off.
    case shrinkIsOff
    /// The volume's property `readonly` is on.
    case volumeIsReadOnly
    /// An earlier write to the pool failed: names and settings cannot change any more.
    case poolIsSuspended
    /// The mount is ending and opens nothing new.
    case isStopping
    /// The mount is being handed over to another daemon, who can be asked for the same.
    case isHandedOver
    /// Somebody has it open.
    case isOpen(object: UInt64)
    case computedProperty, unknownProperty
    /// A property's value, or all of them, would be larger than this.
    case valueTooLarge(limit: UInt64)
    /// Only root, or whoever mounted the pool, may do that to all volumes.
    case needsRoot
    /// Not the caller's own.
    case notOwner(volume: UInt64)
    /// The caller may not read what is to be cloned.
    case mayNotRead
    /// As `ln -sf` does it: a link under a passing name, to be renamed over the old one.
    case replacingLink
    /// A link to something that is no volume or snapshot of the pool, or in a group to another volume than its own name says.
    case linkTarget
    /// No snapshot is called `head`, as differences call the volume so.
    case headIsTheVolume
    /// A snapshot is called `head`, from before that was refused: a difference that ends there could be of it or of the volume.
    case headIsTwo(volume: UInt64)
    /// Two pairs of snapshots whose names have two dots in them are both written as that difference.
    case differenceIsTwo(volume: UInt64)
    /// A difference with something that has no history in common with the volume's snapshots, or that begins with the volume itself.
    case differenceOfOthers(volume: UInt64)

    /// The volume of a group that has a snapshot of that name already, has as many as it may, or whose snapshot is held.
    case memberHasName(volume: UInt64)
    case memberIsFull(volume: UInt64, limit: UInt64)
    case memberIsHeld(volume: UInt64)
    case groupHasMembers(count: Int)
    case groupIsEmpty
    /// The group of all volumes has no members of its own, and cannot go.
    case groupOfAll

    /// A volume in the trash can only be read, restored or removed.
    case isInTrash
    /// More streams of events are open than this.
    case tooManyReaders(limit: Int)
    /// Freeing what was deleted cannot be begun or cancelled.
    case freesByItself, shrinksBySize
    /// What was written to `.ctl/size` is no number.
    case poolSizeIsNoNumber
    /// A pool of that layout has `least` bytes, whatever is in it.
    case poolTooSmall(least: UInt64)
    /// A pool of that layout has `most` bytes, about.
    case poolTooLarge(most: UInt64)
    /// The pool has `count` zones, of which it gets one or more whenever it grows, and its format can number no more.
    case noZonesLeft(count: Int)
    /// What a dump says is data is not on the device.
    case dataIsElsewhere
    /// What the pool is on has `size` bytes, and cannot be made larger from here.
    case deviceHasNoMore(size: UInt64)

    var errno: Int32 {
        switch self {
        case .quota, .quotaIsUsed, .fixed, .noNumbersLeft, .noZonesLeft, .deviceHasNoMore: ENOSPC
        case .poolTooLarge: EFBIG
        case .shrinkIsOff, .isStopping, .computedProperty, .groupOfAll, .isInTrash, .freesByItself, .shrinksBySize: EPERM
        case .isHandedOver: EINTR
        case .volumeIsReadOnly, .poolIsSuspended: EROFS
        case .isOpen, .memberIsHeld: EBUSY
        case .unknownProperty, .replacingLink, .linkTarget, .groupIsEmpty, .headIsTheVolume, .headIsTwo, .differenceIsTwo, .differenceOfOthers,
            .poolSizeIsNoNumber, .poolTooSmall, .dataIsElsewhere: EINVAL
        case .valueTooLarge: E2BIG
        case .notOwner, .needsRoot, .mayNotRead: EACCES
        case .memberHasName: EEXIST
        case .memberIsFull: EMLINK
        case .groupHasMembers: ENOTEMPTY
        case .tooManyReaders: EMFILE
        }
    }
}
