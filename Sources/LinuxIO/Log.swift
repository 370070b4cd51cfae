internal import CLinux
internal import Glibc
internal import Synchronization

/// The daemon's log. A message is one line of `key=value`; of one kind at most twenty in ten seconds, and the next line of
/// that kind then says how many were left out. Any thread may write.
public final class Log: Sendable {
    /// As syslog(3) numbers them.
    public enum Level: Int32, CaseIterable, Comparable, Sendable {
        case error = 3, warning = 4, info = 6, debug = 7

        public init?(name: String) {
            guard let level = Self.allCases.first(where: { $0.name == name }) else { return nil }
            self = level
        }

        public var name: String { "\(self)" }
        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    public enum Target: Equatable, Sendable {
        case standardError
        /// Standard error, with the priorities that journald takes from the start of a line.
        case journal
        case syslog
        case file(String)
    }

    /// Lines of one kind in `window`, and nanoseconds that it lasts.
    static let limit = 20, window: UInt64 = 10_000_000_000

    fileprivate struct State {
        var target: Target
        var level: Level
        /// Of a file. The number stays the same for good: who writes meanwhile writes to the old file or the new one.
        var descriptor: Int32 = -1
        var windows: [String: (start: UInt64, count: Int)] = [:]
    }
    private let state: Mutex<State>
    private let name: String
    private let now: @Sendable () -> UInt64

    /// `name` is what syslog's lines begin with; `now` gives nanoseconds since some moment.
    public init(
        name: String, target: Target = .standardError, level: Level = .info,
        now: @escaping @Sendable () -> UInt64 = { monotonicClock() }
    ) {
        self.name = name
        self.now = now
        state = Mutex(State(target: target, level: level))
    }

    public var level: Level {
        get { state.withLock { $0.level } }
        set { state.withLock { $0.level = newValue } }
    }

    /// Writes to `target` from now on, a file opened anew. Returns 0 or an errno; after a failure the log goes on as before.
    public func open(_ target: Target) -> Int32 {
        guard case .file(let path) = target else {
            state.withLock { $0.target = target }
            return 0
        }
        // Without waiting: nobody may read from a pipe.
        let opened = volfs_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0o640)
        guard opened >= 0 else { return errno }
        let unused = state.withLock { state -> Int32 in
            state.target = target
            if state.descriptor < 0 {
                state.descriptor = opened
                return -1
            }
            dup2(opened, state.descriptor)
            _ = fcntl(state.descriptor, F_SETFD, FD_CLOEXEC)
            return opened
        }
        if unused >= 0 { close(unused) }
        return 0
    }

    /// Opens the log's file anew, as after it was renamed.
    public func reopen() -> Int32 { open(state.withLock { $0.target }) }

    /// One line: what happened, which is its kind, and the particulars.
    public func write(_ level: Level, _ message: String, _ fields: KeyValuePairs<String, String> = [:]) {
        let time = now()
        let (target, descriptor, leftOut) = state.withLock { state -> (Target?, Int32, Int) in
            guard level <= state.level else { return (nil, -1, 0) }
            guard let leftOut = state.admit(message, at: time) else { return (nil, -1, 0) }
            return (state.target, state.descriptor, leftOut)
        }
        guard let target else { return }
        var line = "msg=\(Self.quoted(message))"
        for (key, value) in fields { line += " \(key)=\(Self.quoted(value))" }
        if leftOut > 0 { line += " left_out=\(leftOut)" }
        put(line, level, target, descriptor)
    }

    private func put(_ line: String, _ level: Level, _ target: Target, _ descriptor: Int32) {
        switch target {
        case .standardError: Self.send("volfs: level=\(level.name) \(line)\n", to: 2)
        case .journal: Self.send("<\(level.rawValue)>\(line)\n", to: 2)
        case .syslog: volfs_syslog(level.rawValue, name, line)
        case .file: Self.send("\(Self.date()) level=\(level.name) \(line)\n", to: descriptor)
        }
    }

    /// In one write, so that lines of several threads do not mix.
    private static func send(_ line: String, to descriptor: Int32) {
        var line = line
        line.withUTF8 { _ = Glibc.write(descriptor, $0.baseAddress, $0.count) }
    }

    /// A value without blanks, quotes or equals signs as it is, any other in quotes. What would end or forge a line is a
    /// question mark.
    static func quoted(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 && !"\"=\\".unicodeScalars.contains($0) }
        if isPlain { return text }
        var result = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { result += "\\" }
            result.unicodeScalars.append(scalar.value < 32 || scalar.value == 127 ? "?" : scalar)
        }
        return result + "\""
    }

    private static func date() -> String {
        var seconds = time(nil)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            let count = strftime(buffer.baseAddress, 32, "%Y-%m-%dT%H:%M:%SZ", &parts)
            return String(decoding: UnsafeRawBufferPointer(buffer)[..<count], as: UTF8.self)
        }
    }
}

extension Log.State {
    /// Nil for a line too many of its kind, else how many were left out before it.
    fileprivate mutating func admit(_ kind: String, at time: UInt64) -> Int? {
        let known = windows[kind] ?? (start: time, count: 0)
        if time &- known.start >= Log.window {
            // Kinds are few, as they are words of the program.
            windows[kind] = (start: time, count: 1)
            return max(0, known.count - Log.limit)
        }
        windows[kind] = (start: known.start, count: known.count + 1)
        return known.count < Log.limit ? 0 : nil
    }
}
