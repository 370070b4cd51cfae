/// An option of a command.
package struct Option: Sendable {
    package var name: String
    /// One letter, or nil.
    package var letter: Character?
    /// What its value is called, or nil for a switch.
    package var value: String?
    package var help: String
    /// Values there are, for completion; none if they cannot be listed.
    package var choices: [String] = []

    /// Whether the value is several of `choices` with commas between.
    package var isList: Bool { value?.hasSuffix(",…") == true }

    /// As on a command line, for help: `-o, --columns COL,…`.
    package var synopsis: String {
        let long = "--\(name)" + (value.map { " \($0)" } ?? "")
        return letter.map { "-\($0), \(long)" } ?? "    \(long)"
    }

    /// A switch.
    static func flag(_ name: String, letter: Character? = nil, _ help: String) -> Option {
        Option(name: name, letter: letter, value: nil, help: help)
    }

    /// One that takes a value.
    static func taking(
        _ value: String, _ name: String, letter: Character? = nil, _ help: String, choices: [String] = []
    ) -> Option {
        Option(name: name, letter: letter, value: value, help: help, choices: choices)
    }
}
