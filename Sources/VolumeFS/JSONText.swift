/// One flat JSON object (RFC 8259), put together field by field.
struct JSONText {
    private var text = "{"

    mutating func add(_ name: String, _ value: String?) {
        begin(name)
        text += value.map(Self.quoted) ?? "null"
    }

    mutating func add(_ name: String, _ value: UInt64) {
        begin(name)
        text += "\(value)"
    }

    mutating func add(_ name: String, _ value: Int64) {
        begin(name)
        text += "\(value)"
    }

    consuming func finish() -> String { text + "}" }

    private mutating func begin(_ name: String) {
        if text.utf8.count > 1 { text += "," }
        text += Self.quoted(name) + ":"
    }

    private static func quoted(_ value: String) -> String {
        var result = "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\" + String(scalar)
            case _ where scalar.value < 32:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
