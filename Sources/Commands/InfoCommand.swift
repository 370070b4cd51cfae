internal import VolumeFS

/// `volfs info`: the pool, or some of what is in it.
enum InfoCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let names = Array(arguments.operands.dropFirst())
        if names.isEmpty {
            let summary = try pool.summary()
            say(arguments.isJSON ? summary.json.description : text(summary, try pool.trash(), arguments.operands[0]))
            return 0
        }
        var (found, failures) = ListCommand.found(try pool.list(), names: names, of: pool, arguments)
        let lines = try pool.described(try pool.counted(found))
        // What was there a moment ago.
        found.removeAll { object in lines.contains { $0.name == object.name } }
        failures += found.map { pool.missing($0.name, in: arguments.operands[0]) }
        if failures.count == names.count { return try ChangeReport.conclude(failures, of: names.count, arguments) }
        if arguments.isJSON {
            say(names.count == 1 ? lines[0].json.description : ListCommand.json(lines))
        } else {
            say(lines.map(text).joined(separator: "\n\n"))
        }
        return try ChangeReport.conclude(failures, of: names.count, arguments)
    }

    private static func text(_ summary: PoolSummary, _ trash: [ObjectLine], _ pool: String) -> String {
        TextTable.fields([
            ("uuid", summary.uuid), ("state", summary.state), ("block size", "\(summary.blockSize)"),
            ("capacity", Wording.size(summary.capacity)), ("allocated", Wording.size(summary.allocated)),
            ("free", Wording.size(summary.capacity - summary.allocated)), ("available", Wording.size(summary.available)),
            ("volumes", "\(summary.volumes)"), ("snapshots", "\(summary.snapshots)"), ("trash", trashText(trash, pool: pool)),
        ])
    }

    /// What was removed and can still be had back.
    static func trashText(_ trash: [ObjectLine], pool: String) -> String {
        if trash.isEmpty { return "empty" }
        let some = trash.prefix(5).map { "\($0.name) (\(Wording.size($0.referenced)))" }.joined(separator: ", ")
        return trash.count > 5 ? "\(some) and \(trash.count - 5) more; see: volfs list \(Path.quoted(pool)) -t trash" : some
    }

    private static func text(_ line: ObjectLine) -> String {
        let set = ObjectLine.settable.filter { line.settings?[$0] != nil }
        let columns = ObjectLine.columns.filter { !ObjectLine.settable.contains($0) } + set
        return TextTable.fields(columns.map { ($0, line.text($0, exact: false) ?? "-") })
    }
}
