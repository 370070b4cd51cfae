public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Names, lists and attributes.
extension VolumeFileSystem {
    /// The inode that `name` has in a directory. Throws `.notFound`.
    public func lookup(_ parent: Inode, _ name: String) throws(PoolError) -> Inode {
        switch parent {
        case .root:
            if name == ".ctl" {
                guard options.hasControl else { throw .notFound }
                return .control
            }
            return .file(try find(name))
        case .control:
            // Not listed, so that nothing that reads every file waits for it.
            if name == "events" { return .events }
            // Looking for a trash goes through all volumes.
            let inode = try member(name, of: Self.controlEntries)
            if inode == .trash, !hasTrash { throw .notFound }
            return inode
        case .trash: return .file(try findInTrash(name))
        case .volumeDirectories: return .volumeDirectory(try pool.find(name))
        case .snapshotDirectories:
            // `root@v1` is an alias of `root/v1`, for typing.
            if name.contains("@") { return .snapshotAlias(try find(name)) }
            return .snapshotDirectory(try pool.find(name))
        case .clones:
            let id = try pool.find(name)
            guard try pool.info(id).origin != nil else { throw .notFound }
            return .clone(id)
        case .snapshotDirectory(let id): return .snapshot(try pool.find(snapshot: name, of: id))
        case .diffs: return .diffDirectory(try pool.find(name))
        case .propertyDirectory(let id), .aliasPropertyDirectory(let id):
            guard try propertyNames(id).contains(name), let index = Self.propertyIndex(name) else { throw .notFound }
            return .property(id << 8 | index)
        case .poolPropertyDirectory:
            guard let index = Self.poolProperties.firstIndex(of: name) else { throw .notFound }
            return .poolProperty(UInt64(index))
        case .diffDirectory(let id): return try diff(name, of: id)
        case .groups, .groupMembers, .groupSnapshots: return try lookupInGroup(parent, name)
        default:
            guard parent.kind == .directory else { throw .notFound }
            return try member(name, of: try list(parent))
        }
    }

    /// The id of `VOL` or `VOL@SNAP`.
    package func find(_ name: String) throws(PoolError) -> UInt64 {
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        return try pool.find(String(parts[0]), snapshot: parts.count == 2 ? String(parts[1]) : nil)
    }

    /// Everything a directory lists, without `.` and `..`.
    public func list(_ directory: Inode) throws(PoolError) -> [DirectoryEntry] {
        switch directory {
        case .propertyDirectory(let id), .aliasPropertyDirectory(let id):
            return try propertyNames(id).map { DirectoryEntry(name: $0, inode: .property(id << 8 | (Self.propertyIndex($0) ?? 0))) }
        case .poolPropertyDirectory:
            return Self.poolProperties.enumerated().map { DirectoryEntry(name: $0.element, inode: .poolProperty(UInt64($0.offset))) }
        case .diffs: return pool.volumes().map { DirectoryEntry(name: $0.name, inode: .diffDirectory($0.id)) }
        // Any two can be compared: they are looked up, not listed.
        case .diffDirectory(let id):
            _ = try pool.info(id)
            return []
        case .groups, .group, .groupMembers, .groupSnapshots, .groupSnapshot: return try listOfGroup(directory)
        case .jobs: return jobs.kinds.map { DirectoryEntry(name: $0.rawValue, inode: .job($0)) }
        case .job(let kind):
            _ = try jobs.job(kind)
            return [
                .init(name: "state", inode: .jobState(kind)), .init(name: "progress", inode: .jobProgress(kind)),
                .init(name: "report", inode: .jobReport(kind)), .init(name: "report.json", inode: .jobReportJSON(kind)),
            ]
        case .root: return rootEntries()
        case .control: return hasTrash ? Self.controlEntries : Self.controlEntries.filter { $0.inode != .trash }
        case .trash: return trash.map { DirectoryEntry(name: $0.name, inode: .file($0.info.id)) }
        case .volumeDirectories: return pool.volumes().map { DirectoryEntry(name: $0.name, inode: .volumeDirectory($0.id)) }
        case .snapshotDirectories:
            return pool.volumes().map { DirectoryEntry(name: $0.name, inode: .snapshotDirectory($0.id)) }
        case .clones:
            return pool.volumes().filter { $0.origin != nil }.map { DirectoryEntry(name: $0.name, inode: .clone($0.id)) }
        case .volumeDirectory(let id): return try volumeMembers(id)
        case .snapshotDirectory(let id):
            _ = try pool.info(id)
            return pool.snapshots(of: id).sorted { $0.name < $1.name }.map { DirectoryEntry(name: $0.name, inode: .snapshot($0.id)) }
        case .snapshot(let id):
            _ = try pool.info(id)
            return snapshotMembers(id, properties: .propertyDirectory(id))
        case .snapshotAlias(let id):
            _ = try pool.info(id)
            return snapshotMembers(id, properties: .aliasPropertyDirectory(id))
        default: throw .notFound
        }
    }

