internal import BlockStorage
internal import LinuxIO
internal import PoolEngine
internal import Synchronization

/// Work in this thread, while another shows how far it is and cancels it when a signal asks for the end.
enum WatchedWork {
    /// Of the engine.
    static func run<Result>(
        _ operation: String, _ mode: Progress.Mode, _ body: (JobControl) throws(PoolError) -> Result
    ) throws(PoolError) -> Result {
        let control = JobControl()
        return try run(operation, mode, progress: { control.progress }, cancel: { control.cancel() }) { () throws(PoolError) in try body(control) }
    }

    /// Of anything that tells how many bytes of how many it has done. `cancel` may be called many times.
    static func run<Result, Problem: Error>(
        _ operation: String, _ mode: Progress.Mode, progress look: @escaping @Sendable () -> (done: UInt64, total: UInt64),
        cancel: @escaping @Sendable () -> Void, _ body: () throws(Problem) -> Result
    ) throws(Problem) -> Result {
        let isDone = Flag()
        var thread: JoinableThread?
        Interruption.watch()
        // Without the thread it is done unwatched.
        thread = try? JoinableThread {
            var progress = Progress(operation, mode)
            var last: UInt64 = 0
            while !isDone.isSet {
                pause(milliseconds: 50)
                if Interruption.isEnding { cancel() }
                let (done, total) = look()
                last = max(last, done)
                progress.show(last, of: max(last, total))
            }
            last = max(last, look().done)
            progress.end(last, of: last)
        }
        defer {
            isDone.set()
            thread.take()?.join()
        }
        return try body()
    }

    /// Only the flag itself is communicated, so relaxed order is enough; joining the thread orders the rest.
    private final class Flag: Sendable {
        private let value = Atomic(false)
        func set() { value.store(true, ordering: .relaxed) }
        var isSet: Bool { value.load(ordering: .relaxed) }
    }
}
