internal import CLinux
internal import FuseFrontEnd
internal import Glibc
internal import LinuxIO

/// What is to be mounted where, from the command line, the environment and a configuration file, in this order of precedence.
struct MountRequest: Sendable {
    let source: String
    let mountpoint: String
    private let commandLine: [MountWord]
    private let configuration: String?
    private let debugs: Bool
    /// What the configuration says of another mount than the one that goes on.
    private let remark: Failure?

    /// `kept` is a mount that goes on: what is said of it anywhere but on the command line keeps it from nothing.
    init(_ arguments: Arguments, goingOnWith kept: KeptMount? = nil) throws(Failure) {
        commandLine = MountWord.list(arguments["options"] ?? "")
        debugs = arguments.has("debug")
        var path = arguments["config"]
        if let word = commandLine.last(where: { $0.name == "config" }) { path = try word.text() }
        // Nobody serves it yet: whoever followed a name into it would wait for ever.
        let places = kept.map { MountTable.places(of: $0.record.mountpoint) } ?? []
        configuration = path.map { Path.rest(of: $0, below: places) == nil ? Path.absolute($0) : $0 }
        let file: ConfigurationFile?
        do throws(Failure) {
            file = try configuration.map { path throws(Failure) in try Self.read(path, outside: places, isTolerant: kept != nil) }
        } catch {
            guard kept != nil else { throw error }
            file = nil
        }
        var operands = arguments.operands
        if operands.count < 2, let pool = Environment.value("VOLFS_POOL") ?? file?.pool { operands.insert(pool, at: 0) }
        if operands.count < 2, let mountpoint = file?.mountpoint { operands.append(mountpoint) }
        if operands.count > 2 { throw .usage(operands[2], "is one word too many; give a pool and a mountpoint: volfs POOL DIRECTORY") }
        if let record = kept?.record, arguments.operands.count < 2, !Self.isThat(record, operands, places) {
            remark = .usage(configuration ?? "VOLFS_POOL", "names another pool or directory; the mount goes on as it was, of \(record.source) at \(record.mountpoint)")
            operands = [record.source, record.mountpoint]
        } else {
            remark = nil
        }
        guard operands.count == 2 else {
            if let file { throw .usage(file.path, "has no \(operands.isEmpty && file.pool == nil ? "pool" : "mountpoint"), and none was given") }
            guard let first = operands.first else { throw .usage("mount", "give a pool and a mountpoint; see: volfs help mount") }
            throw .usage(first, "give a mountpoint too: volfs \(first) DIRECTORY")
        }
        source = Path.absolute(operands[0])
        try PoolDevice.checkScheme(source)
        mountpoint = Self.directory(operands[1])
    }

    private static func directory(_ text: String) -> String {
        // A slash behind it would ask the mount that is to be taken over.
        var directory = text
        while directory.count > 1 && directory.hasSuffix("/") { directory.removeLast() }
        // What mount.fuse3(8) has opened is the device, not a directory, whatever it is linked to.
        return directory.hasPrefix("/dev/fd/") ? directory : Path.absolute(directory)
    }

    private static func isThat(_ record: MountRecord, _ operands: [String], _ places: [String]) -> Bool {
        guard operands.count == 2, Path.rest(of: operands[0], below: places) == nil, Path.rest(of: operands[1], below: places) ?? "" == "" else { return false }
        return PoolDevice.isSame(record.source, Path.absolute(operands[0])) && record.mountpoint == directory(operands[1])
    }

    private static func read(_ path: String, outside places: [String], isTolerant: Bool) throws(Failure) -> ConfigurationFile {
        guard Path.rest(of: path, below: places) == nil else {
            throw .usage(path, "is in the mount itself, where its daemon cannot read it; choose a place outside")
        }
        return try ConfigurationFile(path: path, isTolerant: isTolerant)
    }

    /// All options, later ones overriding earlier ones.
    private func settings(_ tolerance: MountSettings.Tolerance = .nothing) throws(Failure) -> MountSettings {
        var words: [MountWord] = [], remarks = remark.map { [$0] } ?? []
        if let configuration {
            do throws(Failure) {
                let file = try Self.read(configuration, outside: MountTable.places(of: mountpoint), isTolerant: tolerance == .everything)
                words = file.words
                remarks += file.remarks
            } catch {
                guard tolerance == .everything else { throw error }
                remarks.append(error)
                // Of what is removed nothing goes for good while it is not known when it may, and what is new is not open to others.
                words = ["trash=\(MountWord.longestTime)s", "umask=\(String(MountSettings.strictUmask, radix: 8))"].map { MountWord($0, place: configuration) }
            }
        }
        if let target = Environment.value("VOLFS_LOG") { words.append(MountWord("log=\(target)", place: "VOLFS_LOG")) }
        var settings = try MountSettings(words + commandLine, mountpoint: mountpoint, source: source, tolerance: tolerance)
        for remark in remarks { settings.remark(remark) }
        try settings.checkNBD()
        if debugs { settings.options.debugs = true }
        // Virtual machines run as somebody else.
        if getuid() == 0 && settings.options.access == .owner && settings.user == nil { settings.options.access = .everybody }
        return settings
    }

