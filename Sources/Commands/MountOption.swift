/// A word that `-o` takes, and a configuration file: what is parsed and compared with mount.volfs(8).
package struct MountOption: Sendable {
    /// In the order of the manual page.
    package enum Group: CaseIterable, Sendable { case ownership, behaviour, resources, nbd, diagnostics, fuse, generic, refused }

    package var name: String
    /// What its value is called: words of which one is to be chosen, separated by `|`, or a kind in capitals. Nil for a word
    /// without a value.
    package var value: String?
    package var group: Group
    /// Of a refused one, why, and what to do; else empty.
    package var reason = ""
    /// A value need not be given.
    package var isValueOptional = false
    /// SIGHUP takes a new value from the configuration file.
    package var isReloadable = false

    /// The words one of which is to be chosen, if that is so.
    package var choices: [String]? { value.flatMap { $0.contains("|") ? $0.split(separator: "|").map(String.init) : nil } }
}
