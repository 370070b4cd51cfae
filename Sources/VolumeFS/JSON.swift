/// A JSON value (RFC 8259) to be printed; objects keep the order of their fields.
package enum JSON: Sendable {
    case text(String)
    case number(Int64)
    case size(UInt64)
    case bool(Bool)
    case null
    case array([JSON])
    case fields([(String, JSON)])

    package static func object(_ fields: [(String, JSON)]) -> String { JSON.fields(fields).description }

    package var description: String {
        switch self {
        case .text(let text): Self.quoted(text)
        case .number(let value): "\(value)"
        case .size(let value): "\(value)"
        case .bool(let value): value ? "true" : "false"
        case .null: "null"
        case .array(let values): "[" + values.map(\.description).joined(separator: ",") + "]"
        case .fields(let fields):
            "{" + fields.map { Self.quoted($0.0) + ":" + $0.1.description }.joined(separator: ",") + "}"
        }
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