    /// The options, after everything has been looked at that can be said before a daemon is started.
    func checked() throws(Failure) -> MountSettings {
        let settings = try settings()
        if mountpoint.hasPrefix("/dev/fd/") { throw refusedDescriptor() }
        guard access("/proc/self/mountinfo", R_OK) == 0 else {
            throw Failure(.mount, "/proc", "is not there, and it tells a daemon what is mounted where; mount it: mount -t proc proc /proc", errno: errno)
        }
        try detachDead()
        let table = MountTable()
        if let mount = table.mount(ofPool: source) { throw mountedFailure(source, mount) }
        if mountpoint != "/", Path.rest(of: source, below: [mountpoint]) != nil, access(source, F_OK) == 0 {
            throw .usage(source, "is in the directory that it would be mounted on, and nobody could find it there; choose another directory")
        }
        var status = stat()
        guard stat(mountpoint, &status) == 0 else {
            let isMissing = errno == ENOENT
            throw Failure(.mount, mountpoint, isMissing ? "no such directory; make it first: mkdir \(mountpoint)" : "cannot be looked at", errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            let isReversed = stat(source, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            throw Failure(.mount, mountpoint, isReversed ? "is not a directory; the pool comes first: volfs \(mountpoint) \(source)" : "is not a directory; mount on a directory")
        }
        if volfs_is_in_proc(mountpoint) == 1 {
            throw .usage(mountpoint, "is in /proc, which programs ask about themselves; choose another directory")
        }
        if let other = table.mount(at: mountpoint) {
            throw Failure(.mount, mountpoint, "has \(other.source) mounted on it already; choose another directory", errno: EBUSY)
        }
        guard Glibc.access("/dev/fuse", R_OK | W_OK) == 0 else {
            throw Failure(.mount, "/dev/fuse", errno == ENOENT ? "is not there; load it: modprobe fuse" : "no permission to use it; run as root, or give your user access", errno: errno)
        }
        try settings.checkMetrics()
        return settings
    }

    /// With drop_privileges mount.fuse3(8) mounts by itself and hands on the descriptor of /dev/fuse. What it mounted nobody serves.
    private func refusedDescriptor() -> Failure {
        let wrong = "is not for volfs, as it would keep the daemon from unmounting when it is told to end; use setuid=USER"
        let number = mountpoint.split(separator: "/").last ?? ""
        let connection = readText("/proc/self/fdinfo/\(number)")?.split(separator: "\n").first { $0.hasPrefix("fuse_connection:") }?.split(separator: "\t").last
        guard let connection, let left = MountInfo.all().last(where: { $0.device == "0:\(connection)" && $0.kind == "fuse.volfs" })?.mountpoint else {
            return .usage("-o drop_privileges", "\(wrong); what mount.fuse3 has mounted is cleared by umount")
        }
        // Without privileges it cannot be, unless they were not dropped.
        let isDetached = umount2(left, Int32(MNT_DETACH)) == 0 || Spawn.run(["fusermount3", "-uz", "-q", left]) == 0
        return .usage("-o drop_privileges", isDetached ? wrong : "\(wrong); what mount.fuse3 has mounted is cleared by: volfs umount \(Path.quoted(left))")
    }

    /// For a new mount, or for one that goes on.
    func ready(_ kept: KeptMount?) throws(Failure) -> MountSettings {
        if let kept { return try resumed(kept) }
        return try checked()
    }

    /// The options for a mount that goes on: nobody serves it, so that whoever looked at it would wait for ever. How it is mounted
    /// stays as it was.
    private func resumed(_ kept: KeptMount) throws(Failure) -> MountSettings {
        var settings = try settings(.everything)
        guard PoolDevice.isSame(kept.record.source, source), kept.record.mountpoint == mountpoint else {
            throw Failure(
                .failed, mountpoint,
                "the service manager kept another mount, of \(kept.record.source) at \(kept.record.mountpoint); mount that again, or stop the service first, which ends it",
                errno: EBUSY)
        }
        settings.options.isReadOnly = kept.record.isReadOnly
        settings.options.maximumRead = kept.record.maximumRead
        settings.options.kernelOptions = []
        // Another user could perhaps not open the pool.
        if getuid() == 0, let user = MountInfo.all().last(where: { $0.device == kept.record.device })?.number("user_id") {
            if settings.user ?? 0 != user { settings.remark(.usage("setuid", "takes effect when the pool is mounted the next time")) }
            settings.user = user
        }
        settings.options.kept = kept
        return settings
    }

    /// A mount of ours whose daemon is gone is only in the way. One of another pool is somebody's to look at first.
    private func detachDead() throws(Failure) {
        guard MountTable.isDead(mountpoint), let dead = MountTable().mount(at: mountpoint) else { return }
        guard dead.source == source else {
            throw Failure(.mount, mountpoint, "has the dead mount of \(dead.source) on it; clear it with: volfs umount \(Path.quoted(mountpoint))", errno: ENOTCONN)
        }
        guard umount2(mountpoint, Int32(MNT_DETACH)) == 0 || Spawn.run(["fusermount3", "-uz", mountpoint]) == 0 else {
            throw Failure(.mount, mountpoint, "has a dead mount on it that cannot be detached; try: umount -l \(mountpoint)")
        }
    }

    /// What SIGHUP may change, read anew. Nil, with the reason in the log, if it is wrong now.
    func reloaded(_ log: Log, isBackground: Bool) -> MountOptions.Reloadable? {
        do throws(Failure) {
            let settings = try settings(.oldForms)
            settings.tellRemarks(log)
            return MountOptions.Reloadable(
                target: settings.logTarget(isBackground: isBackground), level: settings.logLevel, metrics: settings.options.metrics)
        } catch {
            log.write(.error, "the configuration cannot be taken; the one before stays", ["object": error.object, "reason": error.message])
            return nil
        }
    }
}

extension MountSettings {
    func tellRemarks(_ log: Log) {
        for remark in remarks { log.write(.warning, "a setting is left out or changed", ["object": remark.object, "reason": remark.message]) }
    }

    /// Where messages go: to journald or standard error from the foreground, to syslog from the background, unless chosen.
    func logTarget(isBackground: Bool) -> Log.Target {
        switch log {
        case nil: isBackground ? .syslog : ServiceManager.hasJournal ? .journal : .standardError
        case "stderr": ServiceManager.hasJournal ? .journal : .standardError
        // journald reads what is sent to syslog, too.
        case "journal": ServiceManager.hasJournal ? .journal : .syslog
        case "syslog": .syslog
        case let path?: .file(path)
        }
    }

    /// Throws if the file of metrics cannot be made.
    func checkMetrics() throws(Failure) {
        guard let path = options.metrics else { return }
        let directory = Path.parent(of: path)
        guard Path.isDirectory(directory) else { throw Failure(.notFound, "metrics=\(path)", "its directory does not exist; make it first: mkdir -p \(directory)", errno: ENOENT) }
        if Path.isDirectory(path) { throw Failure(.failed, "metrics=\(path)", "is a directory; name a file in it", errno: EISDIR) }
        // Of another user's permission the daemon will know.
        guard user == nil || user == getuid(), access(directory, W_OK | X_OK) != 0 else { return }
        throw Failure(.permission, "metrics=\(path)", "no permission to make files in \(directory); choose another, or let the daemon's user write there", errno: errno)
    }

    /// Has the log's file opened. Throws, and has the log where it would be without `log`, if it cannot be.
    mutating func openLog(isBackground: Bool) throws(Failure) {
        guard case .file(let path) = logTarget(isBackground: isBackground) else { return }
        let problem = options.log.open(.file(path))
        if problem == 0 { return }
        log = nil
        throw Failure(.mount, path, "the log cannot be opened: \(String(cString: strerror(problem)))", errno: problem)
    }

    /// `setuid=USER`: from here on everything is done as that user.
    func become() throws(Failure) {
        guard let user, user != getuid() else { return }
        guard let entry = getpwuid(user) else { throw .usage("-o setuid=\(user)", "no such user") }
        guard initgroups(entry.pointee.pw_name, entry.pointee.pw_gid) == 0, setgid(entry.pointee.pw_gid) == 0, setuid(user) == 0 else {
            throw Failure(.mount, "setuid=\(user)", "only root can become another user", errno: errno)
        }
    }
}
