public import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
public import PoolEngine
public import VolumeFS

/// A pool behind a mountpoint, from mounting to the last close.
public enum MountedPool {
    /// Mounts `pool`, serves it until it is unmounted, and closes it. `ready` is called when requests are served.
    ///
    /// SIGTERM and SIGINT unmount; if something is open, the mountpoint is detached and what is open is served until it
    /// is closed, so that an attached loop device never sees an error. A second one ends at once, after a checkpoint.
    /// `beside` starts what else serves the pool, before anybody is told that it is ready, and returns what ends that; it is
    /// called after the last close. SIGHUP, SIGUSR1 and SIGUSR2 are for the log. Returns the exit status: 0, 1 after a second signal, 3 if the pool was
    /// suspended or could not be closed.
    public static func run(
        pool: Pool, options: MountOptions, beside: (VolumeFileSystem) throws(PoolError) -> (() -> Void) = { _ in {} }, ready: () -> Void
    ) throws(PoolError) -> Int32 {
        Signals.block(DaemonWatch.signals)
        let maintenanceWake = try WakeEvent(), watchWake = try WakeEvent()
        var settings = Self.settings(options, pool)
        settings.attention = {
            maintenanceWake.wake()
            watchWake.wake()
        }
        let files = VolumeFileSystem(pool: pool, options: settings)
        // What is written back for the sake of free memory may be a filesystem in one of our volumes. Where the kernel does
        // not let us say so, as without CAP_SYS_RESOURCE, it works as before.
        volfs_become_io_flusher()
        let session = try FuseSession(files: files, options: options)
        let watch: DaemonWatch
        let endBeside: () -> Void
        do throws(PoolError) {
            endBeside = try beside(files)
        } catch {
            session.close()
            throw error
        }
        let waits = (pool.device as? any WaitingDevice)?.waits
        do throws(PoolError) {
            let workers = try FuseWorkers(
                session, count: max(2, options.threads), idle: options.idleThreads, crowded: { watchWake.wake() })
            waits?.tell(workers)
            watch = try DaemonWatch(files: files, options: options, workers: workers, wakeEvent: watchWake)
            let maintenance = Maintenance(files: files, log: options.log, wakeEvent: maintenanceWake)
            let maintainer = try JoinableThread { maintenance.run() }
            let watcher = try JoinableThread { watch.run() }
            ready()
            options.reporter.begin(["READY=1", "MAINPID=\(getpid())"], extends: false) { files.summary }
            workers.join()
            waits?.end()
            files.endEvents()
            endBeside()
            options.reporter.begin(["STOPPING=1"], extends: true) { "storing changes" }
            watch.end()
            maintenance.end()
            maintainer.join()
            watcher.join()
        } catch {
            // A thread could not be started. Those that were end with the mount.
            endBeside()
            files.endEvents()
            session.close()
            throw error
        }
        session.close()
        files.stop()
        files.stopJobs()
        watch.writeMetrics()
        return close(pool, options.log)
    }

    private static func close(_ pool: Pool, _ log: Log) -> Int32 {
        if pool.statistics().isSuspended {
            log.write(.error, "stopped; what was not stored is lost")
            return 3
        }
        do throws(PoolError) {
            try pool.close()
        } catch {
            log.write(.error, "the pool could not be closed; the next mount recovers it", ["reason": "\(error)"])
            return 3
        }
        if pool.device.lastRefuge != nil {
            log.write(.error, "stopped; the pool's file had been removed, and is gone")
            return 3
        }
        log.write(.info, "stopped")
        return 0
    }

    private static func settings(_ options: MountOptions, _ pool: Pool) -> VolumeFileSystem.Options {
        var settings = VolumeFileSystem.Options(now: { wallClock() }, pause: { pause(milliseconds: $0) })
        settings.spawn = { body in
            guard let thread = try? JoinableThread(body) else { return false }
            thread.detach()
            return true
        }
        settings.enlarge = options.enlarge
        settings.commandName = { process in
            guard process > 0, let text = readText("/proc/\(process)/comm") else { return "" }
            return String(text.prefix { $0 != "\n" })
        }
        settings.version = options.version
        settings.mountpoint = options.mountpoint
        settings.source = options.source
        settings.isReadOnly = options.isReadOnly
        settings.isSynchronous = options.isSynchronous
        settings.showsSnapshots = options.showsSnapshots
        settings.showsControl = options.showsControl
        settings.hasControl = options.hasControl
        settings.uid = options.owner ?? getuid()
        settings.gid = options.group ?? getgid()
        settings.newOwner = options.owner
        settings.newGroup = options.group
        settings.umask = options.umask
        settings.fileMode = options.fileMode
        settings.directoryMode = options.directoryMode
        settings.cloneMode = options.cloneMode
        settings.makesFixed = options.makesFixed
        settings.reservesOnAllocate = options.reservesOnAllocate
        settings.trashSeconds = options.trashSeconds
        settings.process = getpid()
        settings.threads = FuseWorkers.maximum
        settings.transfer = FuseContext.maximumTransfer
        return settings
    }
}
