/// An option of a command.
package struct Option: Sendable {
    package var name: String
    /// One letter, or nil.
    package var letter: Character?
    /// What its value is called, or nil for a switch.
    package var value: String?
    package var help: String

    /// As on a command line, for help: `-o, --columns COL,…`.
    package var synopsis: String {
        let long = "--\(name)" + (value.map { " \($0)" } ?? "")
        return letter.map { "-\($0), \(long)" } ?? "    \(long)"
    }
}
