internal import BlockStorage
internal import FuseFrontEnd
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import Synchronization

/// Opening a pool for a mount: waiting for who has it still, and saying how far its recovery is.
struct PoolOpening {
    let settings: MountSettings
    let reporter: ServiceReporter
    /// Whether somebody still waits for the mount to be ready.
    let isAwaited: () -> Bool

    /// Seconds that a mount waits for its pool that nobody would serve otherwise.
    private static let leastPatience = 30

    /// Whether who has the device is known not to go by himself.
    private func isLasting(_ failure: Failure) -> Bool { failure.errno == EBUSY && DeviceUse(path: settings.options.source).isLasting }

    func open() throws(Failure) -> Pool {
        let path = settings.options.source
        let mode: Pool.Mode = settings.options.isReadOnly ? .readOnly : .readWrite
        let progress = Progress()
        var environment = DirectPool.environment
        environment.recovering = { done, total in progress.set(done, total) }
        reporter.begin(extends: true) { progress.text }
        let isKept = settings.options.kept != nil, patience = isKept ? max(settings.lockWait, Self.leastPatience) : settings.lockWait
        let start = monotonicClock(), limit = start + UInt64(patience) * 1_000_000_000
        var isTold = false, isDirect = settings.isDirect
        while true {
            do throws(Failure) {
                return try DirectPool.opened(
                    path, mode: mode, configuration: settings.configuration, isDirect: isDirect, environment: environment)
            } catch {
                // An attempt may take a while itself.
                let now = monotonicClock()
                if isDirect && isKept && error.status != .busy {
                    settings.options.log.write(.warning, "going on without direct", ["pool": path, "reason": error.message])
                    isDirect = false
                    continue
                }
                guard error.status == .busy, now < limit, !isLasting(error) else { throw error }
                if !isAwaited() { throw Failure(.terminated, path, "nobody waits for the mount any more", errno: EINTR) }
                progress.wait(error.message)
                if !isTold && now >= start + 1_000_000_000 {
                    isTold = true
                    settings.options.log.write(
                        .warning, "waiting for the pool", ["pool": path, "reason": error.message, "seconds": "\(patience)"])
                }
                pause(milliseconds: 100)
            }
        }
    }

    /// Read by the reporter's thread.
    private final class Progress: Sendable {
        private let state = Mutex<(text: String, done: Int, total: Int)>(("opening", 0, 0))

        func wait(_ reason: String) { state.withLock { $0.text = "waiting: \(reason)" } }

        func set(_ done: Int, _ total: Int) { state.withLock { ($0.done, $0.total) = (done, total) } }

        var text: String {
            state.withLock { state in
                state.total == 0 ? state.text : "recovering \(state.done * 100 / state.total) %"
            }
        }
    }
}
