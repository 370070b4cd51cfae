internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBD
internal import VolumeFS

/// What a pool lives on: a file or a block device by its path, or an export of a server by its URI.
enum PoolDevice {
    /// True for a text that is meant as a URI. Nothing is looked up.
    static func isRemote(_ path: String) -> Bool { NBDLocation.isMeant(path) }

    /// Throws for a URI of something that no pool can be on here.
    static func checkScheme(_ path: String) throws(Failure) {
        guard !isRemote(path), let scheme = scheme(of: path) else { return }
        throw .usage(path, "this volfs has no back end for \(scheme)://; a pool is a file, a block device or an export of a server: nbd://HOST/EXPORT")
    }

    /// `s3` of `s3://bucket/prefix`; nil for a path.
    static func scheme(of text: String) -> String? {
        guard let mark = text.firstRange(of: "://"), mark.lowerBound > text.startIndex else { return nil }
        let scheme = text[..<mark.lowerBound]
        return scheme.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "+.-".contains($0)) } ? String(scheme) : nil
    }

    /// Opens what is there; `isPlan` also refuses what could not be written. Throws what is wrong with a URI; what cannot be opened is a `PoolError` for the caller to explain.
    static func open(_ path: String, writing: Bool, isPlan: Bool = false, isDirect: Bool = false) throws(Failure) -> any BlockDevice {
        try checkScheme(path)
        do throws(PoolError) {
            if !isRemote(path) { return try FileDevice(opening: path, mode: writing ? .readWrite : isPlan ? .readOnlyAlone : .readOnly, isDirect: isDirect) }
        } catch .system(.open, errno: EINVAL) where isDirect {
            throw Failure(.failed, path, "its filesystem has no direct I/O; mount without direct", errno: EINVAL)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        if isDirect { throw .usage("-o direct", "means nothing for a pool on a server; leave it out") }
        return try RemotePool.open(path, writing: writing)
    }

    /// A process that keeps others from the pool; 0 if none is known.
    static func holder(of path: String) -> Int32 { FileDevice.lockHolder(of: RemotePool.lockPath(path) ?? path) }

    static func holders(of path: String) -> [Int32] { FileDevice.lockHolders(of: RemotePool.lockPath(path) ?? path) }

    /// Whether two texts name one pool.
    static func isSame(_ one: String, _ other: String) -> Bool {
        if one == other { return true }
        if !isRemote(one) && !isRemote(other) { return isSameFile(one, other) }
        guard isRemote(one), isRemote(other) else { return false }
        guard let first = try? NBDLocation(parsing: one), let second = try? NBDLocation(parsing: other) else { return false }
        return first.identity == second.identity
    }

    /// By another name of it, as a hard link is, another node of a device, or a loop device on it.
    private static func isSameFile(_ one: String, _ other: String) -> Bool {
        var first = stat(), second = stat()
        guard stat(one, &first) == 0, stat(other, &second) == 0 else { return false }
        switch (first.st_mode & S_IFMT, second.st_mode & S_IFMT) {
        case (S_IFREG, S_IFREG): return first.st_dev == second.st_dev && first.st_ino == second.st_ino
        case (S_IFBLK, S_IFBLK): return first.st_rdev == second.st_rdev
        case (S_IFBLK, S_IFREG): return isLoop(one, first.st_rdev, onAllOf: other)
        case (S_IFREG, S_IFBLK): return isLoop(other, second.st_rdev, onAllOf: one)
        default: return false
        }
    }

    private static func isLoop(_ device: String, _ number: dev_t, onAllOf path: String) -> Bool {
        guard let file = LoopFile(of: number), file.isWhole, let resolved = Path.resolved(path) else { return false }
        // To be asked, the kernel asks the filesystem of the file: not one whose daemon may not answer, and that has not this pool.
        let table = MountTable()
        guard table.mount(around: file.path) == table.mount(around: resolved) else { return false }
        return LoopFile.isDevice(device, on: resolved) ?? (file.path == resolved)
    }

    /// A pool's last name: that of its file, or of the export.
    static func shortName(_ path: String) -> String {
        if isRemote(path), let location = try? NBDLocation(parsing: path) {
            let name = location.export.split(separator: "/").last.map(String.init) ?? ""
            return name.isEmpty ? "nbd" : name
        }
        return path.split(separator: "/").last.map(String.init) ?? ""
    }
}
