public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// What stat(2) says. Times of directories move when something in them is made, renamed or removed, and stay otherwise.
extension VolumeFileSystem {
    public func attributes(_ inode: Inode) throws(PoolError) -> FileAttributes {
        var result = FileAttributes(
            inode: inode.number, kind: inode.kind, mode: inode.kind == .directory ? directoryMode(inode) : 0o444, uid: options.uid,
            gid: options.gid)
        if inode.kind == .link { result.mode = 0o777 }
        if let id = inode.object {
            try describe(inode, try pool.info(id), &result)
        } else {
            result.modified = times[inode]
            switch inode {
            case .poolSize: result.mode = 0o644
            case .unique: result.mode = 0o666
            // Whose volumes may join, and who may make a snapshot of all, is decided by the volumes' owners.
            case .groupMembers(let group), .groupSnapshots(let group):
                try refuseUnlessGroup(group)
                result.mode = group == GroupTable.all ? 0o755 : 0o777
            case .group(let group): try refuseUnlessGroup(group)
            case .job(let kind), .jobState(let kind), .jobProgress(let kind), .jobReport(let kind), .jobReportJSON(let kind):
                result.modified = try jobs.job(kind).started
            default: break
            }
            result.changed = result.modified
        }
        // A clone whose origin has just been deleted is a link no more, but was one when it was made.
        if inode.kind == .link { result.size = UInt64((try? readLink(inode))?.utf8.count ?? 0) }
        return result
    }

    private func directoryMode(_ inode: Inode) -> UInt32 {
        switch inode {
        case .root: options.directoryMode
        case .clones: options.cloneMode
        // For aliases, whose volumes' owners are looked at here.
        case .snapshotDirectories: 0o1777
        default: 0o755
        }
    }

    /// A snapshot belongs to whom its volume belongs to, and may be read by whom that may be: else what was to be private later
    /// would stay open to all in every snapshot.
    func attributes(of info: ObjectInfo) -> Attributes {
        var attributes = info.volumeAttributes
        if info.isSnapshot { attributes.mode &= 0o555 }
        return attributes
    }

    /// Files whose owner and mode follow from those of `inode`.
    public func snapshots(of inode: Inode) -> [Inode] {
        guard case .file(let id) = inode else { return [] }
        return pool.snapshots(of: id).map { .file($0.id) }
    }

    private func describe(_ inode: Inode, _ info: ObjectInfo, _ result: inout FileAttributes) throws(PoolError) {
        let attributes = attributes(of: info)
        result.uid = attributes.uid
        result.gid = attributes.gid
        // Whatever changes of it moves that, for those who look for changes by ctime, as backups do.
        result.modified = info.changed
        result.changed = info.changed
        switch inode {
        case .file:
            result.mode = attributes.mode
            result.size = info.size
            result.allocated = info.referenced
            result.modified = info.isSnapshot ? info.created : info.modified
            result.isImmutable = info.isSnapshot
        case .property(let pair): result.mode = Settable(rawValue: Self.propertyName(pair & 255)) == nil ? 0o444 : 0o644
        case .volumeRollback: result.mode = 0o200
        case .snapshot, .snapshotAlias, .groupSnapshot, .clone:
            // ls --time=ctime shows when it was made.
            result.modified = info.created
            result.changed = info.created
        case .snapshotDirectory(let id):
            // What is stored of the snapshots that are there; of those that are gone, what this mount has seen.
            result.modified = max(info.created, times.change(of: inode) ?? newestSnapshot(id, inode))
            result.changed = result.modified
        default: break
        }
    }

    /// Looked for once: with ten thousand snapshots that takes as long as ten snapshots do.
    private func newestSnapshot(_ volume: UInt64, _ directory: Inode) -> UInt64 {
        let stored = pool.snapshots(of: volume).map { max($0.created, $0.changed) }.max() ?? 0
        times.touch([directory], stored)
        return stored
    }

    /// A volume was made, named otherwise or removed: the directories that list volumes have changed.
    func touchVolumes(_ volume: ObjectInfo) {
        let groups = ((try? limits(of: volume.id).groups) ?? []).map { Inode.groupMembers(groupNumber($0)) }
        let directories: [Inode] = [
            .root, .volumeDirectories, .snapshotDirectories, .clones, .diffs, .groupMembers(GroupTable.all),
        ]
        times.touch(directories + groups, options.now())
    }

    /// A snapshot was: so have the top, which lists them too, its volume's directory and those of its groups. That of its volume
    /// is what is stored with `snapshot`, if one is named that is there now.
    func touchSnapshots(of volume: UInt64, snapshot: UInt64? = nil) {
        // The time that is stored with it, so that another mount finds the same.
        let stored = snapshot.flatMap { try? pool.info($0) }.map { max($0.created, $0.changed) }
        times.touch([.snapshotDirectory(volume)], stored ?? options.now())
        let groups = ((try? limits(of: volume).groups) ?? []).map { Inode.groupSnapshots(groupNumber($0)) }
        times.touch([.root, .groupSnapshots(GroupTable.all)] + groups, options.now())
    }
}
