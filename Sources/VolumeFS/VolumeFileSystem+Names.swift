public import BlockStorage
package import PoolEngine
internal import Synchronization

/// The verbs: mkdir, rmdir, ln -s, rm and mv.
extension VolumeFileSystem {
    /// `mkdir .ctl/snap/VOL/SNAP`: a snapshot. Durable on return.
    public func makeDirectory(_ parent: Inode, _ name: String, by caller: Caller) throws(PoolError) -> Inode {
        try refuseIfReadOnly()
        switch parent {
        case .groups: return try makeGroup(name)
        case .groupSnapshots(let group): return try makeGroupSnapshot(group, name, by: caller)
        case .jobs:
            guard let kind = Jobs.Kind(rawValue: name) else { throw .invalid(.job) }
            try jobs.start(kind)
            times.touch([.jobs], options.now())
            return .job(kind)
        case .snapshotDirectory(let id): return .snapshot(try makeSnapshot(name, of: id))
        case .snapshotDirectories:
            let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, parts[0].contains(",") { return try makeSnapshots(parts[0].split(separator: ","), String(parts[1]), by: caller) }
            let volume = try pool.find(String(parts[0]))
            // `mkdir .ctl/snap/VOL` of a volume that is there: it has that directory already.
            guard parts.count == 2 else { throw .exists }
            // `.ctl/snap` is everybody's, so its alias checks what the volume's own directory would.
            try requireOwner(of: try pool.info(volume), caller)
            return .snapshotAlias(try makeSnapshot(String(parts[1]), of: volume))
        default: throw .notPermitted
        }
    }

    private func makeSnapshot(_ name: String, of volume: UInt64) throws(PoolError) -> UInt64 {
        try refuseSnapshotByLimits(volume)
        let id = try pool.createSnapshot(name, of: volume)
        touchSnapshots(of: volume, snapshot: id)
        noteSnapshot("snapshot-created", id)
        return id
    }

    /// `mkdir .ctl/snap/VOL,VOL@SNAP`: a snapshot of each, at one moment. The directory is that of the first.
    private func makeSnapshots(_ names: [Substring], _ snapshot: String, by caller: Caller) throws(PoolError) -> Inode {
        var volumes: [UInt64] = []
        for name in names {
            let volume = try pool.find(String(name))
            try requireOwner(of: try pool.info(volume), caller)
            try refuseSnapshotByLimits(volume)
            volumes.append(volume)
        }
        try pool.createSnapshots(snapshot, of: volumes)
        for volume in volumes {
            touchSnapshots(of: volume, snapshot: try? pool.find(snapshot: snapshot, of: volume))
            noteSnapshot("snapshot-created", try pool.find(snapshot: snapshot, of: volume))
        }
        guard let first = volumes.first else { throw .notFound }
        return .snapshotAlias(try pool.find(snapshot: snapshot, of: first))
    }

    /// `rmdir .ctl/snap/VOL/SNAP`: the snapshot is gone, durably; its space follows in the background.
    public func removeDirectory(_ parent: Inode, _ name: String, by caller: Caller) throws(PoolError) {
        let inode = try lookup(parent, name)
        switch (parent, inode) {
        case (_, .job(let kind)):
            try jobs.remove(kind)
            times.touch([.jobs], options.now())
        case (.groups, .group(let group)):
            try refuseIfReadOnly()
            try removeGroup(group)
        case (.groupSnapshots(let group), _):
            try refuseIfReadOnly()
            try removeGroupSnapshot(group, name, by: caller)
        case (_, .snapshot(let id)), (_, .snapshotAlias(let id)):
            try refuseIfReadOnly()
            let info = try pool.info(id)
            if parent == .snapshotDirectories { try requireOwner(of: try pool.info(info.volume), caller) }
            try refuse(.destroy, of: id)
            try whileClosed([id]) { () throws(PoolError) in try pool.delete(id) }
            forget(id)
            touchSnapshots(of: info.volume)
            events.publish("snapshot-deleted", info.fullName)
        default: throw .notPermitted
        }
    }

