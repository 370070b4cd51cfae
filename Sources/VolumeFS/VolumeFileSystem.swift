public import BlockStorage
public import PoolEngine
internal import Synchronization

/// What a mount shows of a pool: volumes and snapshots as files, and the control directory `.ctl`.
///
/// Each verb is one call of the engine. Any thread may call; nothing is kept between calls but open files. Errors are
/// `PoolError`s, whose errno is the errno table of volfs-ctl(7).
public final class VolumeFileSystem: Sendable {
    public let pool: Pool
    let options: Options
    let refusals = RefusalLog()
    let open = Mutex(OpenTable())
    let jobs: Jobs
    let limits = Mutex<[UInt64: Limits]>([:])
    /// When a volume's snapshots last changed, for its directory's time.
    let snapshotTimes = Mutex<[UInt64: UInt64]>([:])

    /// What a mount chooses.
    public struct Options: Sendable {
        /// Where it is mounted, as an absolute path, for symlinks with absolute targets.
        public var mountpoint = ""
        public var isReadOnly = false
        /// Every write is durable when it returns.
        public var isSynchronous = false
        public var showsSnapshots = true
        public var showsControl = false
        public var hasControl = true
        /// Owner of the directories.
        public var uid: UInt32 = 0
        public var gid: UInt32 = 0
        public var process: Int32 = 0
        public var source = ""
        /// Owner of new volumes, if not who makes them.
        public var newOwner: UInt32?
        public var newGroup: UInt32?
        /// Taken from the modes of new volumes.
        public var umask: UInt32 = 0
        /// Mode of new volumes, whatever their maker asks for.
        public var fileMode: UInt32?
        /// Mode of the mount's root and of volumes' directories; of `.ctl/clone`.
        public var directoryMode: UInt32 = 0o755
        public var cloneMode: UInt32 = 0o755
        /// New volumes have the property fixed=on.
        public var makesFixed = false
        /// fallocate(2) without flags reserves; else it is accepted and does nothing.
        public var reservesOnAllocate = true
        /// Seconds for which removed volumes are kept; 0 for not at all.
        public var trashSeconds: UInt64 = 0
        /// The most threads that call, and the bytes of the largest request: for the bound on memory.
        public var threads = 1
        public var transfer = 1 << 20
        /// Nanoseconds since 1970.
        public var now: @Sendable () -> UInt64
        /// Waits about that many milliseconds.
        public var pause: @Sendable (Int) -> Void
        /// Makes what the pool is on so many bytes large, if it can.
        public var enlarge: @Sendable (UInt64) throws(PoolError) -> Void = { _ throws(PoolError) in throw .notSupported }
        /// Runs something on a thread of its own; false if it cannot.
        public var spawn: @Sendable (@escaping @Sendable () -> Void) -> Bool = { _ in false }

        public init(now: @escaping @Sendable () -> UInt64, pause: @escaping @Sendable (Int) -> Void) {
            self.now = now
            self.pause = pause
        }
    }

    struct OpenTable {
        var next: UInt64 = 1
        /// Open handles of each volume or snapshot: which process opened it, and whether to write.
        var files: [UInt64: [UInt64: (process: Int32, writes: Bool)]] = [:]
        /// Contents of open control files, as of the moment they were opened.
        var texts: [UInt64: [UInt8]] = [:]
        /// Objects being deleted: nobody may open them any more.
        var ending: Set<UInt64> = []
        var isStopping = false
    }

    public init(pool: Pool, options: Options) {
        self.pool = pool
        self.options = options
        jobs = Jobs(pool: pool, options: options)
    }

    /// From now on nothing new can be opened; what is open goes on.
    public func stop() { open.withLock { $0.isStopping = true } }

    /// Cancels all jobs and waits for their end. To be called before the pool is closed.
    public func stopJobs() { jobs.stop() }

    /// Names of open volumes and snapshots with the processes that opened them.
    public var users: [(name: String, process: Int32)] {
        let files = open.withLock { $0.files }
        return files.flatMap { id, handles -> [(name: String, process: Int32)] in
            let name = (try? pool.info(id))?.fullName ?? "?"
            return handles.values.map { (name: name, process: $0.process) }
        }
    }

    /// Notes a refused operation for `.ctl/errors`.
    /// Returns the reason.
    @discardableResult
    public func refused(_ operation: StaticString, _ name: String, by caller: Caller, _ error: PoolError) -> String {
        let time = Wording.time(options.now()), reason = reason(for: error)
        refusals.add(
            "\(time) pid=\(caller.process) uid=\(caller.uid) \(operation) \(Self.printable(name)) errno=\(error.errno): \(reason)")
        return reason
    }

    /// Why something failed, for the log.
    public func sentence(for error: PoolError) -> String { reason(for: error) }

