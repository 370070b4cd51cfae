/// What an inode number of the mount means. Numbers are computed, not assigned, so they are the same after a remount, and in
/// every version of the program, as a mount goes on when its daemon is exchanged for a newer one:
/// the object's id in the high bits, what of it in the low eight. No table, and nothing to forget; only groups, which have
/// names and no ids, get theirs from `GroupTable`.
public enum Inode: Hashable, Sendable {
    case root, control, readme, state, statistics, statisticsJSON, errors, list, events
    case volumeDirectories, snapshotDirectories, clones, trash
    /// Contents of a volume or a snapshot.
    case file(UInt64)
    /// `.ctl/vol/VOL`, and what is in it.
    case volumeDirectory(UInt64), volumeInfo(UInt64), volumeInfoJSON(UInt64), volumeOrigin(UInt64), volumeUsers(UInt64)
    case volumeRollback(UInt64)
    /// `.ctl/group`; `.ctl/group/GROUP` by the group's number, and what is in it.
    case groups, group(UInt64), groupMembers(UInt64), groupSnapshots(UInt64)
    /// `.ctl/group/GROUP/members/VOL`, the same link in each group.
    case groupMember(UInt64)
    /// `.ctl/group/GROUP/snap/SNAP`: the group's number and the snapshot of the member with the lowest id, 28 bits each.
    case groupSnapshot(UInt64)
    /// A member's link in it, to the snapshot of that id; the same in each group.
    case groupSnapshotMember(UInt64)
    /// `prop` of a volume or a snapshot; in it the property whose number is in the low eight bits.
    case propertyDirectory(UInt64), property(UInt64)
    /// `.ctl/size`: bytes the pool has; a larger number written to it makes it grow.
    case poolSize, metrics
    /// `.ctl/prop`, and in it the property of the pool with that number; `.ctl/unique`.
    case poolPropertyDirectory, poolProperty(UInt64), unique
    /// `.ctl/diff`, `.ctl/diff/VOL`, and `A..B` and `A..B.json` in it: two ids of 28 bits each.
    case diffs, diffDirectory(UInt64), diff(UInt64), diffJSON(UInt64)
    /// `.ctl/snap/VOL`.
    case snapshotDirectory(UInt64)
    /// `.ctl/snap/VOL/SNAP`, and what is in it.
    case snapshot(UInt64), snapshotInfo(UInt64), snapshotInfoJSON(UInt64)
    /// `.ctl/snap/VOL@SNAP` and `prop` in it: directories of their own, as the kernel knows a directory by one name only.
    case snapshotAlias(UInt64), aliasPropertyDirectory(UInt64)
    /// `.ctl/clone/NAME`.
    case clone(UInt64)
    /// `.ctl/job`, `.ctl/job/KIND`, and what is in it.
    case jobs, job(Jobs.Kind), jobState(Jobs.Kind), jobProgress(Jobs.Kind), jobReport(Jobs.Kind), jobReportJSON(Jobs.Kind)

    /// To be added to at the end only.
    private static let fixed: [Inode] = [
        .root, .control, .readme, .state, .statistics, .statisticsJSON, .errors, .list, .volumeDirectories,
        .snapshotDirectories, .clones, .jobs, .groups, .diffs, .poolSize, .metrics, .events, .trash,
    ] + Jobs.Kind.allCases.flatMap { [.job($0), .jobState($0), .jobProgress($0), .jobReport($0), .jobReportJSON($0)] }
        + [.poolPropertyDirectory, .unique]

