internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// `volfs create`: a pool in a new file.
enum CreateCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        try PoolDevice.checkScheme(path)
        // For scripts that say it. With another one each entry of the map would stand for more than is written at a time, or for less
        // than its own size repays.
        if let text = arguments["block-size"], Size.parse(text) != 4096 {
            throw .usage("--block-size \(text)", "every pool has blocks of 4K, of which each has its own checksum and is never copied for a smaller write; leave it out")
        }
        if let mount = MountTable().mount(ofPool: path) { throw mountedFailure(path, mount) }
        if PoolDevice.isRemote(path) { return try onServer(arguments, path) }
        if let mount = MountTable().mounts.last(where: { path.hasPrefix($0.mountpoint + "/") }) {
            let name = arguments.operands[0].split(separator: "/").last ?? "NAME"
            throw .usage(path, "would be a pool inside a volume; make a volume with: volfs new \(Path.quoted(mount.mountpoint)) \(name) SIZE, or a pool elsewhere")
        }
        var status = stat()
        let exists = Glibc.access(path, F_OK) == 0, kind = stat(path, &status) == 0 ? status.st_mode & S_IFMT : 0
        if kind == S_IFBLK { return try onDevice(arguments, path) }
        let size = try size(arguments, path), autogrow = try autogrow(arguments)
        if kind == S_IFDIR {
            throw Failure(.failed, path, "is a directory; a pool is one file: name a file in it", errno: EISDIR)
        }
        if exists && !arguments.has("force") {
            throw Failure(.exists, path, "exists already; choose another name, or --force to replace it and all in it", errno: EEXIST)
        }
        if arguments.has("dry-run") { return ChangeReport.plan(arguments, try plan(path, size, exists: exists)) }
        do throws(PoolError) {
            let device = try FileDevice(creating: path, size: size, replacing: arguments.has("force"))
            try Pool.format(device, autogrow: autogrow, environment: DirectPool.environment)
        } catch .locked {
            // Somebody else's by now, so not ours to remove.
            throw Failure(.locked(process: 0), object: path, pool: path)
        } catch .system(.open, errno: ENOENT) where !Path.isDirectory(Path.parent(of: path)) {
            throw Failure(.notFound, path, "its directory does not exist; make it first", errno: ENOENT)
        } catch .system(.open, let number) where !exists && [ENOENT, EACCES, EPERM, EROFS].contains(number) {
            throw unmakable(path, number)
        } catch .exists {
            throw Failure(.exists, object: path, pool: path)
        } catch {
            // Nothing of a pool that could not be made stays behind.
            if !exists { unlink(path) }
            throw Failure(error, object: path, pool: path)
        }
        if arguments.isJSON {
            say(JSON.object([("schema", .text("volfs.create/1")), ("pool", .text(path)), ("size", .size(size))]))
        }
        return 0
    }

    /// Why there can be no file at a path where none is.
    private static func unmakable(_ path: String, _ number: Int32) -> Failure {
        let directory = Path.parent(of: path)
        let remedy = number == EACCES && geteuid() != 0 ? "choose another, or run as who may write there" : "choose another directory"
        let why = number == EACCES ? "no permission to make a file in \(directory)" : number == EROFS ? "\(directory) is on a read-only filesystem" : "\(directory) takes no files"
        return Failure(.permission, path, "\(why); \(remedy)", errno: number)
    }

    /// A pool on a block device, of which it takes the whole.
    private static func onDevice(_ arguments: Arguments, _ path: String) throws(Failure) -> Int32 {
        if let size = arguments["size"] { throw .usage("--size \(size)", "the pool takes the whole of the device, which has the size it has; leave it out") }
        if let step = arguments["autogrow"] { throw .usage("--autogrow \(step)", "a device has the size it has; make it larger, then: volfs grow") }
        let (size, isEmpty) = try look(at: path)
        if arguments.has("dry-run") { return ChangeReport.plan(arguments, try plan(path, size, exists: !isEmpty)) }
        guard isEmpty || arguments.has("force") else {
            throw Failure(.exists, path, "the device holds something already; choose another, or --force to replace it and all in it", errno: EEXIST)
        }
        do throws(PoolError) {
            try Pool.format(try FileDevice(creating: path, size: size, replacing: true), environment: DirectPool.environment)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.create/1")), ("pool", .text(path)), ("size", .size(size))])) }
        return 0
    }

    /// A device's size, and whether nothing is on it. Throws if somebody else uses it. It is not open any more on return.
    private static func look(at path: String) throws(Failure) -> (size: UInt64, isEmpty: Bool) {
        do throws(PoolError) {
            let device = try FileDevice(opening: path, mode: .readOnlyAlone)
            return (try device.size, try PoolFile.isEmpty(device))
        } catch {
            throw Failure(error, object: path, pool: path)
        }
    }

    /// A pool on an export, which has the size it has.
    private static func onServer(_ arguments: Arguments, _ uri: String) throws(Failure) -> Int32 {
        if let size = arguments["size"] { throw .usage("--size \(size)", "the pool takes the whole of the export, which has the size its server gives it; leave it out") }
        if let step = arguments["autogrow"] { throw .usage("--autogrow \(step)", "the server gives the export its size; make it larger there, then: volfs grow") }
        if arguments.has("dry-run") {
            let (size, isEmpty) = try RemotePool.look(at: uri)
            return ChangeReport.plan(arguments, try plan(uri, size, exists: !isEmpty))
        }
        let size = try RemotePool.create(uri, replacing: arguments.has("force")) { device throws(PoolError) in
            try Pool.format(device, environment: DirectPool.environment)
        }
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.create/1")), ("pool", .text(uri)), ("size", .size(size))])) }
        return 0
    }

    /// What making the pool would do, and what would be lost by it.
    private static func plan(_ path: String, _ size: UInt64, exists: Bool) throws(Failure) -> [String] {
        let make = "make a pool of \(Wording.size(size)) in \(path)"
        if !exists { return [make] }
        guard try PoolFile.isPool(path), let pool = try? DirectPool(path: path, mode: .readOnly) else {
            return ["replace \(path), which is not a pool that can be opened", make]
        }
        let lines = try pool.list()
        return lines.map { "destroy \($0.name) (\(DestroyCommand.cost(of: $0)))" } + ["replace the pool in \(path)", make]
    }

    /// Bytes; 0 for a pool that keeps its size.
    private static func autogrow(_ arguments: Arguments) throws(Failure) -> UInt64 {
        guard let text = arguments["autogrow"] else { return 0 }
        guard let size = Size.parse(text) else { throw .usage("--autogrow \(text)", Size.complaint(text, example: "16G")) }
        guard size >= MountSettings.leastGrowth, size <= UInt64(Int64.max) else {
            throw .usage("--autogrow \(text)", "too small or too large a step; give \(Wording.size(MountSettings.leastGrowth)) or more, as a pool grows at most some 8000 times")
        }
        return size
    }

    /// What was asked for, else nine tenths of what the host's filesystem has free.
    private static func size(_ arguments: Arguments, _ path: String) throws(Failure) -> UInt64 {
        if let text = arguments["size"] {
            guard let size = Size.parse(text) else { throw .usage("--size \(text)", Size.complaint(text)) }
            // Past what a file's size can be; what the format can hold is for the engine to say.
            guard size <= UInt64(Int64.max) else { throw .usage("--size \(text)", "more than a file can have; choose a smaller size") }
            return size / 4096 * 4096
        }
        var status = statvfs()
        let directory = Path.parent(of: path)
        guard statvfs(directory, &status) == 0 else {
            throw Failure(.notFound, directory, "no such directory; make it first", errno: errno)
        }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize) / 10 * 9 / 4096 * 4096
    }
}
