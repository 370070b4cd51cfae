internal import VolumeFS

/// `volfs list`, and the choice of objects by name that other commands share.
enum ListCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let columns = (arguments["columns"] ?? "name,type,size,referenced,created,origin").split(separator: ",").map(String.init)
        for column in columns where !ObjectLine.columns.contains(column) {
            throw .usage("-o \(column)", "no such column; there are \(ObjectLine.columns.joined(separator: ", "))")
        }
        let type = arguments["type"] ?? "all"
        guard ["all", "volume", "snapshot", "clone"].contains(type) else {
            throw .usage("-t \(type)", "no such type; there are volume, snapshot, clone and all")
        }
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let lines = try select(try pool.list(), names: Array(arguments.operands.dropFirst())).filter { line in
            switch type {
            case "volume": !line.isSnapshot
            case "snapshot": line.isSnapshot
            case "clone": line.origin != nil
            default: true
            }
        }
        if arguments.isJSON {
            say(JSON.object([("schema", .text("volfs.list/1")), ("objects", .array(lines.map(\.json)))]))
        } else {
            say(table(lines, columns, arguments), end: "")
        }
        return 0
    }

    /// The objects of these names, or all. A volume's name stands for the volume alone.
    static func select(_ lines: [ObjectLine], names: [String]) throws(Failure) -> [ObjectLine] {
        if names.isEmpty { return lines }
        var found: [ObjectLine] = []
        for name in names {
            guard let line = lines.first(where: { $0.name == name }) else {
                throw Failure(.notFound, name, "no such volume or snapshot; see: volfs list", errno: 2)
            }
            found.append(line)
        }
        return found
    }

    private static func table(_ lines: [ObjectLine], _ columns: [String], _ arguments: Arguments) -> String {
        let rows = lines.map { line in columns.map { line.text($0, exact: arguments.has("exact")) ?? "-" } }
        if arguments.has("no-header") { return rows.map { $0.joined(separator: "\t") + "\n" }.joined() }
        let all = [columns.map { $0.uppercased() }] + rows
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let last = row.count - 1
            return row.indices.map { $0 == last ? row[$0] : row[$0].padded(to: widths[$0] + 2) }.joined() + "\n"
        }.joined()
    }
}
