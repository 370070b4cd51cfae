internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// `volfs umount`: unlike umount(8), returns when the daemon has stored everything and released the pool.
enum UnmountCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = try path(arguments), seconds = try seconds(arguments)
        guard let mount = mount(path) else { return try awaitDetached(path, seconds, arguments) }
        let isLazy = arguments.has("lazy")
        if let unit = arguments["service"], isRestarting(unit), try handOver(mount, seconds) { return 0 }
        if !isLazy, !isOfOthers(mount.mountpoint), let users = stillOpen(mount), !users.isEmpty {
            throw Failure(.busy, mount.mountpoint, "is in use: \(users.joined(separator: ", ")); close them, or use --lazy", errno: EBUSY)
        }
        let counters = try? ControlledPool(mount).counters()
        if !isLazy, !arguments.has("force"), let warning = counters?.value("warning") {
            throw Failure(.failed, mount.mountpoint, "\(warning); to give it up: volfs umount --force \(Path.quoted(mount.mountpoint))")
        }
        // By what it has open, for its file may be called otherwise by now. Who has the pool of a dead mount has nothing to do with it.
        let connection = MountInfo.top(at: mount.mountpoint).map { FuseConnection(device: $0.device) }
        let locks = MountTable.isDead(mount.mountpoint) ? nil : HeldLocks(of: daemon(of: mount, counters, connection))
        try unmount(mount.mountpoint, isLazy)
        if !isLazy, let locks { try wait(for: locks, of: mount.source, connection, seconds) }
        if arguments.isJSON { tell(mount.source, mount.mountpoint, isLazy) }
        guard counters?.number("suspended") ?? 0 > 0 else { return 0 }
        let failure = Failure(
            .failed, mount.source, "unmounted, but a write to the pool had failed before, and what was not stored then is lost; mount it again to go on with what was",
            errno: EIO)
        complain(arguments.isJSON ? failure.json : failure.text)
        return failure.status.rawValue
    }

    /// The mount at a directory or of a pool. A file that has a new name is known by the mount of who has it open.
    private static func mount(_ path: String) -> MountTable.Mount? {
        let table = MountTable()
        if let mount = table.mount(atOrOf: path) { return mount }
        let places = PoolDevice.holders(of: path).flatMap { FuseConnection.served(by: $0) }.compactMap(\.place).filter { $0.process == nil }
        return places.lazy.compactMap { table.mount(at: $0.mountpoint) }.first
    }

    /// Who serves a mount, and holds its pool until everything is stored; 0 if that is not known.
    private static func daemon(of mount: MountTable.Mount, _ counters: FlatJSON?, _ connection: FuseConnection?) -> Int32 {
        if let served = counters.flatMap({ Int32($0["pid"]) }), served != 0 { return served }
        let server = connection?.server ?? 0
        return server != 0 ? server : PoolDevice.holder(of: mount.source)
    }

    /// Whether it is somebody else's, so that this user may not unmount it.
    private static func isOfOthers(_ mountpoint: String) -> Bool {
        geteuid() != 0 && MountInfo.top(at: mountpoint)?.number("user_id") != getuid()
    }

    private static func tell(_ pool: String, _ mountpoint: String?, _ isLazy: Bool) {
        let place: JSON = mountpoint.map { .text($0) } ?? .null
        say(JSON.object([("schema", .text("volfs.umount/1")), ("pool", .text(pool)), ("mountpoint", place), ("lazy", .bool(isLazy))]))
    }

    /// For a pool that is not mounted: a daemon that was detached may serve what is still open in it. With `--wait` that is waited for.
    private static func awaitDetached(_ path: String, _ seconds: Int?, _ arguments: Arguments) throws(Failure) -> Int32 {
        guard let daemon = PoolDevice.holders(of: path).first else {
            throw Failure(.notFound, path, "is not mounted, and nothing of volfs is mounted there", errno: EINVAL)
        }
        let connections = FuseConnection.served(by: daemon)
        guard let seconds else {
            if PoolUser(process: daemon).isServing {
                throw Failure(.busy, path, "is not mounted, but volfs serve (process \(daemon)) has it; to end that: kill \(daemon)", errno: EBUSY)
            }
            if connections.contains(where: { $0.place != nil }) {
                throw Failure(.busy, path, "is not mounted here, but in use by \(PoolUser(process: daemon).text(of: path))", errno: EBUSY)
            }
            throw Failure(
                .busy, path,
                "is not mounted, but \(Failure.holder(daemon)) has it: after umount --lazy, until all that is open is closed; wait for that: volfs umount --wait SECONDS \(Path.quoted(path))",
                errno: EBUSY)
        }
        try wait(for: HeldLocks(of: daemon), of: path, connections.first, seconds)
        if arguments.isJSON { tell(path, nil, false) }
        return 0
    }

    /// Whether systemd stops a unit only to start it again.
    private static func isRestarting(_ unit: String) -> Bool {
        // A line of this is number, unit, what is done and how far that is.
        let jobs = Spawn.output(of: ["systemctl", "list-jobs", "--no-legend", "--no-pager", unit]) ?? ""
        return jobs.split(separator: "\n").contains { line in
            let words = line.split(separator: " ")
            return words.count >= 3 && words[1] == unit && words[2].hasSuffix("restart")
        }
    }

    /// Has the daemon end and leave the mount to the one after it. False if it cannot.
    private static func handOver(_ mount: MountTable.Mount, _ seconds: Int?) throws(Failure) -> Bool {
        let pool = ControlledPool(mount)
        guard let counters = try? pool.counters(), counters["restartable"] == "1", let process = try? pool.process(), process > 0 else { return false }
        let locks = HeldLocks(of: process)
        guard kill(process, SIGURG) == 0 else { return false }
        try wait(for: locks, of: mount.source, nil, seconds)
        return true
    }

    /// The pool or mountpoint that was given, or else those of a configuration.
    private static func path(_ arguments: Arguments) throws(Failure) -> String {
        if let operand = arguments.operands.first { return Path.absolute(operand) }
        guard let name = arguments["config"] else { throw .usage("umount", "give a pool or a mountpoint; see: volfs help umount") }
        // What else is wrong in it is no reason to leave the mount.
        let file = try ConfigurationFile(path: Path.absolute(name), isTolerant: true)
        guard let path = file.mountpoint ?? file.pool else { throw .usage(file.path, "has no mountpoint") }
        return Path.absolute(path)
    }

    /// Seconds for which a copy of the mount that another mount namespace has is waited for, where nothing is said.
    private static let patience = 5

    /// Returns when the daemon has released the pool. Storing takes what it takes; but what another copy of the mount keeps alive may
    /// never end.
    private static func wait(for locks: HeldLocks, of pool: String, _ connection: FuseConnection?, _ seconds: Int?) throws(Failure) {
        var attempt = 0, isTold = false
        while locks.isHeld {
            let isOver = seconds.map { attempt >= $0 * 20 } ?? false, holder = Failure.holder(locks.process)
            if isOver || attempt % 20 == 19, let place = connection?.place {
                let text = "unmounted, but there is a copy of the mount at \(place.text), which keeps the pool in use by \(holder)"
                guard !isOver, seconds != nil || attempt < patience * 20 else { throw Failure(.busy, pool, "\(text); unmount that too: \(place.remedy)", errno: EBUSY) }
                if !isTold { complain("volfs: \(pool): \(text); waiting until that ends") }
                isTold = true
            }
            if isOver { throw Failure(.busy, pool, "unmounted, but \(holder) still has it, to store changes or to serve what is open; wait for it", errno: EBUSY) }
            if attempt == 100 && !isTold { complain("volfs: \(pool): unmounted; waiting for \(holder) to store what was changed") }
            attempt += 1
            pause(milliseconds: 50)
        }
    }

    /// Who has something open. close(2) returns before the daemon hears of it, so for two seconds that is not taken for an
    /// answer.
    private static func stillOpen(_ mount: MountTable.Mount) -> [String]? {
        for _ in 0..<40 {
            guard let users = try? ControlledPool(mount).users(), !users.isEmpty else { return nil }
            pause(milliseconds: 50)
        }
        guard let users = try? ControlledPool(mount).users() else { return nil }
        // A process may have ended that opened a loop device's file, or handed on what it opened.
        return VolumeUse.living(users, mount.mountpoint).map { "\($0.object) is open by \($0.text)" } + MountHolders(mountpoint: mount.mountpoint).loopDevices()
    }

    /// Nil for as long as it takes.
    private static func seconds(_ arguments: Arguments) throws(Failure) -> Int? {
        guard let text = arguments["wait"] else { return nil }
        guard let seconds = Int(text), (0...86_400).contains(seconds) else { throw .usage("--wait \(text)", "needs seconds, 0 to 86400") }
        return seconds
    }

    private static func unmount(_ mountpoint: String, _ isLazy: Bool) throws(Failure) {
        if umount2(mountpoint, isLazy ? Int32(MNT_DETACH) : 0) == 0 { return }
        let number = errno
        if number == EPERM && Spawn.run(["fusermount3", isLazy ? "-uz" : "-u", "-q", mountpoint]) == 0 { return }
        let holders = MountHolders(mountpoint: mountpoint)
        // Detached, the daemon tells those that only wait for events that there are no more, and ends when they have let go.
        if !isLazy && (number == EBUSY || number == EPERM) && holders.onlyFollowEvents { return try unmount(mountpoint, true) }
        try refuse(mountpoint, number, isLazy || isOfOthers(mountpoint) && number == EPERM ? [] : holders.all())
    }

    private static func refuse(_ mountpoint: String, _ number: Int32, _ holders: [String]) throws(Failure) {
        if number == EBUSY || (number == EPERM && !holders.isEmpty) {
            let who = holders.isEmpty ? "a shell's directory, an open file, or a mount below it" : holders.joined(separator: "; ")
            throw Failure(errno: EBUSY, object: mountpoint, reason: "is in use: \(who); close it, or use --lazy")
        }
        throw Failure(errno: number, object: mountpoint, reason: number == EPERM ? "cannot be unmounted: it is not yours; run as who mounted it, or as root" : String(cString: strerror(number)))
    }
}
