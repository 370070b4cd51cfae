internal import Glibc

/// Paths as the mount table has them.
package enum Path {
    /// `path` from the root, links and dots resolved. What does not exist, or is a dead mount, keeps its last name below
    /// the resolved directory it is in, without slashes at its end.
    package static func absolute(_ path: String) -> String {
        if path.isEmpty || PoolDevice.scheme(of: path) != nil { return path }
        if let resolved = resolved(path) { return resolved }
        var trimmed = path[...]
        while trimmed.count > 1 && trimmed.hasSuffix("/") { trimmed.removeLast() }
        let name = trimmed.lastIndex(of: "/").map { trimmed[trimmed.index(after: $0)...] } ?? trimmed
        if let directory = resolved(parent(of: String(trimmed))), name != ".", name != ".." {
            return directory == "/" ? "/\(name)" : "\(directory)/\(name)"
        }
        if path.hasPrefix("/") { return String(trimmed) }
        return resolved(".").map { "\($0)/\(trimmed)" } ?? String(trimmed)
    }

    /// The directory that `path` is in.
    package static func parent(of path: String) -> String {
        guard let cut = path.lastIndex(of: "/") else { return "." }
        return cut == path.startIndex ? "/" : String(path[..<cut])
    }

    /// What is left of `path` where the way along it comes to one of `directories`, which are named from the root, without links or dots:
    /// nothing for one of them itself. Nil if it comes to none. Links on the way are read, but of the directories nothing is asked,
    /// nor of what is in them.
    package static func rest(of path: String, below directories: [String]) -> String? {
        if directories.isEmpty || path.isEmpty || PoolDevice.scheme(of: path) != nil { return nil }
        var names = (path.hasPrefix("/") ? path : "\(workingDirectory)/\(path)").split(separator: "/").map(String.init)[...]
        var place: [String] = [], links = 0
        while let name = names.popFirst() {
            if name == "." { continue }
            if name == ".." {
                _ = place.popLast()
                continue
            }
            place.append(name)
            let here = "/" + place.joined(separator: "/")
            if directories.contains(here) { return names.joined(separator: "/") }
            // As many as the kernel follows.
            guard links < 40, let target = MountHolders.target(here) else { continue }
            links += 1
            place = target.hasPrefix("/") ? [] : place.dropLast()
            names = (target.split(separator: "/").map(String.init) + names)[...]
        }
        return nil
    }

    private static var workingDirectory: String {
        guard let name = getcwd(nil, 0) else { return "" }
        defer { free(name) }
        return String(cString: name)
    }

    /// Whether it is one, or a link to one.
    static func isDirectory(_ path: String) -> Bool { kind(path) == S_IFDIR }

    /// The same of a file.
    static func isFile(_ path: String) -> Bool { kind(path) == S_IFREG }

    /// 0 for what is not there.
    private static func kind(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
    }

    /// A path as a shell takes it for one word: between quotes where it needs them.
    package static func quoted(_ path: String) -> String {
        let isPlain = !path.isEmpty && path.unicodeScalars.allSatisfy { $0.value > 127 || $0.properties.isAlphabetic || ("0"..."9").contains($0) || "/._-+:@%,=".unicodeScalars.contains($0) }
        return isPlain ? path : "'" + path.replacing("'", with: #"'\''"#) + "'"
    }

    /// The name without links and dots; nil for what is not there.
    static func resolved(_ path: String) -> String? {
        guard let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
