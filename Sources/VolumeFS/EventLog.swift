internal import BlockStorage
internal import Synchronization

/// What happens in a pool, for those that read `.ctl/events`: each has the lines from the moment it opened the file.
///
/// A reader for whom there is nothing is answered later, by whoever publishes the next event: no thread waits. Memory is bounded:
/// a reader that is too slow is told how many lines it missed. Any thread may call; answers are given with no lock held.
final class EventLog: Sendable {
    /// Bytes that are kept for one reader, and readers at a time.
    static let limit = 64 << 10, maximumReaders = 64

    private struct State: ~Copyable {
        var readers: [UInt64: EventReader] = [:]
        var nextToken: UInt64 = 1
        /// Requests that were announced and do not wait yet; true if they were interrupted meanwhile.
        var announced: [UInt64: Bool] = [:]
        var hasEnded = false
    }

    private let state = Mutex(State())
    private let now: @Sendable () -> UInt64

    init(now: @escaping @Sendable () -> UInt64) { self.now = now }

    var hasReaders: Bool { state.withLock { !$0.readers.isEmpty } }

    func add(_ handle: UInt64) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            if state.readers.count >= Self.maximumReaders { throw .refused(.tooManyReaders(limit: Self.maximumReaders)) }
            state.readers[handle] = EventReader()
        }
    }

    /// Adds one that another daemon had, unless it is there already. Its first line says that some may be missing.
    func resume(_ handle: UInt64, _ object: String) {
        let time = now()
        state.withLock { state in
            guard state.readers[handle] == nil, state.readers.count < Self.maximumReaders else { return }
            var reader = EventReader(), answers: [EventReader.Ready] = []
            reader.append(Self.line("resumed", object, [], time), time, &answers)
            state.readers[handle] = reader
        }
    }

    func remove(_ handle: UInt64) {
        let waiting = state.withLock { $0.readers.removeValue(forKey: handle)?.waiting ?? [] }
        for request in waiting { request.answer(.bytes([])) }
    }

    /// Enters an event of schema volfs.event/1 for every reader.
    func publish(_ kind: String, _ object: String, _ more: @autoclosure () -> [(String, JSON)] = []) {
        guard hasReaders else { return }
        let time = now()
        let line = Self.line(kind, object, more(), time)
        let answers = state.withLock { state in
            var answers: [EventReader.Ready] = []
            for handle in state.readers.keys { state.readers[handle]?.append(line, time, &answers) }
            return answers
        }
        for ready in answers { ready.answer(.bytes(ready.bytes)) }
    }

    /// To be called before a request waits, so that an interruption finds it. Returns its token.
    func announce() -> UInt64 {
        state.withLock { state in
            defer { state.nextToken += 1 }
            state.announced[state.nextToken] = false
            return state.nextToken
        }
    }

    /// Answers with what there is, up to `count` bytes, at once or when there is something. Without `waits` that may be nothing.
    func read(_ handle: UInt64, token: UInt64, count: Int, waits: Bool, _ answer: @escaping @Sendable (EventAnswer) -> Void) {
        let time = now()
        let ready: EventAnswer? = state.withLock { state in
            let wasInterrupted = state.announced.removeValue(forKey: token) ?? false
            let bytes = state.readers[handle]?.take(count, time) ?? []
            // A reader that was removed, or the end of all.
            if !bytes.isEmpty || count == 0 || state.readers[handle] == nil || state.hasEnded { return .bytes(bytes) }
            if wasInterrupted { return .interrupted }
            if !waits { return .nothing }
            state.readers[handle]?.waiting.append(EventReader.Waiting(token: token, count: count, answer: answer))
            return nil
        }
        if let ready { answer(ready) }
    }

    /// Whoever asked under `token` does not want to wait any longer.
    func interrupt(_ token: UInt64) {
        let answer: (@Sendable (EventAnswer) -> Void)? = state.withLock { state in
            if state.announced[token] != nil {
                state.announced[token] = true
                return nil
            }
            for handle in state.readers.keys {
                guard let index = state.readers[handle]?.waiting.firstIndex(where: { $0.token == token }) else { continue }
                return state.readers[handle]?.waiting.remove(at: index).answer
            }
            return nil
        }
        answer?(.interrupted)
    }

    /// From now on readers come to the end once they have read what there is.
    func end() {
        let waiting = state.withLock { state in
            state.hasEnded = true
            var waiting: [EventReader.Waiting] = []
            for handle in state.readers.keys {
                waiting += state.readers[handle]?.waiting ?? []
                state.readers[handle]?.waiting = []
            }
            return waiting
        }
        for request in waiting { request.answer(.bytes([])) }
    }

    static func line(_ kind: String, _ object: String, _ more: [(String, JSON)], _ time: UInt64) -> [UInt8] {
        let fields: [(String, JSON)] = [
            ("schema", .text("volfs.event/1")), ("time", .text(Wording.time(time))), ("kind", .text(kind)), ("object", .text(object)),
        ]
        return Array((JSON.object(fields + more) + "\n").utf8)
    }
}
