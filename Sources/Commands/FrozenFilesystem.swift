internal import CLinux
internal import Glibc

/// A mounted filesystem that nothing is written to for a moment: its snapshot needs no recovery.
enum FrozenFilesystem {
    /// Nobody keeps a filesystem frozen for longer than this many seconds.
    private static let limit = 60

    /// Runs `body` while the filesystem at `mountpoint` is frozen. It is thawed however that ends: also if this process is
    /// killed, or hangs, by a guard that waits for its end. A filesystem that has the pool's file is refused: writing the
    /// snapshot would wait for itself. So is one that certainly is in none of `volumes`.
    static func during<Result>(
        _ mountpoint: String, volumes: [String], of pool: any PoolAccess, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let descriptor = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(errno: errno, object: mountpoint, reason: "cannot be frozen: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var frozen = stat(), source = stat()
        if fstat(descriptor, &frozen) == 0, stat(pool.source, &source) == 0, frozen.st_dev == source.st_dev {
            throw .usage("--freeze \(mountpoint)", "has the pool itself in it; give the mountpoint of the filesystem that is in the volume")
        }
        try refuseOther(mountpoint, frozen.st_dev, volumes, pool)
        return try Interruption.guarded { () throws(Failure) in
            let watcher = try startGuard(mountpoint)
            guard volfs_freeze(descriptor) == 0 else {
                let number = errno
                stop(watcher)
                throw Failure(errno: number, object: mountpoint, reason: sentence(number))
            }
            let result: Swift.Result<Result, Failure>
            do throws(Failure) { result = .success(try body()) } catch { result = .failure(error) }
            let isThawed = volfs_thaw(descriptor) == 0
            let number = errno
            stop(watcher)
            let value = try result.get()
            guard isThawed else {
                let why = number == EINVAL ? "was thawed before the snapshot was complete; make it again" : "cannot be thawed: \(String(cString: strerror(number))); run: fsfreeze -u \(mountpoint)"
                throw Failure(errno: number, object: mountpoint, reason: why)
            }
            return value
        }
    }

    /// Without a loop device it may be that of a client, which cannot be known here, and is only said.
    private static func refuseOther(_ mountpoint: String, _ device: dev_t, _ volumes: [String], _ pool: any PoolAccess) throws(Failure) {
        let names = volumes.count > 3 ? "a volume of the group" : volumes.joined(separator: " or ")
        switch FilesystemBacking(of: device) {
        case .unknown: return
        case .device(let name):
            if name.hasPrefix("nbd") { return }
            complain("volfs: --freeze \(mountpoint): is on \(name), which is no loop device; freezing it helps only if that is \(names)")
        case .files(let files):
            let directory = (pool as? ControlledPool)?.mountpoint
            // Of a volume that is not there, that is said when it is looked for.
            let found = volumes.map { volume in directory.map { FilesystemBacking.contains(files, "\($0)/\(volume)") } ?? false }
            if found.contains(where: { $0 != false }) { return }
            throw .usage("--freeze \(mountpoint)", "is a filesystem in \(files.joined(separator: ", ")), not in \(names); give the mountpoint of the one in the volume")
        }
    }

    private static func sentence(_ number: Int32) -> String {
        switch number {
        case EBUSY: "is frozen already; thaw it first: fsfreeze -u"
        case EOPNOTSUPP, ENOTTY: "its filesystem cannot be frozen"
        case EPERM: "permission denied; only root freezes a filesystem"
        default: "cannot be frozen: \(String(cString: strerror(number)))"
        }
    }

    /// A process that thaws when the pipe to it closes, or time is up. In a group of its own, so that Ctrl-C does not end it.
    private struct Guard {
        var process: pid_t
        var pipe: Int32
    }

    private static func startGuard(_ mountpoint: String) throws(Failure) -> Guard {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure(errno: errno, object: "pipe", reason: String(cString: strerror(errno))) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let script = "timeout \(limit) cat >/dev/null; exec fsfreeze --unfreeze \"$0\" >/dev/null 2>&1"
        let process = Spawn.start(["sh", "-c", script, mountpoint], input: ends[0])
        close(ends[0])
        guard let process else {
            close(ends[1])
            throw Failure(.failed, "sh", "cannot be started: \(String(cString: strerror(errno)))", errno: errno)
        }
        return Guard(process: process, pipe: ends[1])
    }

    private static func stop(_ watcher: Guard) {
        kill(-watcher.process, SIGKILL)
        _ = Spawn.wait(watcher.process)
        close(watcher.pipe)
    }
}
