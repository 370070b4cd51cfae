internal import BlockStorage
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
        let files = VolumeFileSystem(pool: pool, options: options(path, settings))
        do throws(Failure) {
            return try serve(files, settings, path)
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

    private static func serve(_ files: VolumeFileSystem, _ settings: NBDSettings, _ path: String) throws(Failure) -> Int32 {
        let server = try settings.start(files) { complain("volfs: \($0)") }
        let isDone = Latch()
        do throws(PoolError) {
            let maintenance = try JoinableThread { files.maintain { isDone.isSet } }
            ServiceManager.notify("READY=1\nSTATUS=serving \(path)\nMAINPID=\(getpid())")
            for address in server.addresses { say(NBDAddress.uri(address, isEncrypted: settings.certificates != nil)) }
            fflush(nil)
            wait(files)
            ServiceManager.notify("STOPPING=1\nSTATUS=storing changes")
            files.stop()
            let impatience = try JoinableThread { endAtSecondSignal(files.pool, isDone) }
            server.stop()
            isDone.set()
            maintenance.join()
            impatience.join()
            let isSuspended = files.pool.statistics().isSuspended
            if !isSuspended { try files.pool.close() }
            return isSuspended ? 3 : 0
        } catch {
            isDone.set()
            throw Failure(error, object: path, pool: path)
        }
    }

    /// Returns at the first signal that ends it.
    private static func wait(_ files: VolumeFileSystem) {
        var hasSaid = false
        while true {
            if let signal = Signals.wait(signals, milliseconds: 500), signal != SIGHUP { return }
            if !hasSaid, let cause = files.pool.statistics().suspension {
                hasSaid = true
                complain("volfs: nothing is written any more: \(files.sentence(for: cause)); end this and serve again to recover")
            }
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
