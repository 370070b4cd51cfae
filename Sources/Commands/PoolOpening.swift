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

    func open() throws(Failure) -> Pool {
        let path = settings.options.source
        let mode: Pool.Mode = settings.options.isReadOnly ? .readOnly : .readWrite
        let progress = Progress()
        var environment = DirectPool.environment
        environment.recovering = { done, total in progress.set(done, total) }
        reporter.begin(extends: true) { progress.text }
        let start = monotonicClock(), limit = start + UInt64(settings.lockWait) * 1_000_000_000
        var isTold = false
        while true {
            do throws(Failure) {
                return try DirectPool.opened(
                    path, mode: mode, configuration: settings.configuration, isDirect: settings.isDirect, environment: environment)
            } catch {
                // An attempt may take a while itself.
                let now = monotonicClock()
                guard error.status == .busy, now < limit else { throw error }
                if !isAwaited() { throw Failure(.terminated, path, "nobody waits for the mount any more", errno: EINTR) }
                progress.wait(error.message)
                if !isTold && now >= start + 1_000_000_000 {
                    isTold = true
                    settings.options.log.write(
                        .warning, "waiting for the pool", ["pool": path, "reason": error.message, "seconds": "\(settings.lockWait)"])
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