    public var number: UInt64 {
        switch self {
        case .file(let id): id << 8 | 1
        case .volumeDirectory(let id): id << 8 | 2
        case .volumeInfo(let id): id << 8 | 3
        case .volumeInfoJSON(let id): id << 8 | 4
        case .volumeOrigin(let id): id << 8 | 5
        case .volumeUsers(let id): id << 8 | 6
        case .snapshotDirectory(let id): id << 8 | 7
        case .snapshot(let id): id << 8 | 8
        case .snapshotInfo(let id): id << 8 | 9
        case .snapshotInfoJSON(let id): id << 8 | 10
        case .clone(let id): id << 8 | 11
        case .volumeRollback(let id): id << 8 | 12
        case .groupSnapshot(let pair): pair << 8 | 13
        case .diffDirectory(let id): id << 8 | 14
        case .diff(let pair): pair << 8 | 15
        case .propertyDirectory(let id): id << 8 | 16
        case .property(let pair): pair << 8 | 17
        case .group(let group): group << 8 | 18
        case .groupMembers(let group): group << 8 | 19
        case .groupSnapshots(let group): group << 8 | 20
        case .groupMember(let id): id << 8 | 21
        case .diffJSON(let pair): pair << 8 | 22
        case .poolProperty(let index): (index + 1) << 8 | 23
        case .snapshotAlias(let id): id << 8 | 24
        case .aliasPropertyDirectory(let id): id << 8 | 25
        case .groupSnapshotMember(let id): id << 8 | 26
        // The fixed ones have numbers from 1, the root's; an object's id is never 0.
        default: UInt64((Self.fixed.firstIndex(of: self) ?? 0) + 1)
        }
    }

    /// Nil for a number that means nothing.
    public init?(number: UInt64) {
        let id = number >> 8
        if id == 0 {
            guard number >= 1, number <= UInt64(Self.fixed.count) else { return nil }
            self = Self.fixed[Int(number) - 1]
            return
        }
        switch number & 255 {
        case 1: self = .file(id)
        case 2: self = .volumeDirectory(id)
        case 3: self = .volumeInfo(id)
        case 4: self = .volumeInfoJSON(id)
        case 5: self = .volumeOrigin(id)
        case 6: self = .volumeUsers(id)
        case 7: self = .snapshotDirectory(id)
        case 8: self = .snapshot(id)
        case 9: self = .snapshotInfo(id)
        case 10: self = .snapshotInfoJSON(id)
        case 11: self = .clone(id)
        case 12: self = .volumeRollback(id)
        case 13: self = .groupSnapshot(id)
        case 14: self = .diffDirectory(id)
        case 15: self = .diff(id)
        case 16: self = .propertyDirectory(id)
        case 17: self = .property(id)
        case 18: self = .group(id)
        case 19: self = .groupMembers(id)
        case 20: self = .groupSnapshots(id)
        case 21: self = .groupMember(id)
        case 22: self = .diffJSON(id)
        case 23: self = .poolProperty(id - 1)
        case 24: self = .snapshotAlias(id)
        case 25: self = .aliasPropertyDirectory(id)
        case 26: self = .groupSnapshotMember(id)
        default: return nil
        }
    }

    /// What a volume or a snapshot holds.
    var isContents: Bool { if case .file = self { true } else { false } }

    /// A control file that is written to.
    var takesWords: Bool {
        switch self {
        case .volumeRollback, .poolSize, .property, .unique: true
        default: false
        }
    }

    /// The id of the volume or snapshot that it is of.
    var object: UInt64? {
        switch self {
        case .file(let id), .volumeDirectory(let id), .volumeInfo(let id), .volumeInfoJSON(let id), .volumeOrigin(let id),
            .volumeUsers(let id), .volumeRollback(let id), .snapshotDirectory(let id), .snapshot(let id), .snapshotAlias(let id), .snapshotInfo(let id),
            .snapshotInfoJSON(let id), .clone(let id), .propertyDirectory(let id), .aliasPropertyDirectory(let id), .diffDirectory(let id), .groupMember(let id), .groupSnapshotMember(let id):
            id
        case .property(let pair): pair >> 8
        case .groupSnapshot(let pair): pair & (1 << 28 - 1)
        default: nil
        }
    }

    public enum Kind: Sendable { case file, directory, link }

    public var kind: Kind {
        switch self {
        case .root, .control, .volumeDirectories, .snapshotDirectories, .clones, .volumeDirectory, .snapshotDirectory,
            .snapshot, .jobs, .job, .groups, .group, .groupMembers, .groupSnapshots, .groupSnapshot, .trash,
            .diffs, .diffDirectory, .propertyDirectory, .poolPropertyDirectory, .snapshotAlias, .aliasPropertyDirectory:
            .directory
        case .clone, .volumeOrigin, .groupMember, .groupSnapshotMember: .link
        default: .file
        }
    }
}