    static let controlEntries: [DirectoryEntry] = [
        .init(name: "README", inode: .readme), .init(name: "state", inode: .state),
        .init(name: "stats", inode: .statistics), .init(name: "stats.json", inode: .statisticsJSON),
        .init(name: "errors", inode: .errors), .init(name: "list", inode: .list),
        .init(name: "vol", inode: .volumeDirectories), .init(name: "snap", inode: .snapshotDirectories),
        .init(name: "clone", inode: .clones), .init(name: "diff", inode: .diffs), .init(name: "size", inode: .poolSize),
        .init(name: "prop", inode: .poolPropertyDirectory), .init(name: "unique", inode: .unique), .init(name: "metrics", inode: .metrics),
        .init(name: "group", inode: .groups), .init(name: "job", inode: .jobs), .init(name: "trash", inode: .trash),
    ]

    /// `A..B` or `A..head`, and with `.json` behind it the same as JSON. Names can have two dots in them themselves: the pair counts on
    /// both sides of which there is something, and with two of those it is refused. And a snapshot may be called anything.json: that one
    /// is meant first.
    private func diff(_ name: String, of volume: UInt64) throws(PoolError) -> Inode {
        let dot = UInt8(ascii: "."), bytes = Array(name.utf8)
        for isJSON in name.hasSuffix(".json") ? [false, true] : [false] {
            let text = isJSON ? bytes.dropLast(5) : bytes[...]
            var found: UInt64?
            for at in text.indices.dropLast() where text[at] == dot && text[at + 1] == dot {
                guard let first = try? pool.find(snapshot: String(decoding: text[..<at], as: UTF8.self), of: volume),
                    let second = try second(String(decoding: text[(at + 2)...], as: UTF8.self), of: volume)
                else { continue }
                // An inode's number has room for two ids of 28 bits.
                guard first < 1 << 28, second < 1 << 28 else { throw .notSupported }
                if found != nil { throw .refused(.differenceIsTwo(volume: volume)) }
                found = first << 28 | second
            }
            if let found { return isJSON ? .diffJSON(found) : .diff(found) }
        }
        throw isPair(name, of: volume) ? .refused(.differenceOfOthers(volume: volume)) : .notFound
    }

    /// Whether both sides of two dots are something: a snapshot of the volume, `head`, or any volume or snapshot by its whole name.
    private func isPair(_ name: String, of volume: UInt64) -> Bool {
        func isThere(_ side: ArraySlice<UInt8>) -> Bool {
            let name = String(decoding: side, as: UTF8.self)
            return name == "head" || (try? pool.find(snapshot: name, of: volume)) != nil || (try? find(name)) != nil
        }
        let dot = UInt8(ascii: "."), bytes = Array(name.utf8)
        return (name.hasSuffix(".json") ? [bytes[...], bytes.dropLast(5)] : [bytes[...]]).contains { text in
            text.indices.dropLast().contains { at in text[at] == dot && text[at + 1] == dot && isThere(text[..<at]) && isThere(text[(at + 2)...]) }
        }
    }

    /// What `head` is where a snapshot is called that too nobody can know, so it is refused until that has another name.
    private func second(_ name: String, of volume: UInt64) throws(PoolError) -> UInt64? {
        let snapshot = try? pool.find(snapshot: name, of: volume)
        guard name == "head" else { return snapshot }
        if snapshot != nil { throw .refused(.headIsTwo(volume: volume)) }
        return volume
    }

    private func rootEntries() -> [DirectoryEntry] {
        var entries: [DirectoryEntry] = []
        if options.showsControl && options.hasControl { entries.append(.init(name: ".ctl", inode: .control)) }
        for volume in pool.volumes() {
            entries.append(.init(name: volume.name, inode: .file(volume.id)))
            guard options.showsSnapshots, volume.snapshotCount > 0 else { continue }
            for snapshot in pool.snapshots(of: volume.id) {
                entries.append(.init(name: snapshot.fullName, inode: .file(snapshot.id)))
            }
        }
        return entries
    }

    private func volumeMembers(_ id: UInt64) throws(PoolError) -> [DirectoryEntry] {
        var entries: [DirectoryEntry] = [
            .init(name: "info", inode: .volumeInfo(id)), .init(name: "info.json", inode: .volumeInfoJSON(id)),
            .init(name: "users", inode: .volumeUsers(id)), .init(name: "prop", inode: .propertyDirectory(id)), .init(name: "rollback", inode: .volumeRollback(id)),
        ]
        if try pool.info(id).origin != nil { entries.append(.init(name: "origin", inode: .volumeOrigin(id))) }
        return entries
    }

    private func snapshotMembers(_ id: UInt64, properties: Inode) -> [DirectoryEntry] {
        [
            .init(name: "info", inode: .snapshotInfo(id)), .init(name: "info.json", inode: .snapshotInfoJSON(id)),
            .init(name: "data", inode: .file(id)), .init(name: "prop", inode: properties),
        ]
    }

    func member(_ name: String, of entries: [DirectoryEntry]) throws(PoolError) -> Inode {
        guard let entry = entries.first(where: { $0.name == name }) else { throw .notFound }
        return entry.inode
    }