    /// `ln -s VOL[@SNAP] .ctl/clone/NAME`: a volume that begins as the source. In a group's `members` a volume joins it.
    public func makeLink(_ parent: Inode, _ name: String, target: String, by caller: Caller) throws(PoolError) -> Inode {
        if case .groupMembers(let group) = parent {
            try refuseIfReadOnly()
            return try join(group, name, target: target, by: caller)
        }
        guard parent == .clones else { throw .notPermitted }
        try refuseIfReadOnly()
        // `ln -sf` makes a link of a passing name first, and would leave a volume of that name.
        if name.utf8.count == 8 && name.hasPrefix("Cu") && target.isEmpty == false { throw .refused(.replacingLink) }
        let source = try source(of: target)
        let info = try pool.info(source)
        guard mayRead(info, caller) else { throw .refused(.mayNotRead) }
        let mode = attributes(of: info).mode & 0o777 | 0o600
        let id = try pool.createClone(name, of: source, attributes: newAttributes(mode, caller))
        let clone = try pool.info(id)
        touchVolumes(clone)
        events.publish("volume-cloned", name, [("origin", .text(info.fullName)), ("size", .size(clone.size))])
        return .clone(id)
    }

    /// What a new volume of mode `mode` has.
    func newAttributes(_ mode: UInt32, _ caller: Caller) -> Attributes {
        Attributes(
            mode: options.fileMode ?? mode & 0o7777 & ~options.umask, uid: options.newOwner ?? caller.uid,
            gid: options.newGroup ?? caller.gid)
    }

    /// The volume or snapshot that a symlink's target names: as a bare name, relative to where the link is, or below the
    /// mountpoint. Throws `.linkTarget` for any other path.
    func source(of target: String) throws(PoolError) -> UInt64 {
        var path = target[...]
        if path.hasPrefix("/") {
            guard path.hasPrefix(options.mountpoint + "/") else { throw .refused(.linkTarget) }
            path = path.dropFirst(options.mountpoint.count + 1)
        }
        while path.hasPrefix("../") { path = path.dropFirst(3) }
        if path.hasPrefix(".ctl/snap/") {
            path = path.dropFirst(10).split(separator: "/").prefix(2).joined(separator: "@")[...]
        }
        guard !path.contains("/"), !path.isEmpty else { throw .refused(.linkTarget) }
        return try find(String(path))
    }

    /// `rm`: deletes a volume at the top, or moves it to the trash; in the trash deletes it for good; in a group ends its being
    /// a member; in `.ctl/clone` forgets what a volume was cloned from. Nothing below `.ctl` goes because somebody removes all that
    /// is in a directory: throws `.notPermitted` for that.
    public func unlink(_ parent: Inode, _ name: String, by caller: Caller) throws(PoolError) {
        switch (parent, try lookup(parent, name)) {
        case (.root, .file(let id)): try removeVolume(try pool.info(id))
        case (.trash, .file(let id)):
            try refuseIfReadOnly()
            try refuseIfWalking(parent, caller)
            try deleteFromTrash(id)
        case (.groupMembers(let group), _):
            try refuseIfReadOnly()
            try refuseIfWalking(parent, caller)
            try leave(group, name, by: caller)
        case (.clones, .clone(let id)):
            try refuseIfReadOnly()
            try refuseIfWalking(parent, caller)
            try pool.forgetOrigin(of: id)
            times.touch([.clones], options.now())
            events.publish("volume-detached", name)
        default: throw .notPermitted
        }
    }

    /// Who has the directory open reads its names and removes what he finds, as `rm -r` does, and means none of it.
    private func refuseIfWalking(_ directory: Inode, _ caller: Caller) throws(PoolError) {
        if options.hasOpen(caller.process, "/" + path(of: directory)) { throw .notPermitted }
    }

