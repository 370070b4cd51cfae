internal import Glibc
internal import LinuxIO

/// `/etc/volfs/NAME.conf`: lines `key = value`, where a key is a mount option, `pool` or `mountpoint` (volfs.conf(5)).
package struct ConfigurationFile: Sendable {
    package private(set) var words: [MountWord] = []
    /// As written; nil if not set.
    package private(set) var pool: String?
    package private(set) var mountpoint: String?
    package let path: String
    /// Lines that were left out.
    package private(set) var remarks: [Failure] = []
    private let isTolerant: Bool

    /// Reads a file. Throws a failure that names the file, and the line for one that is wrong. `isTolerant` is for who goes on
    /// whatever a line says: it is left out, or is a word for `MountSettings` to find wrong.
    package init(path: String, isTolerant: Bool = false) throws(Failure) {
        // A directory can be opened, but has no text.
        guard let text = readText(path), opendirFails(path) else {
            throw Failure(.notFound, path, "the configuration cannot be read: \(String(cString: strerror(errno)))", errno: errno)
        }
        try self.init(text, path: path, isTolerant: isTolerant)
    }

    package init(_ text: String, path: String, isTolerant: Bool = false) throws(Failure) {
        self.path = path
        self.isTolerant = isTolerant
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            do throws(Failure) {
                try take(String(line), place: "\(path):\(index + 1)")
            } catch {
                guard isTolerant else { throw error }
                remarks.append(error)
            }
        }
    }

    private mutating func take(_ line: String, place: String) throws(Failure) {
        let text = Self.trimmed(line)
        if text.isEmpty || text.hasPrefix("#") || text.hasPrefix(";") { return }
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map { Self.trimmed(String($0)) }
        let key = parts[0]
        let value = parts.count == 2 ? Self.unquoted(parts[1]) : nil
        switch key {
        case "pool", "mountpoint":
            guard let value, !value.isEmpty else { throw .usage("\(place): \(key)", "needs a path, as \(key) = /PATH") }
            if key == "pool" { pool = value } else { mountpoint = value }
        case "config": throw .usage("\(place): config", "a configuration cannot name another")
        default: try takeOption(key, value, place: place)
        }
    }

    private mutating func takeOption(_ key: String, _ value: String?, place: String) throws(Failure) {
        var word = MountWord(key, place: place)
        word.value = value
        guard let option = MountOptionTable.find(key) else {
            guard isTolerant else { throw .usage("\(place): \(key)", "no such key; see volfs.conf(5)") }
            return words.append(word)
        }
        if option.value == nil, let value {
            switch value {
            case "yes", "on", "true", "1": word.value = nil
            case "no", "off", "false", "0":
                guard let opposite = MountSettings.opposites[key] else { return }
                word = MountWord(opposite, place: place)
            default: if !isTolerant { throw .usage("\(place): \(key) = \(value)", "needs yes or no") }
            }
        }
        words.append(word)
    }

    private static func trimmed(_ text: String) -> String {
        var rest = text[...]
        while let first = rest.first, first.isWhitespace { rest.removeFirst() }
        while let last = rest.last, last.isWhitespace { rest.removeLast() }
        return String(rest)
    }

    /// Quotes around a value keep blanks at its ends.
    private static func unquoted(_ text: String) -> String {
        text.count >= 2 && text.hasPrefix("\"") && text.hasSuffix("\"") ? String(text.dropFirst().dropLast()) : text
    }
}

private func opendirFails(_ path: String) -> Bool {
    guard let directory = opendir(path) else { return true }
    closedir(directory)
    errno = EISDIR
    return false
}
