/// A command: what is parsed, printed as help and compared with the manual page.
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

    package var synopsis: String {
        let pool = takesPool ? " POOL" : ""
        let rest = operands.isEmpty ? "" : " " + operands
        return "volfs \(name)\(pool)\(rest)" + (options.isEmpty ? "" : " [OPTION]…")
    }
}
