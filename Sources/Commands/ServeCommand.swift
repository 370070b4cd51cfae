internal import BlockStorage
internal import FuseFrontEnd
internal import Glibc
internal import LinuxIO
internal import NBD
internal import PoolEngine
internal import Synchronization
internal import VolumeFS

/// `volfs serve`: a pool over NBD without a mount.
enum ServeCommand {
    private static let signals = [SIGTERM, SIGINT, SIGHUP, SIGQUIT]

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let settings = try settings(arguments, path)
        try refuseIfMounted(path)
        Signals.block(signals)
        let pool = try DirectPool.opened(path, mode: settings.isReadOnly ? .readOnly : .readWrite)
        do throws(Failure) {
            return try serve(pool, settings, path)
        } catch {
            // Nothing was served, so nothing is lost if this fails too.
            try? pool.close()
            throw error
        }
    }

    private static func settings(_ arguments: Arguments, _ path: String) throws(Failure) -> NBDSettings {
        var settings = NBDSettings()
        if let text = arguments["nbd"] {
            guard let address = NBDAddress.parse(text) else {
                throw .usage("--nbd \(text)", "give unix:PATH, HOST:PORT, nbd://HOST or nbd+unix:///?socket=PATH")
            }
            settings.addresses = [address]
            if text.hasPrefix("nbds") && arguments["tls"] == nil { throw .usage("--nbd \(text)", "nbds needs --tls DIRECTORY") }
        } else {
            settings.addresses = [NBDAddress.standard(forPool: path)]
        }
        settings.certificates = arguments["tls"].map { Path.absolute($0) }
        settings.isInsecure = arguments.has("insecure")
        settings.isReadOnly = arguments.has("read-only")
        try settings.check()
        return settings
    }

    private static func options(_ path: String, _ settings: NBDSettings) -> VolumeFileSystem.Options {
        var options = VolumeFileSystem.Options(now: { wallClock() }, pause: { pause(milliseconds: $0) })
        options.source = path
        options.isReadOnly = settings.isReadOnly
        options.process = getpid()
        return options
    }

    private static func serve(_ pool: Pool, _ settings: NBDSettings, _ path: String) throws(Failure) -> Int32 {
        let (wake, watch) = try orFailure(path) { () throws(PoolError) in (try WakeEvent(), try SignalWatch(signals, wakeEvent: try WakeEvent())) }
        var options = options(path, settings)
        options.attention = { wake.wake() }
        let files = VolumeFileSystem(pool: pool, options: options)
        let server = try settings.start(files) { complain("volfs: \($0)") }
        let log = Log(name: "volfs[\(PoolDevice.shortName(path))]", level: .warning)
        _ = log.open(.standardError)
        let maintenance = Maintenance(files: files, log: log, wakeEvent: wake)
        return try orFailure(path) { () throws(PoolError) in
            let maintainer = try JoinableThread { maintenance.run() }
            ServiceManager.notify("READY=1\nSTATUS=serving \(path)\nMAINPID=\(getpid())")
            for address in server.addresses { say(settings.uri(address)) }
            fflush(nil)
            wait(watch)
            ServiceManager.notify("STOPPING=1\nSTATUS=storing changes")
            files.stop()
            let isDone = Latch()
            let impatience = try JoinableThread { endAtSecondSignal(files.pool, isDone) }
            server.stop()
            maintenance.end()
            maintainer.join()
            isDone.set()
            impatience.join()
            let isSuspended = files.pool.statistics().isSuspended
            if !isSuspended { try files.pool.close() }
            return isSuspended || files.refugeText != nil ? 3 : 0
        }
    }

    private static func orFailure<Result>(_ path: String, _ body: () throws(PoolError) -> Result) throws(Failure) -> Result {
        do throws(PoolError) { return try body() } catch { throw Failure(error, object: path, pool: path) }
    }

    /// Returns at the first signal that ends it.
    private static func wait(_ watch: SignalWatch) {
        while true {
            if case .signal(let number) = watch.next(mounts: false, milliseconds: nil), number != SIGHUP { return }
        }
    }

    private static func endAtSecondSignal(_ pool: Pool, _ isDone: Latch) {
        while !isDone.isSet {
            guard let signal = Signals.wait(signals, milliseconds: 25), signal != SIGHUP else { continue }
            try? pool.checkpoint()
            exit(1)
        }
    }
}

/// Set once, by one thread, and watched by others.
private final class Latch: Sendable {
    private let value = Atomic(false)
    // Only the flag itself is communicated; joining the threads orders the rest.
    func set() { value.store(true, ordering: .relaxed) }
    var isSet: Bool { value.load(ordering: .relaxed) }
}