    private func removeVolume(_ info: ObjectInfo) throws(PoolError) {
        // Snapshots survive `rm -rf *`.
        if info.isSnapshot { throw .notPermitted }
        try refuseIfReadOnly()
        if info.snapshotCount > 0 { throw .hasSnapshots(count: info.snapshotCount) }
        try whileClosed([info.id]) { () throws(PoolError) in
            if options.trashSeconds > 0 { try moveToTrash(info) } else { try pool.delete(info.id) }
        }
        touchVolumes(info)
        forget(info.id)
        events.publish(options.trashSeconds == 0 ? "volume-deleted" : "volume-trashed", info.name)
    }

    /// `mv` of a volume at the top, of a snapshot within its directory or under its alias, or of a volume out of the trash. Never
    /// replaces anything.
    public func rename(
        _ parent: Inode, _ name: String, to newParent: Inode, _ newName: String, by caller: Caller
    ) throws(PoolError) {
        let inode = try lookup(parent, name)
        if parent == .trash, newParent == .root {
            try refuseIfReadOnly()
            return try restore(name, as: newName)
        }
        guard parent == newParent else { throw .invalid(.destination) }
        let id: UInt64
        var newName = newName
        switch (parent, inode) {
        case (.root, .file(let found)), (.snapshotDirectory, .snapshot(let found)): id = found
        case (.snapshotDirectories, .snapshotAlias(let found)):
            let info = try pool.info(found)
            try requireOwner(of: try pool.info(info.volume), caller)
            guard newName.hasPrefix(info.volumeName + "@") else { throw .invalid(.destination) }
            (id, newName) = (found, String(newName.dropFirst(info.volumeName.utf8.count + 1)))
        case (.trash, _): throw .invalid(.destination)
        default: throw .notPermitted
        }
        try refuseIfReadOnly()
        let info = try pool.info(id)
        if (info.isSnapshot && parent == .root) || (!info.isSnapshot && newName.contains("@")) { throw .invalid(.destination) }
        if info.name == newName { return }
        try pool.rename(id, to: newName)
        if info.isSnapshot { touchSnapshots(of: info.volume, snapshot: id) } else { touchVolumes(info) }
        events.publish(
            info.isSnapshot ? "snapshot-renamed" : "volume-renamed", (try? pool.info(id))?.fullName ?? newName, [("from", .text(info.fullName))])
    }

    /// `mv --exchange`, renameat2(2) with RENAME_EXCHANGE: two volumes get each other's names.
    public func exchange(_ parent: Inode, _ first: String, _ newParent: Inode, _ second: String) throws(PoolError) {
        guard parent == .root, newParent == .root, case .file(let a) = try lookup(parent, first),
            case .file(let b) = try lookup(parent, second)
        else { throw .invalid(.destination) }
        try refuseIfReadOnly()
        try pool.swap(a, b)
        for id in [a, b] { touchVolumes(try pool.info(id)) }
        events.publish("volumes-swapped", first, [("with", .text(second))])
    }

    /// A word written to `.ctl/vol/VOL/rollback`: the snapshot to go back to, and `discard` behind it if what the volume holds
    /// now is not to be kept.
    func rollback(_ volume: UInt64, _ text: String) throws(PoolError) {
        try refuseIfReadOnly()
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard (1...2).contains(words.count), words.count == 1 || words[1] == "discard" else { throw .invalid(.value) }
        let snapshot = try pool.find(snapshot: words[0], of: volume)
        try refuse(.rollback, of: volume)
        try whileClosed([volume]) { () throws(PoolError) in
            try pool.rollback(volume, to: snapshot, discarding: words.count == 2, now: options.now())
        }
        touchSnapshots(of: volume)
        events.publish("volume-rolled-back", (try? pool.info(volume))?.name ?? "", [("snapshot", .text(words[0]))])
    }

    func noteSnapshot(_ kind: String, _ id: UInt64) { if let info = try? pool.info(id) { events.publish(kind, info.fullName) } }

    private func mayRead(_ info: ObjectInfo, _ caller: Caller) -> Bool {
        if caller.uid == 0 { return true }
        let attributes = attributes(of: info)
        if caller.uid == attributes.uid { return attributes.mode & 0o400 != 0 }
        if caller.gid == attributes.gid { return attributes.mode & 0o040 != 0 }
        return attributes.mode & 0o004 != 0
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
