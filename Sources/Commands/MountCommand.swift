internal import BlockStorage
internal import CLinux
internal import FuseFrontEnd
internal import Glibc
internal import LinuxIO
internal import NBD
internal import PoolEngine
internal import VolumeFS

/// `volfs POOL MOUNTPOINT`: starts the daemon, and returns when the root of the mount answers.
enum MountCommand {
    /// The daemon finds the write end of a pipe here, on which it says that it is ready.
    private static let readyVariable = "VOLFS_READY_FD"

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        if let number = getenv(readyVariable) {
            let descriptor = atoi(number)
            unsetenv(readyVariable)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            return try numbered { () throws(Failure) in try serve(arguments, nil, readyOn: descriptor) }
        }
        if arguments.has("dry-run") { return try numbered { () throws(Failure) in try tryOut(arguments) } }
        let store = DescriptorStore.received()
        let isForeground = !store.names.isEmpty || !arguments.has("background")
            && (arguments.has("foreground") || arguments.has("debug") || ServiceManager.isService)
        // A service manager wants to know that it was the start that failed.
        return try numbered(isForeground ? .failed : .mount) { () throws(Failure) in
            if isForeground { return try serve(arguments, try KeptMount.left(in: store), readyOn: nil) }
            let settings = try MountRequest(arguments).checked(), status = try startDaemon(settings)
            if status == 0 && arguments.isJSON {
                let fields = [("schema", "volfs.mount/1"), ("pool", settings.options.source), ("mountpoint", settings.options.mountpoint)]
                say(JSON.object(fields.map { ($0.0, .text($0.1)) }))
            }
            return status
        }
    }

    /// mount(8) has its own numbers: but for wrong usage a failure has the status given.
    private static func numbered(_ status: Failure.Status = .mount, _ body: () throws(Failure) -> Int32) throws(Failure) -> Int32 {
        do throws(Failure) {
            return try body()
        } catch {
            var failure = error
            if failure.status != .usage { failure.status = status }
            throw failure
        }
    }

    /// All that can be found out without mounting.
    private static func tryOut(_ arguments: Arguments) throws(Failure) -> Int32 {
        let settings = try MountRequest(arguments).checked()
        _ = try DirectPool.opened(settings.options.source, mode: .readOnly)
        // A script asks for the status alone; so does mount(8) with -f.
        return arguments.isJSON ? ChangeReport.plan(arguments, ["mount \(settings.options.source) at \(settings.options.mountpoint)"]) : 0
    }

    // MARK: The parent

    private static func startDaemon(_ settings: MountSettings) throws(Failure) -> Int32 {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure(.mount, "pipe", String(cString: strerror(errno)), errno: errno) }
        setenv(readyVariable, "\(Spawn.handedDescriptor)", 1)
        let child = Spawn.daemon(handing: ends[1])
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
            // A mount that other users may not use answers to its own user only.
            var status = stat()
            guard settings.user != nil || stat(settings.options.mountpoint, &status) == 0 else {
                throw Failure(.mount, settings.options.mountpoint, "does not answer: \(String(cString: strerror(errno)))", errno: errno)
            }
            return 0
        }
        // It has said why on the standard error it shares with us, unless it could not.
        let ended = Spawn.wait(child)
        if ended & 0x7f != 0 {
            throw Failure(.mount, settings.options.source, "the daemon was ended by signal \(ended & 0x7f) before the mount was ready")
        }
        return Failure.Status.mount.rawValue
    }

    // MARK: The daemon

    /// `kept` is a mount that another daemon has left to this one.
    private static func serve(_ arguments: Arguments, _ kept: KeptMount?, readyOn descriptor: Int32?) throws(Failure) -> Int32 {
        let request = try MountRequest(arguments, goingOnWith: kept)
        var settings = try request.ready(kept)
        try settings.tolerating { settings throws(Failure) in try settings.become() }
        let isBackground = descriptor != nil
        let log = Log(name: "volfs[\(PoolDevice.shortName(settings.options.source))]", level: settings.logLevel)
        settings.options.log = log
        try settings.tolerating { settings throws(Failure) in try settings.openLog(isBackground: isBackground) }
        let target = settings.logTarget(isBackground: isBackground)
        // What goes wrong before the mount is ready is for who waits for it.
        if case .file = target {} else { _ = log.open(isBackground ? .standardError : target) }
        settings.tellRemarks(log)
        volfs_limit_arenas(2)
        RemotePool.report(to: { level, text, fields in log.write(level, text, fields) })
        let reporter = ServiceReporter()
        defer { reporter.end() }
        settings.options.reporter = reporter
        let isAwaited = { @Sendable in descriptor.map { hasReader($0) } ?? true }
        let pool = try opened(PoolOpening(settings: settings, reporter: reporter, isAwaited: isAwaited))
        if !isAwaited() { return Failure.Status.terminated.rawValue }
        settings.options.reload = { request.reloaded(log, isBackground: isBackground) }
        var problem: Failure?, server: NBDServer?
        let nbd = settings.nbd
        do throws(PoolError) {
            settings.options.version = Version.number
            return try MountedPool.run(
                pool: pool, options: settings.options,
                beside: { files throws(PoolError) in
                    do throws(Failure) {
                        let begun = try nbd.begin(files, log)
                        server = begun
                        return { begun?.stop() }
                    } catch {
                        if kept != nil {
                            log.write(.error, "not served over NBD", ["object": error.object, "reason": error.message])
                            return {}
                        }
                        problem = error
                        throw .notSupported
                    }
                }
            ) {
                _ = log.open(target)
                let options = settings.options
                log.write(.info, "serving", ["pool": options.source, "mountpoint": options.mountpoint, "pid": "\(getpid())"])
                if let server { nbd.announce(server, log) }
                guard let descriptor else { return }
                if target != .standardError { for address in server?.addresses ?? [] { complain("volfs: serving NBD at \(nbd.uri(address))") } }
                // Who asked for the mount was ended. A signal that is blocked waits for the thread that unmounts.
                if !isAwaited() { kill(getpid(), SIGTERM) }
                signal(SIGPIPE, SIG_IGN)
                var byte: UInt8 = 1
                leaveTerminal(keepingErrors: target == .standardError || target == .journal)
                _ = Glibc.write(descriptor, &byte, 1)
                close(descriptor)
            }
        } catch {
            throw problem ?? Failure(error, object: settings.options.mountpoint, pool: settings.options.source)
        }
    }

    /// False once nobody can read from the other end of a pipe: who started the daemon has ended.
    private static func hasReader(_ descriptor: Int32) -> Bool {
        var question = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&question, 1, 0) <= 0 || question.revents & Int16(POLLERR) == 0
    }

    /// A failure for want of permission names the user that was chosen.
    private static func opened(_ opening: PoolOpening) throws(Failure) -> Pool {
        do throws(Failure) {
            return try opening.open()
        } catch {
            guard error.errno == EACCES, let user = opening.settings.user, let entry = getpwuid(user) else { throw error }
            let name = String(cString: entry.pointee.pw_name), path = opening.settings.options.source
            throw Failure(
                .permission, path, "\(name), as whom setuid has the daemon run, may not open it; give that user the file, and the way to it: chown \(name) \(path)", errno: EACCES)
        }
    }

    /// Nothing of the terminal or the caller's directory is held by a daemon.
    private static func leaveTerminal(keepingErrors: Bool) {
        _ = chdir("/")
        let null = open("/dev/null", O_RDWR)
        for number: Int32 in 0...(keepingErrors ? 1 : 2) { dup2(null, number) }
        if null > 2 { close(null) }
    }
}