    /// The directory that a directory is in; the top is in itself. Throws `.notFound` for anything else.
    public func parent(of directory: Inode) throws(PoolError) -> Inode {
        switch directory {
        case .root, .control: return .root
        case .volumeDirectory: return .volumeDirectories
        case .snapshotDirectory, .snapshotAlias: return .snapshotDirectories
        case .snapshot(let id): return .snapshotDirectory(try pool.info(id).volume)
        case .propertyDirectory(let id): return try pool.info(id).isSnapshot ? .snapshot(id) : .volumeDirectory(id)
        case .aliasPropertyDirectory(let id): return .snapshotAlias(id)
        case .diffDirectory: return .diffs
        case .job: return .jobs
        case .group: return .groups
        case .groupMembers(let group), .groupSnapshots(let group): return .group(group)
        case .groupSnapshot(let pair): return .groupSnapshots(pair >> 28)
        default:
            guard directory.kind == .directory else { throw .notFound }
            return .control
        }
    }

    /// Where a link points.
    public func readLink(_ inode: Inode) throws(PoolError) -> String {
        switch inode {
        case .clone(let id):
            guard let origin = try pool.info(id).origin else { throw .notFound }
            return "../../\(origin)"
        case .volumeOrigin(let id):
            guard let origin = try pool.info(id).origin else { throw .notFound }
            return "../../../\(origin)"
        case .groupMember(let id): return "../../../../\(try pool.info(id).name)"
        case .groupSnapshotMember(let id): return "../../../../../\(try pool.info(id).fullName)"
        default: throw .invalid(.value)
        }
    }

    /// What an inode is called, as a path below the mountpoint; "" is the top.
    func path(of inode: Inode) -> String {
        func name(_ id: UInt64) -> String { (try? pool.info(id))?.fullName ?? "#\(id)" }
        switch inode {
        case .root: return ""
        case .control: return ".ctl"
        case .events: return ".ctl/events"
        case .file(let id):
            let entry = trash.first { $0.info.id == id }
            return entry.map { ".ctl/trash/\($0.name)" } ?? name(id)
        case .volumeDirectory(let id): return ".ctl/vol/\(name(id))"
        case .volumeInfo(let id): return ".ctl/vol/\(name(id))/info"
        case .volumeInfoJSON(let id): return ".ctl/vol/\(name(id))/info.json"
        case .volumeOrigin(let id): return ".ctl/vol/\(name(id))/origin"
        case .volumeUsers(let id): return ".ctl/vol/\(name(id))/users"
        case .volumeRollback(let id): return ".ctl/vol/\(name(id))/rollback"
        case .snapshotDirectory(let id): return ".ctl/snap/\(name(id))"
        case .snapshot(let id): return ".ctl/snap/\(name(id).replacing("@", with: "/"))"
        case .snapshotAlias(let id): return ".ctl/snap/\(name(id))"
        case .aliasPropertyDirectory(let id): return ".ctl/snap/\(name(id))/prop"
        case .snapshotInfo(let id): return path(of: .snapshot(id)) + "/info"
        case .snapshotInfoJSON(let id): return path(of: .snapshot(id)) + "/info.json"
        case .clone(let id): return ".ctl/clone/\(name(id))"
        case .propertyDirectory(let id):
            let isSnapshot = (try? pool.info(id))?.isSnapshot == true
            return path(of: isSnapshot ? .snapshot(id) : .volumeDirectory(id)) + "/prop"
        case .property(let pair): return "\(path(of: .propertyDirectory(pair >> 8)))/\(Self.propertyName(pair & 255))"
        case .poolProperty(let index): return ".ctl/prop/" + (index < UInt64(Self.poolProperties.count) ? Self.poolProperties[Int(index)] : "?")
        case .diffDirectory(let id): return ".ctl/diff/\(name(id))"
        case .diff(let pair), .diffJSON(let pair): return ".ctl/diff/#\(pair >> 28)..#\(pair & (1 << 28 - 1))"
        case .group(let group): return ".ctl/group/\(groupName(group))"
        case .groupMembers(let group): return ".ctl/group/\(groupName(group))/members"
        case .groupSnapshots(let group): return ".ctl/group/\(groupName(group))/snap"
        case .groupMember(let id): return ".ctl/group/GROUP/members/\(name(id))"
        case .groupSnapshotMember(let id): return ".ctl/group/GROUP/snap/\((try? pool.info(id))?.name ?? "?")/\((try? pool.info(id))?.volumeName ?? "?")"
        case .groupSnapshot(let pair): return ".ctl/group/\(groupName(pair >> 28))/snap/\((try? pool.info(pair & (1 << 28 - 1)))?.name ?? "?")"
        case .job(let kind): return ".ctl/job/\(kind.rawValue)"
        case .jobState(let kind): return ".ctl/job/\(kind.rawValue)/state"
        case .jobProgress(let kind): return ".ctl/job/\(kind.rawValue)/progress"
        case .jobReport(let kind): return ".ctl/job/\(kind.rawValue)/report"
        case .jobReportJSON(let kind): return ".ctl/job/\(kind.rawValue)/report.json"
        default: return ".ctl/" + (Self.controlEntries.first { $0.inode == inode }?.name ?? "#\(inode.number)")
        }
    }
}
