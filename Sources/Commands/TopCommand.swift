internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// `volfs top`: who uses which volume, again and again.
enum TopCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let count = try number(arguments, "count", 1...Int(Int32.max)) ?? Int.max, delay = try milliseconds(arguments)
        guard let mount = MountTable().mount(serving: path) else {
            throw Failure(.unreachable, path, "is not mounted, so nobody uses it", errno: ENODEV)
        }
        let pool = ControlledPool(mount)
        for round in 0..<count {
            if round > 0 { pause(milliseconds: delay) }
            if arguments.isJSON {
                say(try line(pool))
                fflush(nil)
                continue
            }
            let text = try screen(pool)
            // On a terminal over what was there; elsewhere one behind the other.
            say((isatty(1) == 1 && count > 1 ? "\u{1b}[H\u{1b}[2J" : round > 0 ? "\n" : "") + text, end: "")
            fflush(nil)
        }
        return 0
    }

    /// One of a stream.
    private static func line(_ pool: ControlledPool) throws(Failure) -> String {
        let summary = PoolSummary(try pool.counters())
        let users: [JSON] = try pool.users().map { user in
            .fields([
                ("object", .text(user.object)), ("pid", .number(Int64(user.process))), ("command", .text(user.command)), ("mode", .text(user.mode)),
                ("kind", .text(user.kind)), ("since", user.since.isEmpty ? .null : .text(user.since)),
            ])
        }
        return JSON.object([
            ("schema", .text("volfs.top/1")), ("time", .text(Wording.time(wallClock()))), ("state", .text(summary.state)),
            ("allocated", .size(summary.allocated)), ("capacity", .size(summary.capacity)), ("users", .array(users)),
        ])
    }

    private static func screen(_ pool: ControlledPool) throws(Failure) -> String {
        let statistics = try pool.counters(), summary = PoolSummary(statistics), users = try pool.users()
        let head = "\(Wording.time(wallClock()))  \(pool.mountpoint)  \(summary.state)  \(Wording.size(summary.allocated)) of \(Wording.size(summary.capacity)) used\n"
        var rows = [["VOLUME", "PID", "COMMAND", "MODE", "KIND", "SINCE"]]
        for user in users {
            let loops = VolumeUse.loopDevices(of: "\(pool.mountpoint)/\(user.object)")
            rows.append([
                user.object, "\(user.process)", loops.isEmpty ? user.command : loops.joined(separator: ","), user.mode, user.kind,
                user.since.isEmpty ? "-" : user.since,
            ])
        }
        return head + (users.isEmpty ? "nothing is open\n" : TextTable.aligned(rows))
    }

    /// Between two; also parts of a second.
    private static func milliseconds(_ arguments: Arguments) throws(Failure) -> Int {
        guard let text = arguments["delay"] else { return 2000 }
        guard let seconds = Double(text), seconds >= 0.1, seconds <= 86_400 else { throw .usage("--delay \(text)", "needs seconds from 0.1 to 86400") }
        return Int(seconds * 1000)
    }

    static func number(_ arguments: Arguments, _ name: String, _ range: ClosedRange<Int>) throws(Failure) -> Int? {
        guard let text = arguments[name] else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw .usage("--\(name) \(text)", "needs a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }
}
