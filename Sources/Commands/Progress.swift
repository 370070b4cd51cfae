internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// How far a long command is: on standard error, on a terminal only unless asked for, at most ten times a second, and one line
/// for each SIGUSR1.
struct Progress {
    enum Mode: String, CaseIterable, Sendable { case always, never, json }

    private let operation: String
    private let mode: Mode
    private let began = wallClock()
    private var first: UInt64?
    private var last: UInt64 = 0

    init(_ operation: String, _ mode: Mode) {
        self.operation = operation
        self.mode = mode
        Interruption.watch()
    }

    /// What `--progress` says; without it what standard error is.
    static func mode(_ arguments: Arguments) throws(Failure) -> Mode {
        guard let word = arguments["progress"] else { return isatty(2) == 1 ? .always : .never }
        guard let mode = Mode(rawValue: word) else { throw .usage("--progress \(word)", "always, never or json") }
        return mode
    }

    /// Bytes done, of so many or of nobody knows how many.
    mutating func show(_ done: UInt64, of total: UInt64?) {
        if first == nil { first = done }
        if Interruption.takeLineRequest() { tell((mode == .always ? "\r" : "") + text(done, total) + "\n") }
        let now = wallClock()
        guard mode != .never, now < last || now - last > 100_000_000 else { return }
        last = now
        say(done, total)
    }

    mutating func end(_ done: UInt64, of total: UInt64?) {
        guard mode != .never else { return }
        say(done, total)
        if mode == .always { tell("\n") }
    }

    /// Leaves the line that is being written over, for a message to come.
    func leaveLine() { if mode == .always && last != 0 { tell("\n") } }

    private func say(_ done: UInt64, _ total: UInt64?) {
        switch mode {
        case .never: break
        case .always: tell("\r" + text(done, total) + "   ")
        case .json:
            let rate = rate(done)
            tell(JSON.object([
                ("schema", .text("volfs.progress/1")), ("operation", .text(operation)), ("done", .size(done)),
                ("total", total.map { .size($0) } ?? .null), ("rate", .size(rate)),
                ("seconds_left", secondsLeft(done, total, rate).map { .size($0) } ?? .null),
            ]) + "\n")
        }
    }

    private func text(_ done: UInt64, _ total: UInt64?) -> String {
        let rate = rate(done)
        var text = Wording.size(done)
        if let total {
            text += " of \(Wording.size(total))"
            if total > 0 { text += ", \(Swift.min(100, UInt64(Double(done) / Double(total) * 100)))%" }
        }
        text += ", \(Wording.size(rate))/s"
        if let left = secondsLeft(done, total, rate) { text += ", \(Self.duration(left)) left" }
        return "\(operation): \(text)"
    }

    private func rate(_ done: UInt64) -> UInt64 {
        let now = wallClock()
        let seconds = max(now > began ? Double(now - began) / 1e9 : 0, 0.001)
        let gone = done > first ?? 0 ? done - (first ?? 0) : 0
        return UInt64(min(Double(gone) / seconds, 1e18))
    }

    private func secondsLeft(_ done: UInt64, _ total: UInt64?, _ rate: UInt64) -> UInt64? {
        guard let total, total > done, rate > 0 else { return nil }
        return (total - done) / rate
    }

    private static func duration(_ seconds: UInt64) -> String {
        seconds < 120 ? "\(seconds) s" : seconds < 7200 ? "\(seconds / 60) min" : "\(seconds / 3600) h"
    }

    private func tell(_ text: String) { _ = text.withCString { write(2, $0, strlen($0)) } }
}
