internal import LinuxIO
internal import Synchronization

/// Runs `body` on so many threads of their own, with their numbers, and returns when all have ended.
package func inParallel(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let gates = (0..<count).map { _ in Gate() }
    for index in 0..<count {
        let gate = gates[index]
        do {
            try JoinableThread {
                body(index)
                gate.open()
            }.detach()
        } catch {
            preconditionFailure("no thread could be started: \(error)")
        }
    }
    for gate in gates { gate.wait(until: .max) }
}

/// What went wrong on several threads.
package final class Failures: Sendable {
    private let lines = Mutex<[String]>([])
    package init() {}
    package func add(_ line: String) { lines.withLock { $0.append(line) } }
    package var all: [String] { lines.withLock { $0 } }
}
