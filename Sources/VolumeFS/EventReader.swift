/// One who reads `.ctl/events`: lines that were not read yet, and requests that wait for some.
struct EventReader: Sendable {
    struct Waiting: Sendable {
        var token: UInt64
        var count: Int
        var answer: @Sendable (EventAnswer) -> Void
    }

    /// A request that has its answer.
    struct Ready: Sendable {
        var bytes: [UInt8]
        var answer: @Sendable (EventAnswer) -> Void
    }

    private var bytes: [UInt8] = []
    /// Lines there was no room for since `bytes` was full.
    private var missed = 0
    var waiting: [Waiting] = []

    mutating func append(_ line: [UInt8], _ time: UInt64, _ answers: inout [Ready]) {
        if missed > 0 || bytes.count + line.count > EventLog.limit {
            missed += 1
        } else {
            bytes += line
        }
        while !waiting.isEmpty, !bytes.isEmpty {
            let request = waiting.removeFirst()
            answers.append(.init(bytes: take(request.count, time), answer: request.answer))
        }
    }

    mutating func take(_ count: Int, _ time: UInt64) -> [UInt8] {
        if bytes.isEmpty && missed > 0 {
            bytes = EventLog.line("missed", "", [("count", .number(Int64(missed)))], time)
            missed = 0
        }
        // Whole lines, where they fit: a reader that is killed in between leaves none torn in a file.
        var end = min(count, bytes.count)
        if end < bytes.count, let last = bytes[..<end].lastIndex(of: UInt8(ascii: "\n")) { end = last + 1 }
        defer { bytes.removeFirst(end) }
        return Array(bytes[..<end])
    }
}
