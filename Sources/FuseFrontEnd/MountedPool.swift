public import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
public import PoolEngine
public import VolumeFS

/// A pool behind a mountpoint, from mounting to the last close.
public enum MountedPool {
    /// The exit status of a daemon that has handed its mount over.
    public static let handedOver: Int32 = 75

    /// Mounts `pool`, or goes on with a mount that another daemon has left, serves it until it is unmounted, and closes it. `ready`
    /// is called when requests are served.
    ///
    /// SIGTERM and SIGINT unmount; if something is open, the mountpoint is detached and what is open is served until it
    /// is closed, so that an attached loop device never sees an error. A second one ends at once, after a checkpoint.
    /// SIGURG leaves the mount to the next daemon, if a service manager keeps it.
    /// `beside` starts what else serves the pool, before anybody is told that it is ready, and returns what ends that; it is
    /// called after the last close. SIGHUP, SIGUSR1 and SIGUSR2 are for the log. Returns the exit status: 0, 1 after a second signal, 3 if the pool was
    /// suspended or could not be closed, 75 if the mount was handed over.
    public static func run(
        pool: Pool, options: MountOptions, beside: (VolumeFileSystem) throws(PoolError) -> (() -> Void) = { _ in {} }, ready: () -> Void
    ) throws(PoolError) -> Int32 {
        Signals.block(DaemonWatch.signals)
        volfs_allow_interrupts()
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
        let kept: KeptMount?
        let endBeside: () -> Void
        do throws(PoolError) {
            endBeside = try beside(files)
        } catch {
            session.close()
            throw error
        }
        let waits = (pool.device as? any WaitingDevice)?.waits
        do throws(PoolError) {
            let found = try keep(session, files, options)
            kept = found
            files.tellWhetherRestartable { found?.isKept == true && !pool.statistics().isSuspended }
            let workers = try FuseWorkers(
                session, count: max(2, options.threads), idle: options.idleThreads, crowded: { watchWake.wake() })
            waits?.tell(workers)
            watch = try DaemonWatch(files: files, options: options, workers: workers, kept: kept, wakeEvent: watchWake)
            let maintenance = Maintenance(
                files: files, log: options.log, wakeEvent: maintenanceWake,
                // The next daemon would take for stored what this one has lost.
                suspended: { kept?.forget() })
            let maintainer = try JoinableThread { maintenance.run() }
            let watcher = try JoinableThread { watch.run() }
            ready()
            options.reporter.begin(["READY=1", "MAINPID=\(getpid())"], extends: false) { files.summary }
            workers.join()
            waits?.end()
            if watch.isHandedOver {
                // Who waits for events goes on waiting, if the kernel asks the next daemon for them.
                if kept?.repeats != true { files.endEvents() }
            } else {
                kept?.forget()
                files.endEvents()
            }
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
        if let kept, watch.isHandedOver {
            options.log.write(.info, "handed over", ["mountpoint": options.mountpoint, "left_to_the_next": "\(session.leftCount)"])
            return leave(kept, pool, files, watch, options.log)
        }
        session.close()
        files.stop()
        files.stopJobs()
        watch.writeMetrics()
        return close(pool, files, options.log)
    }

    /// Notes for the next daemon what it has to know, and takes over what the one before has noted. Nil where no service manager
    /// would start one.
    private static func keep(_ session: FuseSession, _ files: VolumeFileSystem, _ options: MountOptions) throws(PoolError) -> KeptMount? {
        if let kept = options.kept {
            for handle in kept.handles.inherited {
                do throws(PoolError) {
                    try files.resume(handle.handle, of: handle.object, handle.user, isSynchronous: handle.isSynchronous)
                } catch .notFound {
                    // What is asked of it fails by itself, and the mount goes on for all others.
                    kept.handles.remove(handle.handle)
                    options.log.write(.error, "what was open is not in the pool any more", ["object": "\(handle.object)"])
                }
            }
            let wasAnswered = kept.wasAnswered
            kept.begin()
            session.note(in: kept)
            kept.keep()
            // Before any thread asks for requests: these come first.
            let problem = kept.repeats ? session.askAgain() : ENOSYS
            if problem != 0 && !wasAnswered {
                options.log.write(.error, "the kernel does not send again what was not answered", ["reason": String(cString: strerror(problem))])
            }
            options.log.write(
                .info, "going on with the mount of another daemon",
                ["mountpoint": options.mountpoint, "open": "\(kept.handles.inherited.count)", "handed_over": wasAnswered ? "yes" : "no"])
            return kept
        }
        guard ServiceManager.isListening, let agreed = session.agreement else { return nil }
        let record = MountRecord(
            slots: UInt32(VolumeFileSystem.handleLimit), intents: 1024, isReadOnly: options.isReadOnly, maximumRead: options.maximumRead,
            maximumWrite: agreed.maximumWrite, readAhead: agreed.readAhead, capabilities: agreed.capabilities, initial: session.initial,
            device: MountInfo.top(at: options.mountpoint)?.device ?? "", mountpoint: options.mountpoint, source: options.source)
        guard record.isStorable else {
            options.log.write(.warning, "a restart will end the mount: its paths are too long to be kept")
            return nil
        }
        let kept = try KeptMount(session, record)
        session.note(in: kept)
        kept.begin()
        kept.keep()
        return kept
    }

    /// Ends with the mount as it is. The session stays: who waits for events may have its answer at any moment.
    private static func leave(
        _ kept: KeptMount, _ pool: Pool, _ files: VolumeFileSystem, _ watch: DaemonWatch, _ log: Log
    ) -> Int32 {
        files.stopJobs()
        kept.noteAnswered()
        watch.writeMetrics()
        let status = close(pool, files, log)
        return status == 0 ? handedOver : status
    }

    private static func close(_ pool: Pool, _ files: VolumeFileSystem, _ log: Log) -> Int32 {
        // Before the last writes, which make the file longer.
        let danger = files.refugeText
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
        if danger != nil {
            log.write(.error, pool.device.lastRefuge != nil ? "stopped; the pool's file had been removed, and is gone" : "stopped; the pool's file had been cut")
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
        settings.commandName = { process in
            guard process > 0, let text = readText("/proc/\(process)/comm") else { return "" }
            return String(text.prefix { $0 != "\n" })
        }
        settings.hasOpen = { process, end in process > 0 && ProcessFiles.hasOpen(process, endingIn: end) }
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
        settings.generation = options.kept?.generation ?? 0
        settings.threads = FuseWorkers.maximum
        settings.transfer = FuseContext.maximumTransfer
        return settings
    }
}
