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
        let source = absolutePath(arguments.operands[0]), mountpoint = absolutePath(arguments.operands[1])
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
        _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
        setenv(readyVariable, "\(ends[1])", 1)
        let child = Spawn.start(["/proc/self/exe"] + CommandLine.arguments.dropFirst())
        unsetenv(readyVariable)
        close(ends[1])
        guard let child else { throw Failure(.mount, "daemon", "cannot be started: \(String(cString: strerror(errno)))", errno: errno) }
        var byte: UInt8 = 0
        let count = Glibc.read(ends[0], &byte, 1)
        close(ends[0])
        if count == 1 {
            var status = stat()
            guard stat(settings.options.mountpoint, &status) == 0 else {
                throw Failure(.mount, settings.options.mountpoint, "does not answer: \(String(cString: strerror(errno)))", errno: errno)
            }
            return 0
        }
        // The daemon has said why on the standard error it shares with us.
        var status: Int32 = 0
        waitpid(child, &status, 0)
        return Failure.Status.mount.rawValue
    }

    // MARK: The daemon

    private static func serve(_ arguments: Arguments, readyOn descriptor: Int32?) throws(Failure) -> Int32 {
        let settings = try checked(arguments)
        if descriptor != nil { setsid() }
        let path = settings.options.source
        let pool = try openPool(path, settings)
        do throws(PoolError) {
            return try MountedPool.run(pool: pool, options: settings.options) {
                guard let descriptor else { return }
                var byte: UInt8 = 1
                leaveTerminal()
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

    /// Nothing of the terminal or the caller's directory is held by a daemon.
    private static func leaveTerminal() {
        _ = chdir("/")
        let null = open("/dev/null", O_RDWR)
        for number: Int32 in 0...2 { dup2(null, number) }
        if null > 2 { close(null) }
    }
}

/// Other programs.
enum Spawn {
    /// Starts a program with this process's environment and open files. Nil and errno if it cannot be.
    static func start(_ words: [String]) -> pid_t? {
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var child = pid_t()
        let result = posix_spawnp(&child, words[0], nil, nil, &pointers, environ)
        errno = result
        return result == 0 ? child : nil
    }

    /// Runs a program to its end. Its exit status, or -1.
    static func run(_ words: [String]) -> Int32 {
        guard let child = start(words) else { return -1 }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        return status & 0x7f == 0 ? status >> 8 & 0xff : -1
    }
}