    /// Refused names can have any bytes; a line of the log has none that would end or forge it.
    private static func printable(_ name: String) -> String {
        String(name.map { $0.isASCII && ($0.asciiValue ?? 0) < 32 || $0 == "\u{7f}" ? "?" : $0 })
    }

    // MARK: Looking

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
            guard let inode = Self.controlEntries.first(where: { $0.name == name })?.inode else { throw .notFound }
            return inode
        case .volumeDirectories: return .volumeDirectory(try pool.find(name))
        case .snapshotDirectories:
            // `root@v1` is an alias of `root/v1`, for typing.
            if name.contains("@") { return .snapshot(try find(name)) }
            return .snapshotDirectory(try pool.find(name))
        case .clones:
            let id = try pool.find(name)
            guard try pool.info(id).origin != nil else { throw .notFound }
            return .clone(id)
        case .volumeDirectory(let id): return try member(name, of: try volumeMembers(id))
        case .snapshotDirectory(let id):
            return .snapshot(try pool.find(snapshot: name, of: id))
        case .snapshot(let id): return try member(name, of: snapshotMembers(id))
        case .diffs: return .diffDirectory(try pool.find(name))
        case .propertyDirectory(let id):
            guard try propertyNames(id).contains(name), let index = Self.propertyIndex(name) else { throw .notFound }
            return .property(id << 8 | index)
        case .diffDirectory(let id): return try diff(name, of: id)
        case .jobs, .job, .groups, .groupAll, .groupSnapshots: return try member(name, of: try list(parent))
        default: throw .notFound
        }
    }

    /// The id of `VOL` or `VOL@SNAP`.
    func find(_ name: String) throws(PoolError) -> UInt64 {
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        return try pool.find(String(parts[0]), snapshot: parts.count == 2 ? String(parts[1]) : nil)
    }

    /// Everything a directory lists, without `.` and `..`.
    public func list(_ directory: Inode) throws(PoolError) -> [DirectoryEntry] {
        switch directory {
        case .propertyDirectory(let id):
            return try propertyNames(id).map { DirectoryEntry(name: $0, inode: .property(id << 8 | (Self.propertyIndex($0) ?? 0))) }
        case .diffs: return pool.volumes().map { DirectoryEntry(name: $0.name, inode: .diffDirectory($0.id)) }
        // Any two can be compared: they are looked up, not listed.
        case .diffDirectory(let id):
            _ = try pool.info(id)
            return []
        case .groups: return [.init(name: "all", inode: .groupAll)]
        case .groupAll: return [.init(name: "snap", inode: .groupSnapshots)]
        case .groupSnapshots: return groupSnapshots()
        case .groupSnapshot: return []
        case .jobs: return jobs.kinds.map { DirectoryEntry(name: $0.rawValue, inode: .job($0)) }
        case .job(let kind):
            _ = try jobs.job(kind)
            return [
                .init(name: "state", inode: .jobState(kind)), .init(name: "progress", inode: .jobProgress(kind)),
                .init(name: "report", inode: .jobReport(kind)), .init(name: "report.json", inode: .jobReportJSON(kind)),
            ]
        case .root: return rootEntries()
        case .control: return Self.controlEntries
        case .volumeDirectories: return pool.volumes().map { DirectoryEntry(name: $0.name, inode: .volumeDirectory($0.id)) }
        case .snapshotDirectories:
            return pool.volumes().map { DirectoryEntry(name: $0.name, inode: .snapshotDirectory($0.id)) }
        case .clones:
            return pool.volumes().filter { $0.origin != nil }.map { DirectoryEntry(name: $0.name, inode: .clone($0.id)) }
        case .volumeDirectory(let id): return try volumeMembers(id)
        case .snapshotDirectory(let id):
            _ = try pool.info(id)
            return pool.snapshots(of: id).map { DirectoryEntry(name: $0.name, inode: .snapshot($0.id)) }
        case .snapshot(let id):
            _ = try pool.info(id)
            return snapshotMembers(id)
        default: throw .notFound
        }
    }

    private static let controlEntries: [DirectoryEntry] = [
        .init(name: "README", inode: .readme), .init(name: "state", inode: .state),
        .init(name: "stats", inode: .statistics), .init(name: "stats.json", inode: .statisticsJSON),
        .init(name: "errors", inode: .errors), .init(name: "list", inode: .list),
        .init(name: "vol", inode: .volumeDirectories), .init(name: "snap", inode: .snapshotDirectories),
        .init(name: "clone", inode: .clones), .init(name: "diff", inode: .diffs), .init(name: "size", inode: .poolSize),
        .init(name: "metrics", inode: .metrics),
        .init(name: "group", inode: .groups), .init(name: "job", inode: .jobs),
    ]

    /// `A..B` or `A..head`.
    private func diff(_ name: String, of volume: UInt64) throws(PoolError) -> Inode {
        guard let dots = name.firstRange(of: "..") else { throw .notFound }
        let first = try pool.find(snapshot: String(name[..<dots.lowerBound]), of: volume)
        let last = String(name[dots.upperBound...])
        let second = last == "head" ? volume : try pool.find(snapshot: last, of: volume)
        // An inode's number has room for two ids of 28 bits.
        guard first < 1 << 28, second < 1 << 28 else { throw .notSupported }
        return .diff(first << 28 | second)
    }

    /// Names of snapshots that every volume has.
    private func groupSnapshots() -> [DirectoryEntry] {
        let volumes = pool.volumes().sorted { $0.id < $1.id }
        guard let first = volumes.first else { return [] }
        return pool.snapshots(of: first.id).filter { snapshot in
            volumes.allSatisfy { (try? pool.find(snapshot: snapshot.name, of: $0.id)) != nil }
        }.map { DirectoryEntry(name: $0.name, inode: .groupSnapshot($0.id)) }
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

    private func snapshotMembers(_ id: UInt64) -> [DirectoryEntry] {
        [
            .init(name: "info", inode: .snapshotInfo(id)), .init(name: "info.json", inode: .snapshotInfoJSON(id)),
            .init(name: "data", inode: .file(id)), .init(name: "prop", inode: .propertyDirectory(id)),
        ]
    }

    private func member(_ name: String, of entries: [DirectoryEntry]) throws(PoolError) -> Inode {
        guard let entry = entries.first(where: { $0.name == name }) else { throw .notFound }
        return entry.inode
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
        default: throw .invalid(.value)
        }
    }

    public func attributes(_ inode: Inode) throws(PoolError) -> FileAttributes {
        var result = FileAttributes(
            inode: inode.number, kind: inode.kind, mode: inode.kind == .directory ? directoryMode(inode) : 0o444, uid: options.uid,
            gid: options.gid)
        if inode.kind == .link { result.mode = 0o777 }
        switch inode {
        case .file(let id):
            let info = try pool.info(id)
            result.mode = info.attributes.mode
            result.size = info.size
            result.allocated = info.referenced
            take(info, &result)
        case .property(let pair):
            take(try pool.info(pair >> 8), &result)
            result.mode = Settable(rawValue: Self.propertyName(pair & 255)) == nil ? 0o444 : 0o644
        case .poolSize:
            result.mode = 0o644
            result.modified = options.now()
            result.changed = result.modified
        case .volumeRollback(let id):
            take(try pool.info(id), &result)
            result.mode = 0o200
        case .volumeDirectory(let id), .volumeInfo(let id), .volumeInfoJSON(let id), .volumeOrigin(let id),
            .volumeUsers(let id), .clone(let id), .snapshot(let id), .snapshotInfo(let id), .snapshotInfoJSON(let id), .diffDirectory(let id),
            .propertyDirectory(let id), .groupSnapshot(let id):
            take(try pool.info(id), &result)
        case .snapshotDirectory(let id):
            take(try pool.info(id), &result)
            let time = max(result.changed, snapshotTimes.withLock { $0[id] } ?? 0)
            result.modified = time
            result.changed = time
        case .job(let kind), .jobState(let kind), .jobProgress(let kind), .jobReport(let kind), .jobReportJSON(let kind):
            result.modified = try jobs.job(kind).started
            result.changed = result.modified
        default:
            result.modified = options.now()
            result.changed = result.modified
        }
        // A clone whose origin has just been deleted is a link no more, but was one when it was made.
        if inode.kind == .link { result.size = UInt64((try? readLink(inode))?.utf8.count ?? 0) }
        return result
    }

    private func directoryMode(_ inode: Inode) -> UInt32 {
        switch inode {
        case .root, .volumeDirectory, .snapshotDirectory: options.directoryMode
        case .clones: options.cloneMode
        default: 0o755
        }
    }

    private func take(_ info: ObjectInfo, _ result: inout FileAttributes) {
        result.uid = info.attributes.uid
        result.gid = info.attributes.gid
        result.modified = info.isSnapshot ? info.created : info.modified
        result.changed = info.changed
    }

    /// For statvfs(3).
    public var usage: PoolUsage { pool.usage() }
}

extension VolumeFileSystem {
    /// What an inode number is called, for messages.
    public func name(ofNumber number: UInt64) -> String {
        switch Inode(number: number) {
        case .file(let id), .volumeDirectory(let id), .snapshot(let id), .snapshotDirectory(let id), .clone(let id):
            (try? pool.info(id))?.fullName ?? "#\(number)"
        default: "#\(number)"
        }
    }
}
