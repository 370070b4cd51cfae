internal import BlockStorage
internal import LinuxIO
internal import PoolEngine
internal import Synchronization

/// Work of the engine in this thread, while another shows how far it is and cancels it when a signal asks for the end.
enum WatchedWork {
    static func run<Result>(
        _ operation: String, _ mode: Progress.Mode, _ body: (JobControl) throws(PoolError) -> Result
    ) throws(PoolError) -> Result {
        let control = JobControl(), isDone = Flag()
        var thread: JoinableThread?
        Interruption.watch()
        // Without the thread it is done unwatched.
        thread = try? JoinableThread {
            var progress = Progress(operation, mode)
            while !isDone.isSet {
                pause(milliseconds: 50)
                if Interruption.isEnding { control.cancel() }
                let (done, total) = control.progress
                progress.show(done, of: max(done, total))
            }
            let done = control.progress.done
            progress.end(done, of: done)
        }
        defer {
            isDone.set()
            thread.take()?.join()
        }
        return try body(control)
    }

    /// Only the flag itself is communicated, so relaxed order is enough; joining the thread orders the rest.
    private final class Flag: Sendable {
        private let value = Atomic(false)
        func set() { value.store(true, ordering: .relaxed) }
        var isSet: Bool { value.load(ordering: .relaxed) }
    }
}
