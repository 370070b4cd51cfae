internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Groups of volumes, of which snapshots are made at one moment. Which groups a volume is in is its property `group`, names
/// with commas between, so that it follows the volume through renames, remounts and copies of the pool.
extension VolumeFileSystem {
    static let groupProperty = "user.volfs.group"

    /// `all` first, then by name.
    var groupNames: [String] {
        var names = groups.withLock { $0.kept }
        for volume in pool.volumes() { names.formUnion((try? limits(of: volume.id).groups) ?? []) }
        return ["all"] + names.sorted()
    }

    func groupNumber(_ name: String) -> UInt64 { groups.withLock { $0.number(of: name) } }

    func groupName(_ number: UInt64) -> String { groups.withLock { $0.name(number) } ?? "?" }

    /// By name.
    func members(_ group: UInt64) -> [ObjectInfo] {
        let volumes = pool.volumes()
        if group == GroupTable.all { return volumes }
        let name = groupName(group)
        return volumes.filter { (try? limits(of: $0.id).groups.contains(name)) == true }
    }

    func refuseUnlessGroup(_ group: UInt64) throws(PoolError) {
        guard group != GroupTable.all else { return }
        let name = groupName(group)
        guard groups.withLock({ $0.kept.contains(name) }) || !members(group).isEmpty else { throw .notFound }
    }

    func lookupInGroup(_ parent: Inode, _ name: String) throws(PoolError) -> Inode {
        switch parent {
        case .groups:
            guard groupNames.contains(name) else { throw .notFound }
            return .group(groupNumber(name))
        case .groupMembers(let group):
            let id = try pool.find(name)
            let isMember = try limits(of: id).groups.contains(groupName(group))
            guard group == GroupTable.all || isMember else { throw .notFound }
            return .groupMember(id)
        case .groupSnapshots(let group):
            let volumes = members(group).sorted { $0.id < $1.id }
            guard let id = common(name, of: volumes) else { throw .notFound }
            return .groupSnapshot(group << 28 | id)
        default: return try member(name, of: try listOfGroup(parent))
        }
    }

    func listOfGroup(_ directory: Inode) throws(PoolError) -> [DirectoryEntry] {
        switch directory {
        case .groups: return groupNames.map { DirectoryEntry(name: $0, inode: .group(groupNumber($0))) }
        case .group(let group):
            try refuseUnlessGroup(group)
            return [.init(name: "members", inode: .groupMembers(group)), .init(name: "snap", inode: .groupSnapshots(group))]
        case .groupMembers(let group): return members(group).map { DirectoryEntry(name: $0.name, inode: .groupMember($0.id)) }
        case .groupSnapshots(let group): return commonSnapshots(group)
        case .groupSnapshot(let pair):
            let name = try pool.info(pair & (1 << 28 - 1)).name
            return members(pair >> 28).compactMap { volume in
                (try? pool.find(snapshot: name, of: volume.id)).map { DirectoryEntry(name: volume.name, inode: .groupSnapshotMember($0)) }
            }
        default: return []
        }
    }

    /// Names of snapshots that every member has, in their order.
    private func commonSnapshots(_ group: UInt64) -> [DirectoryEntry] {
        let volumes = members(group).sorted { $0.id < $1.id }
        guard let first = volumes.first else { return [] }
        return pool.snapshots(of: first.id).sorted { $0.name < $1.name }.compactMap { snapshot in
            common(snapshot.name, of: volumes).map { DirectoryEntry(name: snapshot.name, inode: .groupSnapshot(group << 28 | $0)) }
        }
    }

    /// The first volume's snapshot of a name that all volumes have one of; nil if there is none.
    private func common(_ name: String, of volumes: [ObjectInfo]) -> UInt64? {
        guard let first = volumes.first, let id = try? pool.find(snapshot: name, of: first.id), id < 1 << 28 else { return nil }
        return volumes.dropFirst().allSatisfy { (try? pool.find(snapshot: name, of: $0.id)) != nil } ? id : nil
    }

    // MARK: Groups and members

    /// `mkdir .ctl/group/NAME`.
    func makeGroup(_ name: String) throws(PoolError) -> Inode {
        try ObjectName.checkVolume(name)
        guard !groupNames.contains(name) else { throw .exists }
        try groups.withLock { groups throws(PoolError) in
            guard groups.kept.count < GroupTable.limit else { throw .tooMany(limit: UInt64(GroupTable.limit)) }
            groups.kept.insert(name)
        }
        let number = groupNumber(name), now = options.now()
        times.touch([.groups, .group(number), .groupMembers(number), .groupSnapshots(number)], now)
        return .group(number)
    }

    /// `rmdir .ctl/group/NAME`.
    func removeGroup(_ group: UInt64) throws(PoolError) {
        if group == GroupTable.all { throw .refused(.groupOfAll) }
        let count = members(group).count
        if count > 0 { throw .refused(.groupHasMembers(count: count)) }
        groups.withLock { groups in if let name = groups.name(group) { groups.kept.remove(name) } }
        times.touch([.groups], options.now())
    }

