public import BlockStorage
package import PoolEngine
internal import Synchronization

/// The verbs: mkdir, rmdir, ln -s, rm and mv.
extension VolumeFileSystem {
    /// `mkdir .ctl/snap/VOL/SNAP`: a snapshot. Durable on return.
    public func makeDirectory(_ parent: Inode, _ name: String, by caller: Caller) throws(PoolError) -> Inode {
        try refuseIfReadOnly()
        let volume: UInt64
        var snapshot = name
        switch parent {
        case .groupSnapshots:
            // Every volume, at one moment: root's to make.
            guard caller.uid == 0 else { throw .notPermitted }
            let volumes = pool.volumes().map(\.id)
            for volume in volumes { try refuseSnapshotByLimits(volume) }
            try pool.createSnapshots(name, of: volumes)
            for volume in volumes { touchSnapshots(of: volume) }
            return try lookup(parent, name)
        case .jobs:
            guard let kind = Jobs.Kind(rawValue: name) else { throw .invalid(.job) }
            try jobs.start(kind)
            return .job(kind)
        case .snapshotDirectory(let id): volume = id
        case .snapshotDirectories:
            let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            volume = try pool.find(String(parts[0]))
            // `mkdir .ctl/snap/VOL` of a volume that is there: it has that directory already.
            guard parts.count == 2 else { throw .exists }
            snapshot = String(parts[1])
            try requireOwner(of: volume, caller)
        default: throw .notPermitted
        }
        try refuseSnapshotByLimits(volume)
        let id = try pool.createSnapshot(snapshot, of: volume)
        touchSnapshots(of: volume)
        return .snapshot(id)
    }

    /// `rmdir .ctl/snap/VOL/SNAP`: the snapshot is gone, durably; its space follows in the background.
    public func removeDirectory(_ parent: Inode, _ name: String, by caller: Caller) throws(PoolError) {
        let inode = try lookup(parent, name)
        if case .job(let kind) = inode { return try jobs.remove(kind) }
        if case .groupSnapshot = inode { return try removeGroupSnapshot(name, by: caller) }
        guard case .snapshot(let id) = inode else { throw .notPermitted }
        try refuseIfReadOnly()
        try refuseDeletionByLimits(id)
        let info = try pool.info(id)
        if parent == .snapshotDirectories { try requireOwner(of: info.volume, caller) }
        try whileClosed(id) { () throws(PoolError) in try pool.delete(id) }
        touchSnapshots(of: info.volume)
    }

    private func removeGroupSnapshot(_ name: String, by caller: Caller) throws(PoolError) {
        try refuseIfReadOnly()
        guard caller.uid == 0 else { throw .notPermitted }
        for volume in pool.volumes() {
            guard let id = try? pool.find(snapshot: name, of: volume.id) else { continue }
            try refuseDeletionByLimits(id)
            try whileClosed(id) { () throws(PoolError) in try pool.delete(id) }
            touchSnapshots(of: volume.id)
        }
    }

    /// `ln -s VOL[@SNAP] .ctl/clone/NAME`: a volume that begins as the source.
    public func makeLink(_ parent: Inode, _ name: String, target: String, by caller: Caller) throws(PoolError) -> Inode {
        guard parent == .clones else { throw .notPermitted }
        try refuseIfReadOnly()
        // `ln -sf` makes a link of a passing name first, and would leave a volume of that name.
        if name.utf8.count == 8 && name.hasPrefix("Cu") && target.isEmpty == false { throw .invalid(.name) }
        let source = try source(of: target)
        let info = try pool.info(source)
        guard mayRead(info, caller) else { throw .system(.open, errno: 13) }
        let mode = info.attributes.mode & 0o777 | 0o600
        let id = try pool.createClone(name, of: source, attributes: newAttributes(mode, caller))
        return .clone(id)
    }

    /// What a new volume of mode `mode` has.
    func newAttributes(_ mode: UInt32, _ caller: Caller) -> Attributes {
        Attributes(
            mode: options.fileMode ?? mode & 0o7777 & ~options.umask, uid: options.newOwner ?? caller.uid,
            gid: options.newGroup ?? caller.gid)
    }

    /// The volume or snapshot that a symlink's target names: as a bare name, relative to `.ctl/clone`, or below the
    /// mountpoint.
    private func source(of target: String) throws(PoolError) -> UInt64 {
        var path = target
        if path.hasPrefix("/") {
            guard path.hasPrefix(options.mountpoint + "/") else { throw .invalid(.value) }
            path = String(path.utf8.dropFirst(options.mountpoint.utf8.count + 1)) ?? ""
        } else if path.hasPrefix("../../") {
            path.removeFirst(6)
        }
        if path.hasPrefix(".ctl/snap/") {
            path = path.dropFirst(10).split(separator: "/").prefix(2).joined(separator: "@")
        }
        guard !path.contains("/"), !path.isEmpty else { throw .invalid(.value) }
        return try find(path)
    }

