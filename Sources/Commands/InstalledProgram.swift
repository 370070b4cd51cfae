internal import Glibc

/// Programs that are started by their name.
enum InstalledProgram {
    /// Whether a directory of PATH has one that may be started.
    static func isThere(_ name: String) -> Bool {
        guard let path = getenv("PATH") else { return false }
        return String(cString: path).split(separator: ":").contains { access("\($0)/\(name)", X_OK) == 0 }
    }
}
