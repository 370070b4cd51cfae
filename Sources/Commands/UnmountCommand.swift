internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// `volfs umount`: unlike umount(8), returns when the daemon has stored everything and released the pool.
enum UnmountCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = try path(arguments), seconds = try seconds(arguments)
        guard let mount = MountTable().mount(atOrOf: path) else { return try awaitDetached(path, seconds, arguments) }
        let isLazy = arguments.has("lazy")
        if let unit = arguments["service"], isRestarting(unit), try handOver(mount, seconds) { return 0 }
        if !isLazy, let users = stillOpen(mount), !users.isEmpty {
            throw Failure(.busy, mount.mountpoint, "is in use: \(users.joined(separator: ", ")); close them, or use --lazy", errno: EBUSY)
        }
        let counters = try? ControlledPool(mount).counters()
        if !isLazy, !arguments.has("force"), let warning = counters?.value("warning") {
            throw Failure(.failed, mount.mountpoint, "\(warning); to give it up: volfs umount --force \(mount.mountpoint)")
        }
        // Who holds the pool until everything is stored.
        let served = counters.flatMap { Int32($0["pid"]) } ?? 0
        let daemon = served != 0 ? served : PoolDevice.holder(of: mount.source)
        try unmount(mount.mountpoint, isLazy)
        if !isLazy { try wait(for: daemon, of: mount.source, seconds) }
        if arguments.isJSON { tell(mount.source, mount.mountpoint, isLazy) }
        guard counters?.number("suspended") ?? 0 > 0 else { return 0 }
        let failure = Failure(
            .failed, mount.source, "unmounted, but a write to the pool had failed before, and what was not stored then is lost; mount it again to go on with what was",
            errno: EIO)
        complain(arguments.isJSON ? failure.json : failure.text)
        return failure.status.rawValue
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
        guard let seconds else {
            if servesWithoutMount(daemon) {
                throw Failure(.busy, path, "is not mounted, but volfs serve (process \(daemon)) has it; to end that: kill \(daemon)", errno: EBUSY)
            }
            throw Failure(
                .busy, path,
                "is not mounted, but \(Failure.holder(daemon)) has it: after umount --lazy, until all that is open is closed; wait for that: volfs umount --wait SECONDS \(path)",
                errno: EBUSY)
        }
        try wait(for: daemon, of: path, seconds)
        if arguments.isJSON { tell(path, nil, false) }
        return 0
    }

    /// Whether a process that has a pool is `volfs serve`, by its command line.
    private static func servesWithoutMount(_ process: Int32) -> Bool {
        let words = readText("/proc/\(process)/cmdline")?.split(separator: "\0").dropFirst()
        return words?.first { !$0.hasPrefix("-") } == "serve"
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
        guard kill(process, SIGURG) == 0 else { return false }
        try wait(for: process, of: mount.source, seconds)
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

    /// Returns when the daemon has released the pool.
    private static func wait(for daemon: Int32, of pool: String, _ seconds: Int?) throws(Failure) {
        var attempt = 0
        while daemon != 0 && PoolDevice.holders(of: pool).contains(daemon) {
            if let seconds, attempt >= seconds * 20 {
                throw Failure(
                    .busy, pool, "unmounted, but \(Failure.holder(daemon)) still has it, to store changes or to serve what is open; wait for it", errno: EBUSY)
            }
            if attempt == 100 { complain("volfs: \(pool): unmounted; waiting for \(Failure.holder(daemon)) to store what was changed") }
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
        try refuse(mountpoint, number, holders.all())
    }

    private static func refuse(_ mountpoint: String, _ number: Int32, _ holders: [String]) throws(Failure) {
        if number == EBUSY || (number == EPERM && !holders.isEmpty) {
            let who = holders.isEmpty ? "a shell's directory, an open file, or a mount below it" : holders.joined(separator: "; ")
            throw Failure(errno: EBUSY, object: mountpoint, reason: "is in use: \(who); close it, or use --lazy")
        }
        throw Failure(errno: number, object: mountpoint, reason: number == EPERM ? "cannot be unmounted; run as who mounted it, or as root" : String(cString: strerror(number)))
    }
}
