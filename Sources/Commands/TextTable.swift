/// Rows of text in columns.
enum TextTable {
    /// For people: columns as wide as they need to be.
    static func aligned(_ rows: [[String]]) -> String {
        guard let first = rows.first else { return "" }
        let widths = first.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let last = row.count - 1
            return row.indices.map { $0 == last ? row[$0] : row[$0].padded(to: widths[$0] + 2) }.joined() + "\n"
        }.joined()
    }

    /// For programs.
    static func tabbed(_ rows: [[String]]) -> String { rows.map { $0.joined(separator: "\t") + "\n" }.joined() }

    /// A value on one line, and in one column: what would break that is shown as it is written in C.
    static func line(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\n", with: "\\n").replacing("\t", with: "\\t")
    }

    /// Names and values below each other.
    static func fields(_ fields: [(String, String)]) -> String {
        let width = fields.map(\.0.count).max() ?? 0
        return fields.map { $0.padded(to: Swift.max(12, width + 2)) + $1 }.joined(separator: "\n")
    }
}
