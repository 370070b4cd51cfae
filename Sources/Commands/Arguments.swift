internal import VolumeFS

/// A command line taken apart by its command's table.
package struct Arguments: Sendable {
    /// The command's name, whichever of its names was given.
    package var command = ""
    package var operands: [String] = []
    private var values: [String: String] = [:]

    package init() {}

    /// Options may stand anywhere; `--` ends them; a lone `-` is an operand. Throws a usage failure that names the word.
    package init(_ words: ArraySlice<String>, for command: Command) throws(Failure) {
        self.command = command.name
        var rest = words
        var onlyOperands = false
        while let word = rest.popFirst() {
            if onlyOperands || word == "-" || !word.hasPrefix("-") || Self.isNegativeSize(word, command) {
                operands.append(word)
            } else if word == "--" {
                onlyOperands = true
            } else if word.hasPrefix("--") {
                try takeLong(word, &rest, command)
            } else {
                try takeLetters(word, &rest, command)
            }
        }
    }

    package subscript(_ name: String) -> String? { values[name] }
    package func has(_ name: String) -> Bool { values[name] != nil }
    package var isJSON: Bool { has("json") }

    /// `resize POOL VOL -1G` makes a volume smaller, `shrink POOL -1G` a pool.
    private static func isNegativeSize(_ word: String, _ command: Command) -> Bool {
        ["resize", "shrink"].contains(command.name) && Size.parse(String(word.dropFirst())) != nil
    }

    private mutating func takeLong(_ word: String, _ rest: inout ArraySlice<String>, _ command: Command) throws(Failure) {
        let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let option = command.options.first(where: { $0.name == parts[0] }) else { throw unknown("--\(parts[0])", command) }
        if parts.count == 2 && option.value == nil { throw .usage("--\(parts[0])", "takes no value") }
        set(option, parts.count == 2 ? parts[1] : try value(of: option, word, &rest))
    }

    private mutating func takeLetters(_ word: String, _ rest: inout ArraySlice<String>, _ command: Command) throws(Failure) {
        var letters = word.dropFirst()
        while let letter = letters.popFirst() {
            guard let option = command.options.first(where: { $0.letter == letter }) else { throw unknown("-\(letter)", command) }
            if option.value != nil && !letters.isEmpty {
                set(option, String(letters))
                return
            }
            set(option, try value(of: option, "-\(letter)", &rest))
        }
    }

    /// `-o a -o b` is `-o a,b`.
    private mutating func set(_ option: Option, _ value: String) {
        values[option.name] = option.name == "options" ? values[option.name].map { "\($0),\(value)" } ?? value : value
    }

    private func value(of option: Option, _ word: String, _ rest: inout ArraySlice<String>) throws(Failure) -> String {
        guard let name = option.value else { return "" }
        guard let value = rest.popFirst() else { throw .usage(word, "needs a value, \(name)") }
        return value
    }

    private func unknown(_ word: String, _ command: Command) -> Failure {
        if let absence = VolumeFileSystem.absence(of: word.filter { $0 != "-" }) { return .usage(word, "no such option of \(command.name); \(absence)") }
        let words = command.options.map { "--\($0.name)" } + ["--help"]
        return .usage(word, "no such option of \(command.name); " + Spelling.advice(word, of: words, otherwise: "see: volfs help \(command.name)"))
    }
}