    /// `ln -s ../../../../VOL .ctl/group/GROUP/members/VOL`.
    func join(_ group: UInt64, _ name: String, target: String, by caller: Caller) throws(PoolError) -> Inode {
        if group == GroupTable.all { throw .refused(.groupOfAll) }
        let id = try source(of: target), info = try pool.info(id)
        guard !info.isSnapshot, info.name == name else { throw .refused(.linkTarget) }
        try requireOwner(of: info, caller)
        try changeGroups(of: id) { $0.contains(groupName(group)) ? $0 : $0 + [groupName(group)] }
        times.touch([.groupMembers(group)], options.now())
        return .groupMember(id)
    }

    /// `rm .ctl/group/GROUP/members/VOL`. The group stays, without members too.
    func leave(_ group: UInt64, _ name: String, by caller: Caller) throws(PoolError) {
        if group == GroupTable.all { throw .refused(.groupOfAll) }
        let id = try pool.find(name)
        try requireOwner(of: try pool.info(id), caller)
        let groupName = groupName(group)
        groups.withLock { _ = $0.kept.insert(groupName) }
        try changeGroups(of: id) { $0.filter { $0 != groupName } }
        times.touch([.groupMembers(group)], options.now())
    }

    private func changeGroups(of volume: UInt64, _ change: ([String]) -> [String]) throws(PoolError) {
        try membershipLock.withLock { _ throws(PoolError) in
            let old = try limits(of: volume).groups, new = change(old)
            if old == new { return }
            let value = new.isEmpty ? nil : Array(new.joined(separator: ",").utf8)
            try setAttribute(.file(volume), Self.groupProperty, value)
        }
    }

    /// Names with commas between, each that of a group that can be made, and each once.
    static func parseGroups(_ text: String) -> [String]? {
        let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard Set(names).count == names.count, names.allSatisfy({ $0 != "all" && (try? ObjectName.checkVolume($0)) != nil }) else { return nil }
        return names
    }

    // MARK: Snapshots

    /// `mkdir .ctl/group/GROUP/snap/SNAP`: one of each member, at one moment, all or none. Durable on return.
    func makeGroupSnapshot(_ group: UInt64, _ name: String, by caller: Caller) throws(PoolError) -> Inode {
        try requireOwner(of: group, caller)
        let members = members(group)
        if members.isEmpty { throw .refused(.groupIsEmpty) }
        for member in members {
            let limit = try limits(of: member.id).snapshots
            if UInt64(member.snapshotCount) >= limit { throw .refused(.memberIsFull(volume: member.id, limit: limit)) }
        }
        do throws(PoolError) {
            try pool.createSnapshots(name, of: members.map(\.id))
        } catch .exists {
            guard let first = members.first(where: { (try? pool.find(snapshot: name, of: $0.id)) != nil }) else { throw .exists }
            throw .refused(.memberHasName(volume: first.id))
        }
        for member in members {
            touchSnapshots(of: member.id, snapshot: try? pool.find(snapshot: name, of: member.id))
            events.publish("snapshot-created", "\(member.name)@\(name)", [("group", .text(groupName(group)))])
        }
        return try lookup(.groupSnapshots(group), name)
    }

    /// `rmdir .ctl/group/GROUP/snap/SNAP`: that snapshot of each member, at one moment. None, if one is held or open. Durable on
    /// return.
    func removeGroupSnapshot(_ group: UInt64, _ name: String, by caller: Caller) throws(PoolError) {
        try requireOwner(of: group, caller)
        let found = members(group).compactMap { try? pool.find(snapshot: name, of: $0.id) }
        for id in found where try limits(of: id).isHeld { throw .refused(.memberIsHeld(volume: id)) }
        try whileClosed(found) { () throws(PoolError) in
            var infos: [ObjectInfo] = []
            for id in found { infos.append(try pool.info(id)) }
            try pool.delete(found)
            for info in infos {
                forget(info.id)
                touchSnapshots(of: info.volume)
                events.publish("snapshot-deleted", info.fullName, [("group", .text(groupName(group)))])
            }
        }
    }

    /// A snapshot of all volumes is root's, or of whoever mounted the pool; that of a group the owner's of all members.
    private func requireOwner(of group: UInt64, _ caller: Caller) throws(PoolError) {
        if caller.uid == 0 { return }
        if group == GroupTable.all {
            guard caller.uid == options.uid else { throw .refused(.needsRoot) }
            return
        }
        for member in members(group) { try requireOwner(of: member, caller) }
    }

    func requireOwner(of info: ObjectInfo, _ caller: Caller) throws(PoolError) {
        if caller.uid != 0 && caller.uid != info.attributes.uid { throw .refused(.notOwner(volume: info.volume)) }
    }

    /// Nothing is remembered of what is gone.
    func forget(_ id: UInt64) {
        limits.withLock { $0.forget(id) }
        times.forget([.snapshotDirectory(id)])
    }
}
