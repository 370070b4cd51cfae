internal import BlockStorage
package import LinuxIO
internal import PoolEngine
internal import Synchronization
package import VolumeFS

/// Does what is due in a pool: some times a second while requests come, rarely while changes wait for their checkpoint, and
/// not at all when nothing is left to do. One thread runs it.
package final class Maintenance: Sendable {
    /// Milliseconds between two looks while requests come, and after one that failed.
    private static let interval = 50, afterFailure = 200

    private let files: VolumeFileSystem
    private let log: Log
    private let wakeEvent: WakeEvent
    private let flag = Atomic(false)
    private let suspended: @Sendable () -> Void

    /// `wakeEvent` is what the file system calls for attention with; `suspended` is called once if the pool accepts nothing any more.
    package init(files: VolumeFileSystem, log: Log, wakeEvent: WakeEvent, suspended: @escaping @Sendable () -> Void = {}) {
        self.files = files
        self.log = log
        self.wakeEvent = wakeEvent
        self.suspended = suspended
    }

    /// Makes `run` return.
    package func end() {
        // Only the flag itself is communicated, so relaxed order is enough; joining the thread orders the rest.
        flag.store(true, ordering: .relaxed)
        wakeEvent.wake()
    }

    package func run() {
        var hasSaid = false, hasWarned = false
        while !flag.load(ordering: .relaxed) {
            var hasMore = false, hasFailed = false
            do throws(PoolError) {
                hasMore = try files.pool.maintain()
            } catch {
                // A pool that is full or suspended says so to whoever writes; here there is only the next attempt.
                hasFailed = true
            }
            files.tend()
            if !hasSaid { hasSaid = saySuspended() }
            if !hasWarned { hasWarned = warn() }
            if !hasMore { sleep(hasFailed: hasFailed) }
        }
        // It may have ended before there was another look.
        if !hasSaid { _ = saySuspended() }
        if !hasWarned { _ = warn() }
    }

    private func warn() -> Bool {
        guard let text = files.refugeText else { return false }
        log.write(.error, text)
        return true
    }

    private func sleep(hasFailed: Bool) {
        if files.requests.takeActivity() {
            return wakeEvent.sleep(milliseconds: hasFailed ? Self.afterFailure : Self.interval)
        }
        // From here on the next request wakes us. What changed before is seen in what is to be done.
        guard files.requests.rest() else { return }
        wakeEvent.sleep(milliseconds: files.restTime)
    }

    private func saySuspended() -> Bool {
        guard let cause = files.pool.statistics().suspension else { return false }
        suspended()
        log.write(.error, "nothing is written any more; unmount and mount again to recover", ["reason": files.sentence(for: cause)])
        return true
    }
}
