internal import VolumeFS

/// `volfs list`, and the choice of objects by name that other commands share.
enum ListCommand {
    static let types = ["all", "volume", "snapshot", "clone", "trash"]

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let wanted = Set((arguments["type"] ?? "all").split(separator: ",").map(String.init))
        let usual = wanted == ["trash"] ? "name,size,referenced,created,removed" : "name,type,size,referenced,created,origin"
        var columns = (arguments["columns"] ?? usual).split(separator: ",").map(String.init)
        if columns == ["all"] { columns = ObjectLine.columns }
        for column in columns { try checkColumn(column, "-o") }
        let sort = arguments["reverse"] ?? arguments["sort"], isReverse = arguments.has("reverse")
        if let sort { try checkColumn(sort, isReverse ? "-S" : "-s") }
        for type in wanted where !types.contains(type) {
            throw .usage("-t \(type)", "no such type; there are \(types.joined(separator: ", "))")
        }
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let names = Array(arguments.operands.dropFirst())
        // A volume may have the name of one in the trash.
        let isOfTrash = wanted == ["trash"]
        let all = try (isOfTrash ? [] : pool.list()) + (wanted.contains("trash") ? pool.trash() : [])
        var (chosen, failures) = found(all, names: names, of: pool, isRecursive: arguments.has("recursive"), arguments)
        if isOfTrash { failures = failures.map { TrashCommands.notThere($0.object, arguments) } }
        if !failures.isEmpty && failures.count == names.count { return try ChangeReport.conclude(failures, of: names.count, arguments) }
        var lines = chosen.filter { line in
            if line.isInTrash { return true }
            return wanted.contains("all") || wanted.contains(line.isSnapshot ? "snapshot" : "volume") || (wanted.contains("clone") && line.origin != nil)
        }
        // A walk for each object, so only if that was asked for.
        let shown = columns + [sort ?? ""], settings = ObjectLine.settable.filter { shown.contains($0) }
        if !settings.isEmpty { lines = try pool.described(lines, settings) }
        if shown.contains(where: { ObjectLine.counted.contains($0) }) { lines = try pool.counted(lines) }
        if let sort { lines = sorted(lines, by: sort, isReverse: isReverse) }
        if arguments.isJSON {
            say(json(lines))
        } else {
            say(table(lines, columns, arguments), end: "")
        }
        return try ChangeReport.conclude(failures, of: names.count, arguments)
    }

    /// The objects of these names, or all, and what there is to say of the others.
    static func found(
        _ lines: [ObjectLine], names: [String], of pool: any PoolAccess, isRecursive: Bool = false, _ arguments: Arguments
    ) -> (lines: [ObjectLine], failures: [Failure]) {
        if names.isEmpty { return (lines, []) }
        var found: [ObjectLine] = [], failures: [Failure] = []
        for name in names {
            do throws(Failure) {
                found += try select(lines, names: [name], of: pool, isRecursive: isRecursive, arguments)
            } catch {
                failures.append(error)
            }
        }
        return (found, failures)
    }

    static func json(_ lines: [ObjectLine]) -> String {
        JSON.object([("schema", .text("volfs.list/1")), ("objects", .array(lines.map(\.json)))])
    }

    private static func checkColumn(_ column: String, _ option: String) throws(Failure) {
        let columns = ObjectLine.columns + ObjectLine.moreColumns
        guard columns.contains(column) else {
            throw .usage("\(option) \(column)", "no such column; there are \(columns.joined(separator: ", "))")
        }
    }

    /// The objects of these names, or all. A volume's name stands for the volume alone, unless `isRecursive`.
    static func select(
        _ lines: [ObjectLine], names: [String], of pool: any PoolAccess, isRecursive: Bool = false, _ arguments: Arguments
    ) throws(Failure) -> [ObjectLine] {
        if names.isEmpty { return lines }
        var found: [ObjectLine] = []
        for name in names {
            // Two, where one is in the trash.
            let named = lines.filter { $0.name == name }
            if named.isEmpty { throw pool.missing(name, in: arguments.operands[0]) }
            found += named
            if isRecursive && named.contains(where: { !$0.isSnapshot && !$0.isInTrash }) { found += lines.filter { $0.isSnapshot && split($0.name).volume == name } }
        }
        return found
    }

    /// Those that are equal stay in their order.
    private static func sorted(_ lines: [ObjectLine], by column: String, isReverse: Bool) -> [ObjectLine] {
        lines.enumerated().sorted { a, b in
            let (x, y) = (a.element.text(column, exact: true) ?? "", b.element.text(column, exact: true) ?? "")
            if x == y { return a.offset < b.offset }
            if let x = UInt64(x), let y = UInt64(y) { return isReverse ? x > y : x < y }
            return isReverse ? x > y : x < y
        }.map(\.element)
    }

    private static func table(_ lines: [ObjectLine], _ columns: [String], _ arguments: Arguments) -> String {
        let rows = lines.map { line in columns.map { line.text($0, exact: arguments.has("exact")) ?? "-" } }
        if arguments.has("no-header") { return TextTable.tabbed(rows) }
        return TextTable.aligned([columns.map { $0.uppercased() }] + rows)
    }
}
