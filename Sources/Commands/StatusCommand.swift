internal import LinuxIO
internal import VolumeFS

/// `volfs status`: whether a pool is well, who has it, and what is going on in it.
enum StatusCommand {
    /// Ends with 8 where the pool accepts nothing any more, and 10 where its server is gone, so that a script can tell.
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let mount = MountTable().mount(serving: path)
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let text = try pool.statistics(isJSON: true)
        guard let statistics = FlatJSON(text) else { throw Failure(.failed, path, "tells nonsense of itself") }
        let controlled = pool as? ControlledPool
        let users = try controlled?.users() ?? [], jobs = controlled?.jobs() ?? []
        let status = PoolStatus(
            source: pool.source, mountpoint: mount?.mountpoint, process: Int32(statistics["pid"]) ?? 0, statistics: statistics, users: users, jobs: jobs,
            trash: try pool.trash())
        say(arguments.isJSON ? status.json : status.text)
        return status.isWell ? 0 : (status.isWaiting ? Failure.Status.unreachable : .corrupt).rawValue
    }
}

/// What there is to tell.
private struct PoolStatus {
    var source: String
    var mountpoint: String?
    var process: Int32
    var statistics: FlatJSON
    var users: [VolumeUse]
    var jobs: [MountedJob]
    var trash: [ObjectLine]

    private var state: String { statistics["state"] }
    private var errors: UInt64 { statistics.number("checksum_errors") }
    private var fromCopy: UInt64 { statistics.number("nodes_from_copy") }
    /// Deleted versions whose blocks are being freed. What clones share waits for them.
    private var freeing: UInt64 {
        let (hidden, waiting) = (statistics.number("hidden"), statistics.number("waiting"))
        return hidden > waiting ? hidden - waiting : 0
    }

    var isWell: Bool { state != "degraded" && !isWaiting }
    /// For its server.
    var isWaiting: Bool { state == "waiting" }

    /// Why it is degraded or waits, or what has no room where it is full.
    private var reason: String? {
        if isWaiting { return statistics.value("server") }
        if !isWell { return cause }
        return state == "full" ? statistics.value("full").map { CommandForm.translated($0, mountpoint: mountpoint ?? source) } : nil
    }

    private var cause: String {
        if let warning = statistics.value("warning") { return warning }
        if statistics.number("suspended") > 0 || errors == 0 { return "an earlier write failed; unmount and mount again to recover" }
        return "damaged data was met; what has it is named by: volfs scrub \(Path.quoted(source))"
    }

    var text: String {
        let summary = PoolSummary(statistics)
        let percent = summary.capacity > 0 ? Int(Double(summary.allocated) / Double(summary.capacity) * 100) : 0
        let command = readText("/proc/\(process)/comm").map { " (\($0.trimmed))" } ?? ""
        var fields = [
            ("pool", source), ("state", state + (reason.map { ": \($0)" } ?? "")),
            ("mounted", mountpoint.map { "at \($0), by process \(process)\(command)" } ?? "no"),
            ("capacity", Wording.size(summary.capacity)), ("allocated", "\(Wording.size(summary.allocated)), \(percent)%"),
            ("available", Wording.size(summary.available)), ("holds", "\(Wording.count(summary.volumes, "volume")), \(Wording.count(summary.snapshots, "snapshot"))"),
            ("trash", InfoCommand.trashText(trash, pool: source)),
            ("freeing", freeing == 0 ? "nothing" : "\(freeing) deleted versions"), ("errors", errorText),
        ]
        fields.append(("open", users.isEmpty ? "nothing" : VolumeUse.sentences(users, mountpoint ?? "").joined(separator: ", ")))
        if let places = statistics.value("nbd") { fields.append(("nbd", places)) }
        fields.append(("jobs", jobs.isEmpty ? "none" : jobs.map(\.status).joined(separator: ", ")))
        return TextTable.fields(fields)
    }

    private var errorText: String {
        if errors == 0 && fromCopy == 0 { return "none since it was opened" }
        return "\(errors) checksum errors, \(fromCopy) nodes read from their copy; run: volfs scrub \(Path.quoted(source))"
    }

    var json: String {
        let summary = PoolSummary(statistics)
        return JSON.object([
            ("schema", .text("volfs.status/1")), ("pool", .text(source)), ("uuid", .text(summary.uuid)), ("state", .text(state)),
            ("well", .bool(isWell)), ("reason", reason.map { .text($0) } ?? .null), ("mountpoint", mountpoint.map { .text($0) } ?? .null),
            ("pid", process == 0 ? .null : .number(Int64(process))), ("capacity", .size(summary.capacity)),
            ("allocated", .size(summary.allocated)), ("available", .size(summary.available)), ("volumes", .size(summary.volumes)),
            ("snapshots", .size(summary.snapshots)), ("freeing", .size(freeing)), ("trash", .size(statistics.number("trash"))), ("checksum_errors", .size(errors)),
            ("nodes_from_copy", .size(fromCopy)), ("open", .array(users.map(\.json))), ("jobs", .array(jobs.map(\.json))),
            ("nbd", .array((statistics.value("nbd") ?? "").split(separator: " ").map { .text(String($0)) })),
        ])
    }
}
