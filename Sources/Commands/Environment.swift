internal import Glibc

/// Variables that stand in for what is not said otherwise.
enum Environment {
    /// Nil for one that is not set, or is empty, as a script leaves it that has nothing to say.
    static func value(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
}
