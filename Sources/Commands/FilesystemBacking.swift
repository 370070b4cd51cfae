internal import Glibc
internal import LinuxIO

/// What a mounted filesystem lies on, as far as that can be known here.
enum FilesystemBacking {
    /// Loop devices only, on these files.
    case files([String])
    /// A device of another kind, by its name: that a volume is behind it cannot be ruled out, as over a network.
    case device(String)
    /// A filesystem without one device, or in another place than this process sees.
    case unknown

    /// By the device number that stat(2) says of what is in the filesystem.
    init(of device: dev_t) {
        self = Self.directory(of: device).map { Self.look($0, depth: 0) } ?? .unknown
    }

    private static func directory(of device: dev_t) -> String? { Path.resolved("/sys/dev/block/\(DeviceNumber.text(device))") }

    /// Whether one of the files is that one, whatever it is called. Nil if one of them cannot be seen.
    static func contains(_ files: [String], _ other: String) -> Bool? {
        var wanted = stat()
        guard stat(other, &wanted) == 0 else { return nil }
        for file in files {
            var status = stat()
            guard stat(file, &status) == 0 else { return nil }
            if status.st_dev == wanted.st_dev && status.st_ino == wanted.st_ino { return true }
        }
        return false
    }

    private static func look(_ path: String, depth: Int) -> FilesystemBacking {
        guard depth < 8 else { return .unknown }
        if let loop = LoopFile(directory: path) {
            var status = stat()
            // On a device it is that what counts.
            guard stat(loop.path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return .files([loop.path]) }
            return directory(of: status.st_rdev).map { look($0, depth: depth + 1) } ?? .unknown
        }
        if access("\(path)/partition", F_OK) == 0 { return look(Path.parent(of: path), depth: depth + 1) }
        let parts = Directory.names(in: "\(path)/slaves").map { Path.resolved("\(path)/slaves/\($0)").map { look($0, depth: depth + 1) } ?? .unknown }
        guard !parts.isEmpty else { return .device(path.split(separator: "/").last.map(String.init) ?? path) }
        var all: [String] = []
        for part in parts {
            guard case .files(let files) = part else { return part }
            all += files
        }
        return .files(all)
    }
}
