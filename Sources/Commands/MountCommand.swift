internal import BlockStorage
internal import CLinux
internal import FuseFrontEnd
internal import Glibc
internal import LinuxIO
internal import PoolEngine

/// `volfs POOL MOUNTPOINT`: starts the daemon, and returns when the root of the mount answers.
enum MountCommand {
    /// The daemon finds the write end of a pipe here, on which it says that it is ready.
    private static let readyVariable = "VOLFS_READY_FD"

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        if let number = getenv(readyVariable) {
            let descriptor = atoi(number)
            unsetenv(readyVariable)
            return try serve(arguments, readyOn: descriptor)
        }
        do throws(Failure) {
            let settings = try checked(arguments)
            if arguments.has("foreground") || arguments.has("debug") { return try serve(arguments, readyOn: nil) }
            return try startDaemon(settings)
        } catch {
            // mount(8) has its own numbers.
            if error.status == .usage { throw error }
            var failure = error
            failure.status = .mount
            throw failure
        }
    }

    /// Everything that can be said before a daemon is started.
    private static func checked(_ arguments: Arguments) throws(Failure) -> MountSettings {
        let source = Path.absolute(arguments.operands[0]), mountpoint = Path.absolute(arguments.operands[1])
        var settings = try MountSettings(arguments["options"] ?? "", mountpoint: mountpoint, source: source)
        settings.options.debugs = arguments.has("debug")
        // Virtual machines run as somebody else.
        if getuid() == 0 { settings.options.allowsOthers = true }
        try detachDead(mountpoint)
        let table = MountTable()
        if let mount = table.mount(ofPool: source) { throw mountedFailure(source, mount) }
        var status = stat()
        guard stat(mountpoint, &status) == 0 else {
            throw Failure(.mount, mountpoint, "no such directory; make it first: mkdir \(mountpoint)", errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw Failure(.mount, mountpoint, "is not a directory; mount on a directory") }
        if let other = table.mount(at: mountpoint) { throw Failure(.mount, mountpoint, "has \(other.source) mounted on it already; choose another directory") }
        guard Glibc.access("/dev/fuse", R_OK | W_OK) == 0 else {
            throw Failure(.mount, "/dev/fuse", errno == ENOENT ? "is not there; load it: modprobe fuse" : "no permission to use it; run as root, or give your user access", errno: errno)
        }
        return settings
    }

    /// A mount of ours whose daemon is gone is only in the way.
    private static func detachDead(_ mountpoint: String) throws(Failure) {
        var status = stat()
        guard stat(mountpoint, &status) != 0, errno == ENOTCONN, MountTable().mount(at: mountpoint) != nil else { return }
        guard umount2(mountpoint, Int32(MNT_DETACH)) == 0 || Spawn.run(["fusermount3", "-uz", mountpoint]) == 0 else {
            throw Failure(.mount, mountpoint, "has a dead mount on it that cannot be detached; try: umount -l \(mountpoint)")
        }
    }

    // MARK: The parent

    private static func startDaemon(_ settings: MountSettings) throws(Failure) -> Int32 {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure(.mount, "pipe", String(cString: strerror(errno)), errno: errno) }
        setenv(readyVariable, "\(Spawn.handedDescriptor)", 1)
        let child = Spawn.daemon(Array(CommandLine.arguments.dropFirst()), handing: ends[1])
        let problem = errno
        unsetenv(readyVariable)
        close(ends[1])
        guard let child else {
            throw Failure(.mount, "daemon", "cannot be started: \(String(cString: strerror(problem)))", errno: problem)
        }
        var byte: UInt8 = 0
        var count = Glibc.read(ends[0], &byte, 1)
        while count == -1 && errno == EINTR { count = Glibc.read(ends[0], &byte, 1) }
        close(ends[0])
        if count == 1 {
            var status = stat()
            guard stat(settings.options.mountpoint, &status) == 0 else {
                throw Failure(.mount, settings.options.mountpoint, "does not answer: \(String(cString: strerror(errno)))", errno: errno)
            }
            return 0
        }
        // It has said why on the standard error it shares with us, unless it could not.
        let signal = Spawn.wait(child) & 0x7f
        if signal != 0 {
            throw Failure(.mount, settings.options.source, "the daemon was ended by signal \(signal) before the mount was ready")
        }
        return Failure.Status.mount.rawValue
    }

    // MARK: The daemon

    private static func serve(_ arguments: Arguments, readyOn descriptor: Int32?) throws(Failure) -> Int32 {
        var settings = try checked(arguments)
        if let descriptor { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        let path = settings.options.source
        let log = try settings.log.map { path throws(Failure) in try openLog(path) }
        let pool = try openPool(path, settings)
        settings.options.enlarge = { size throws(PoolError) in try (pool.device as? FileDevice)?.grow(to: size) }
        do throws(PoolError) {
            return try MountedPool.run(pool: pool, options: settings.options) {
                if let log { dup2(log, 2) }
                guard let descriptor else { return }
                var byte: UInt8 = 1
                leaveTerminal(keepingErrors: log != nil)
                _ = Glibc.write(descriptor, &byte, 1)
                close(descriptor)
            }
        } catch {
            throw Failure(error, object: settings.options.mountpoint, pool: path)
        }
    }

    private static func openPool(_ path: String, _ settings: MountSettings) throws(Failure) -> Pool {
        let mode: Pool.Mode = settings.options.isReadOnly ? .readOnly : .readWrite
        var waited = 0
        while true {
            do throws(Failure) {
                return try DirectPool.opened(path, mode: mode, configuration: settings.configuration)
            } catch {
                guard error.status == .busy, waited < settings.lockWait * 10 else { throw error }
                if waited == 10 { complain("volfs: \(path): \(error.message); waiting up to \(settings.lockWait) s") }
                pause(milliseconds: 100)
                waited += 1
            }
        }
    }

    /// A descriptor of the log, "" being standard error, for the life of the process.
    private static func openLog(_ path: String) throws(Failure) -> Int32 {
        if path.isEmpty { return 2 }
        let log = volfs_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o640)
        guard log >= 0 else { throw Failure(.mount, path, "the log cannot be opened: \(String(cString: strerror(errno)))", errno: errno) }
        return log
    }

    /// Nothing of the terminal or the caller's directory is held by a daemon.
    private static func leaveTerminal(keepingErrors: Bool) {
        _ = chdir("/")
        let null = open("/dev/null", O_RDWR)
        for number: Int32 in 0...(keepingErrors ? 1 : 2) { dup2(null, number) }
        if null > 2 { close(null) }
    }
}