    /// `rm`: deletes a volume at the top; in `.ctl/clone` the record of where one came from, and nothing else.
    public func unlink(_ parent: Inode, _ name: String) throws(PoolError) {
        if parent == .clones, case .clone(let id) = try lookup(parent, name) {
            try refuseIfReadOnly()
            return try pool.forgetOrigin(of: id)
        }
        guard parent == .root, case .file(let id) = try lookup(parent, name) else { throw .notPermitted }
        let info = try pool.info(id)
        // Snapshots survive `rm -rf *`.
        if info.isSnapshot { throw .notPermitted }
        try refuseIfReadOnly()
        if info.snapshotCount > 0 { throw .hasSnapshots(count: info.snapshotCount) }
        try whileClosed(id) { () throws(PoolError) in try pool.delete(id) }
    }

    /// `mv` of a volume at the top or of a snapshot within its directory. Never replaces anything.
    public func rename(
        _ parent: Inode, _ name: String, to newParent: Inode, _ newName: String, replaces: Bool
    ) throws(PoolError) {
        guard parent == newParent else { throw .invalid(.destination) }
        let id: UInt64
        switch try lookup(parent, name) {
        case .file(let found) where parent == .root: id = found
        case .snapshot(let found):
            guard case .snapshotDirectory = parent else { throw .invalid(.destination) }
            id = found
        default: throw .notPermitted
        }
        try refuseIfReadOnly()
        let info = try pool.info(id)
        if info.isSnapshot && parent == .root { throw .notPermitted }
        if !info.isSnapshot && newName.contains("@") { throw .invalid(.destination) }
        if name == newName { return }
        try pool.rename(id, to: newName)
        if info.isSnapshot { touchSnapshots(of: info.volume) }
    }

    /// `mv --exchange`, renameat2(2) with RENAME_EXCHANGE: two volumes get each other's names.
    public func exchange(_ parent: Inode, _ first: String, _ newParent: Inode, _ second: String) throws(PoolError) {
        guard parent == .root, newParent == .root, case .file(let a) = try lookup(parent, first),
            case .file(let b) = try lookup(parent, second)
        else { throw .invalid(.destination) }
        try refuseIfReadOnly()
        try pool.swap(a, b)
    }

    /// A word written to `.ctl/vol/VOL/rollback`: the snapshot to go back to, and `discard` behind it if what the volume holds
    /// now is not to be kept.
    func rollback(_ volume: UInt64, _ text: String) throws(PoolError) {
        try refuseIfReadOnly()
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard (1...2).contains(words.count), words.count == 1 || words[1] == "discard" else { throw .invalid(.value) }
        let snapshot = try pool.find(snapshot: words[0], of: volume)
        try whileClosed(volume) { () throws(PoolError) in
            try pool.rollback(volume, to: snapshot, discarding: words.count == 2, now: options.now())
        }
        touchSnapshots(of: volume)
    }

    func touchSnapshots(of volume: UInt64) {
        let now = options.now()
        snapshotTimes.withLock { $0[volume] = now }
    }

    /// `.ctl/snap` is nobody's, so its alias checks what the volume's own directory would.
    private func requireOwner(of volume: UInt64, _ caller: Caller) throws(PoolError) {
        let owner = try pool.info(volume).attributes.uid
        if caller.uid != 0 && caller.uid != owner { throw .system(.open, errno: 13) }
    }

    private func mayRead(_ info: ObjectInfo, _ caller: Caller) -> Bool {
        if caller.uid == 0 { return true }
        let mode = info.attributes.mode
        if caller.uid == info.attributes.uid { return mode & 0o400 != 0 }
        if caller.gid == info.attributes.gid { return mode & 0o040 != 0 }
        return mode & 0o004 != 0
    }
}

extension Pool {
    /// As `rollback`; what the volume holds is kept as a snapshot named for the moment, unless `discarding`.
    package func rollback(_ volume: UInt64, to snapshot: UInt64, discarding: Bool, now: UInt64) throws(PoolError) {
        if discarding { return try rollback(volume, to: snapshot) }
        let stamp = Wording.time(now).filter { $0 != "-" && $0 != ":" }
        // Several may fall into one second.
        for number in 1... {
            do throws(PoolError) {
                return try rollback(volume, to: snapshot, keptAs: "pre-rollback-\(stamp)" + (number == 1 ? "" : "-\(number)"))
            } catch .exists {}
        }
    }
}
