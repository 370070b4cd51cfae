internal import VolumeFS

/// The names of one open directory, as they were when it was opened.
final class OpenDirectory: Sendable {
    let entries: [DirectoryEntry]
    /// Bytes of memory, about.
    let size: Int

    init(entries: [DirectoryEntry]) {
        self.entries = entries
        size = entries.reduce(256) { $0 + 64 + $1.name.utf8.count }
    }
}
