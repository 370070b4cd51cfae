public import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
public import PoolEngine
internal import Synchronization
internal import VolumeFS

/// A pool behind a mountpoint, from mounting to the last close.
public enum MountedPool {
    /// Mounts `pool`, serves it until it is unmounted, and closes it. `ready` is called when requests are served.
    ///
    /// SIGTERM and SIGINT unmount; if something is open, the mountpoint is detached and what is open is served until it
    /// is closed, so that an attached loop device never sees an error. A second one ends at once, after a checkpoint.
    /// Returns the exit status: 0, 1 after a second signal, 3 if the pool was suspended.
    public static func run(pool: Pool, options: MountOptions, ready: () -> Void) throws(PoolError) -> Int32 {
        let signals = [SIGTERM, SIGINT, SIGHUP, SIGQUIT]
        Signals.block(signals)
        var settings = VolumeFileSystem.Options(now: { wallClock() }, pause: { pause(milliseconds: $0) })
        settings.spawn = { body in
            guard let thread = try? JoinableThread(body) else { return false }
            thread.detach()
            return true
        }
        settings.enlarge = options.enlarge
        settings.mountpoint = options.mountpoint
        settings.source = options.source
        settings.isReadOnly = options.isReadOnly
        settings.isSynchronous = options.isSynchronous
        settings.showsSnapshots = options.showsSnapshots
        settings.showsControl = options.showsControl
        settings.hasControl = options.hasControl
        settings.uid = getuid()
        settings.gid = getgid()
        settings.process = getpid()
        let files = VolumeFileSystem(pool: pool, options: settings)
        // What is written back for the sake of free memory may be a filesystem in one of our volumes. Where the kernel does
        // not let us say so, as without CAP_SYS_RESOURCE, it works as before.
        volfs_become_io_flusher()
        let session = try FuseSession(files: files, options: options)
        let device = MountInfo.top(at: options.mountpoint)?.device
        let isDone = Flag()
        do throws(PoolError) {
            let workers = try FuseWorkers(session, count: max(2, options.threads))
            let maintenance = try JoinableThread { maintain(pool, until: isDone) }
            let watcher = try JoinableThread {
                watch(signals, files, pool, Place(mountpoint: options.mountpoint, device: device), workers, until: isDone)
            }
            ready()
            ServiceManager.notify("READY=1\nSTATUS=serving \(options.source) at \(options.mountpoint)\nMAINPID=\(getpid())")
            workers.join()
            ServiceManager.notify("STOPPING=1\nSTATUS=storing changes")
            isDone.set()
            maintenance.join()
            watcher.join()
        } catch {
            // A thread could not be started. Those that were end with the mount.
            isDone.set()
            session.close()
            throw error
        }
        session.close()
        files.stopJobs()
        let isSuspended = pool.statistics().isSuspended
        if !isSuspended { try pool.close() }
        return isSuspended ? 3 : 0
    }

    private static func maintain(_ pool: Pool, until isDone: Flag) {
        var hasMore = false
        while !isDone.isSet {
            if !hasMore { pause(milliseconds: 50) }
            do throws(PoolError) {
                hasMore = try pool.maintain()
            } catch {
                // A pool that is full or suspended says so to whoever writes; here there is only the next attempt.
                hasMore = false
                pause(milliseconds: 200)
            }
        }
    }

    /// Where we are mounted, and as which filesystem.
    private struct Place: Sendable {
        var mountpoint: String
        var device: String?
    }

    private static func watch(
        _ signals: [Int32], _ files: VolumeFileSystem, _ pool: Pool, _ place: Place, _ workers: FuseWorkers, until isDone: Flag
    ) {
        var isStopping = false, hasSaid = false
        while !isDone.isSet {
            workers.tend()
            if !hasSaid, let cause = pool.statistics().suspension {
                hasSaid = true
                logLine("nothing is written any more: \(files.sentence(for: cause)); unmount and mount again to recover")
            }
            guard let signal = Signals.wait(signals, milliseconds: 25), signal != SIGHUP else { continue }
            if isStopping || signal == SIGQUIT {
                try? pool.checkpoint()
                exit(1)
            }
            isStopping = true
            let mounts = MountInfo.all()
            guard let top = mounts.last(where: { $0.mountpoint == place.mountpoint }), top.device == place.device else {
                files.stop()
                let isCovered = mounts.contains { $0.device == place.device }
                logLine(isCovered ? "\(place.mountpoint) is covered by another mount; unmount that first" : "\(place.mountpoint) is detached already")
                if isCovered { isStopping = false }
                continue
            }
            ServiceManager.notify("STOPPING=1\nSTATUS=unmounting")
            if !unmount(place.mountpoint, lazily: false) {
                files.stop()
                ServiceManager.notify("STATUS=detached; serving what is open until it is closed")
                for user in files.users { logLine("still open: \(user.name) by process \(user.process)") }
                if !unmount(place.mountpoint, lazily: true) {
                    logLine("\(place.mountpoint) cannot be detached: \(String(cString: strerror(errno)))")
                    isStopping = false
                }
            }
        }
    }

    private static func unmount(_ mountpoint: String, lazily: Bool) -> Bool {
        if umount2(mountpoint, lazily ? Int32(MNT_DETACH) : 0) == 0 { return true }
        guard errno == EPERM else { return false }
        // Not root: the helper that mounted it may also unmount it.
        let words: [String] = ["fusermount3", lazily ? "-uz" : "-u", "-q", mountpoint]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        guard posix_spawnp(&child, "fusermount3", nil, nil, &arguments, environ) == 0 else { return false }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        return status == 0
    }

}

/// Writes a line to standard error, which is the log.
func logLine(_ text: String) {
    let line = "volfs: \(text)\n"
    _ = line.withCString { write(2, $0, strlen($0)) }
}

/// A flag that one thread sets and others watch.
private final class Flag: Sendable {
    private let value = Atomic(false)
    // Only the flag itself is communicated, so relaxed order is enough; joining the threads orders the rest.
    func set() { value.store(true, ordering: .relaxed) }
    var isSet: Bool { value.load(ordering: .relaxed) }
}
