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

    init(_ arguments: Arguments) throws(Failure) {
        commandLine = MountWord.list(arguments["options"] ?? "")
        debugs = arguments.has("debug")
        var path = arguments["config"]
        if let word = commandLine.last(where: { $0.name == "config" }) { path = try word.text() }
        configuration = path.map { Path.absolute($0) }
        let file = try configuration.map { path throws(Failure) in try ConfigurationFile(path: path) }
        var operands = arguments.operands
        let pool = getenv("VOLFS_POOL").map { String(cString: $0) } ?? file?.pool
        if operands.count < 2, let pool { operands.insert(pool, at: 0) }
        if operands.count < 2, let mountpoint = file?.mountpoint { operands.append(mountpoint) }
        if operands.count > 2 { throw .usage(operands[2], "is one word too many; give a pool and a mountpoint: volfs POOL DIRECTORY") }
        guard operands.count == 2 else {
            if let file { throw .usage(file.path, "has no \(operands.isEmpty && file.pool == nil ? "pool" : "mountpoint"), and none was given") }
            guard let first = operands.first else { throw .usage("mount", "give a pool and a mountpoint; see: volfs help mount") }
            throw .usage(first, "give a mountpoint too: volfs \(first) DIRECTORY")
        }
        source = Path.absolute(operands[0])
        try PoolDevice.checkScheme(source)
        // A slash behind it would ask the mount that is to be taken over.
        var directory = operands[1]
        while directory.count > 1 && directory.hasSuffix("/") { directory.removeLast() }
        // What mount.fuse3(8) has opened is the device, not a directory, whatever it is linked to.
        mountpoint = directory.hasPrefix("/dev/fd/") ? directory : Path.absolute(directory)
    }

    /// All options, later ones overriding earlier ones.
    private func settings() throws(Failure) -> MountSettings {
        var words = try configuration.map { path throws(Failure) in try ConfigurationFile(path: path).words } ?? []
        if let target = getenv("VOLFS_LOG") { words.append(MountWord("log=\(String(cString: target))", place: "VOLFS_LOG")) }
        var settings = try MountSettings(words + commandLine, mountpoint: mountpoint, source: source)
        try settings.nbd.check()
        if debugs { settings.options.debugs = true }
        // Virtual machines run as somebody else.
        if getuid() == 0 && settings.options.access == .owner && settings.user == nil { settings.options.access = .everybody }
        return settings
    }

    /// The options, after everything has been looked at that can be said before a daemon is started.
    func checked() throws(Failure) -> MountSettings {
        let settings = try settings()
        if mountpoint.hasPrefix("/dev/fd/") { throw refusedDescriptor() }
        try detachDead()
        let table = MountTable()
        if let mount = table.mount(ofPool: source) { throw mountedFailure(source, mount) }
        var status = stat()
        guard stat(mountpoint, &status) == 0 else {
            let isMissing = errno == ENOENT
            throw Failure(.mount, mountpoint, isMissing ? "no such directory; make it first: mkdir \(mountpoint)" : "cannot be looked at", errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            let isReversed = stat(source, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            throw Failure(.mount, mountpoint, isReversed ? "is not a directory; the pool comes first: volfs \(mountpoint) \(source)" : "is not a directory; mount on a directory")
        }
        if let other = table.mount(at: mountpoint) {
            throw Failure(.mount, mountpoint, "has \(other.source) mounted on it already; choose another directory", errno: EBUSY)
        }
        guard Glibc.access("/dev/fuse", R_OK | W_OK) == 0 else {
            throw Failure(.mount, "/dev/fuse", errno == ENOENT ? "is not there; load it: modprobe fuse" : "no permission to use it; run as root, or give your user access", errno: errno)
        }
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
        return .usage("-o drop_privileges", isDetached ? wrong : "\(wrong); what mount.fuse3 has mounted is cleared by: volfs umount \(left)")
    }

    /// For a new mount, or for one that goes on.
    func ready(_ kept: KeptMount?) throws(Failure) -> MountSettings {
        if let kept { return try resumed(kept) }
        return try checked()
    }

    /// The options for a mount that goes on: nobody serves it, so that whoever looked at it would wait for ever. How it is mounted
    /// stays as it was.
    private func resumed(_ kept: KeptMount) throws(Failure) -> MountSettings {
        var settings = try settings()
        guard PoolDevice.isSame(kept.record.source, source), kept.record.mountpoint == mountpoint else {
            throw Failure(
                .failed, mountpoint,
                "the service manager kept another mount, of \(kept.record.source) at \(kept.record.mountpoint); mount that again, or stop the service first, which ends it",
                errno: EBUSY)
        }
        settings.options.isReadOnly = kept.record.isReadOnly
        settings.options.maximumRead = kept.record.maximumRead
        settings.options.kept = kept
        return settings
    }

    /// A mount of ours whose daemon is gone is only in the way. One of another pool is somebody's to look at first.
    private func detachDead() throws(Failure) {
        guard MountTable.isDead(mountpoint), let dead = MountTable().mount(at: mountpoint) else { return }
        guard dead.source == source else {
            throw Failure(.mount, mountpoint, "has the dead mount of \(dead.source) on it; clear it with: volfs umount \(mountpoint)", errno: ENOTCONN)
        }
        guard umount2(mountpoint, Int32(MNT_DETACH)) == 0 || Spawn.run(["fusermount3", "-uz", mountpoint]) == 0 else {
            throw Failure(.mount, mountpoint, "has a dead mount on it that cannot be detached; try: umount -l \(mountpoint)")
        }
    }

    /// What SIGHUP may change, read anew. Nil, with the reason in the log, if it is wrong now.
    func reloaded(_ log: Log, isBackground: Bool) -> MountOptions.Reloadable? {
        do throws(Failure) {
            let settings = try settings()
            return MountOptions.Reloadable(
                target: settings.logTarget(isBackground: isBackground), level: settings.logLevel, metrics: settings.options.metrics)
        } catch {
            log.write(.error, "the configuration cannot be taken; the one before stays", ["object": error.object, "reason": error.message])
            return nil
        }
    }
}

extension MountSettings {
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

    /// `setuid=USER`: from here on everything is done as that user.
    func become() throws(Failure) {
        guard let user, user != getuid() else { return }
        guard let entry = getpwuid(user) else { throw .usage("-o setuid=\(user)", "no such user") }
        guard initgroups(entry.pointee.pw_name, entry.pointee.pw_gid) == 0, setgid(entry.pointee.pw_gid) == 0, setuid(user) == 0 else {
            throw Failure(.mount, "setuid=\(user)", "only root can become another user", errno: errno)
        }
    }
}
