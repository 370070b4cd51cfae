internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// `volfs iostat`: what a mounted pool is asked for, interval by interval; the first line is all since it was mounted.
enum IostatCommand {
    private static let names = ["reads", "writes", "read_bytes", "written_bytes", "flushes", "discards"]
    private static let header = ["TIME", "SECONDS", "READS", "WRITES", "READ", "WRITTEN", "FLUSHES", "DISCARDS"]

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let interval = try arguments.operands.count > 1 ? number(arguments.operands[1], "seconds, as 5 or 0.5", 0.1...86_400) : nil
        let count = try arguments.operands.count > 2 ? Int(number(arguments.operands[2], "a count, 1 or more", 1...1e9)) : interval == nil ? 1 : Int.max
        guard let mount = MountTable().mount(serving: path) else {
            throw Failure(.unreachable, path, "is not mounted, so nothing is read or written", errno: ENODEV)
        }
        let pool = ControlledPool(mount)
        var before: [UInt64] = names.map { _ in 0 }, then: UInt64?
        for round in 0..<count {
            if round > 0 { pause(milliseconds: Int((interval ?? 1) * 1000)) }
            let statistics = try pool.counters(), now = wallClock()
            let after = names.map { statistics.number($0) }
            let changes = zip(after, before).map { $0 > $1 ? $0 - $1 : 0 }
            let milliseconds = then.map { now > $0 ? (now - $0) / 1_000_000 : 0 }
            tell(changes, at: now, milliseconds, arguments, isFirst: round == 0)
            (before, then) = (after, now)
        }
        return 0
    }

    private static func tell(_ changes: [UInt64], at now: UInt64, _ milliseconds: UInt64?, _ arguments: Arguments, isFirst: Bool) {
        if arguments.isJSON {
            let head: [(String, JSON)] = [
                ("schema", .text("volfs.iostat/1")), ("time", .text(Wording.time(now))), ("milliseconds", milliseconds.map { .size($0) } ?? .null),
            ]
            say(JSON.object(head + zip(names, changes).map { ($0, .size($1)) }))
        } else if arguments.has("no-header") {
            say(([Wording.time(now), milliseconds.map { "\($0)" } ?? "-"] + changes.map { "\($0)" }).joined(separator: "\t"))
        } else {
            let seconds = milliseconds.map { "\($0 / 1000).\($0 / 100 % 10)" } ?? "all"
            let row = [Wording.time(now), seconds, "\(changes[0])", "\(changes[1])", Wording.size(changes[2]), Wording.size(changes[3]), "\(changes[4])", "\(changes[5])"]
            let widths = [22, 9, 10, 10, 12, 12, 9, 9]
            if isFirst { say(zip(header, widths).map { $0.padded(to: $1) }.joined().trimmed) }
            say(zip(row, widths).map { $0.padded(to: $1) }.joined().trimmed)
        }
        fflush(nil)
    }

    private static func number(_ text: String, _ what: String, _ range: ClosedRange<Double>) throws(Failure) -> Double {
        guard let value = Double(text), range.contains(value) else { throw .usage(text, "needs \(what)") }
        return value
    }
}
