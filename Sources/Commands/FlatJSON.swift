/// The fields of a JSON object on one line, as the daemon writes it.
package struct FlatJSON {
    /// Names and values in their order; a text's without quotes and escapes, anything else's as it stands there.
    package private(set) var fields: [(name: String, value: String)] = []
    private var rest: Substring

    /// Nil if `line` is no object. An object or array inside is a value, as it stands.
    package init?(_ line: some StringProtocol) {
        rest = Substring(line)
        skipBlanks()
        guard take("{") else { return nil }
        skipBlanks()
        if take("}") { return }
        while true {
            skipBlanks()
            guard let name = text() else { return nil }
            skipBlanks()
            guard take(":") else { return nil }
            skipBlanks()
            guard let value = rest.first == "\"" ? text() : plain() else { return nil }
            fields.append((name, value))
            skipBlanks()
            if take(",") { continue }
            guard take("}") else { return nil }
            return
        }
    }

    /// "" for one that is not there.
    package subscript(_ name: String) -> String { fields.first { $0.name == name }?.value ?? "" }
    /// Nil for one that is not there, null or empty.
    package func value(_ name: String) -> String? { ["", "null"].contains(self[name]) ? nil : self[name] }
    package func number(_ name: String) -> UInt64 { UInt64(self[name]) ?? 0 }

    private mutating func skipBlanks() { rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" } }

    private mutating func take(_ character: Character) -> Bool {
        guard rest.first == character else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func text() -> String? {
        guard take("\"") else { return nil }
        var result = ""
        while let character = rest.popFirst() {
            if character == "\"" { return result }
            guard character == "\\" else {
                result.append(character)
                continue
            }
            switch rest.popFirst() {
            case "n": result.append("\n")
            case "t": result.append("\t")
            case "u":
                guard let code = UInt32(rest.prefix(4), radix: 16), let scalar = Unicode.Scalar(code) else { return nil }
                rest.removeFirst(4)
                result.unicodeScalars.append(scalar)
            case let other?: result.append(other)
            case nil: return nil
            }
        }
        return nil
    }

    /// A number, a word, or something with brackets around it.
    private mutating func plain() -> String? {
        var depth = 0, isText = false, isEscaped = false
        let value = rest.prefix { character in
            if isText {
                if !isEscaped && character == "\"" { isText = false }
                isEscaped = !isEscaped && character == "\\"
                return true
            }
            switch character {
            case "\"": isText = true
            case "{", "[": depth += 1
            case "}", "]":
                if depth == 0 { return false }
                depth -= 1
            case ",": if depth == 0 { return false }
            default: break
            }
            return true
        }
        rest = rest.dropFirst(value.count)
        if rest.isEmpty && depth > 0 { return nil }
        return value.isEmpty ? nil : String(value).trimmed
    }
}

extension String {
    /// Without blanks at its ends.
    var trimmed: String {
        var part = self[...]
        while part.first?.isWhitespace == true { part.removeFirst() }
        while part.last?.isWhitespace == true { part.removeLast() }
        return String(part)
    }
}
