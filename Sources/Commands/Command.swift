/// A command: what is parsed, run, printed as help, completed, and compared with the manual page.
package struct Command: Sendable {
    package var name: String
    package var aliases: [String] = []
    /// What follows the pool.
    package var operands: String
    package var help: String
    package var options: [Option] = []
    /// Least and most operands, the pool included.
    package var count: ClosedRange<Int>
    package var takesPool = true
    /// What each operand is, the pool not included; the last stands for all that follow.
    package var kinds: [Operand] = []
    var run: @Sendable (Arguments) throws(Failure) -> Int32

    package var synopsis: String {
        let pool = takesPool ? " POOL" : ""
        let rest = operands.isEmpty ? "" : " " + operands
        return "volfs \(name)\(pool)\(rest)" + (options.isEmpty ? "" : " [OPTION]…")
    }

    /// What completes an operand: one of these words, or what a shell finds out.
    package enum Operand: Equatable, Sendable {
        case file, directory, volume, snapshot, object, trash, property, command, none
        /// One that can be set.
        case setting
        case words([String])
    }
}
