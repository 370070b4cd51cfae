internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// `volfs export`: a raw image of a volume or a snapshot, sparse in a file, whole in a pipe or on a device.
enum ExportCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1], target = arguments.operands[2]
        if let format = arguments["format"], format != "raw" {
            throw .usage("--format \(format)", "only raw images can be written; convert it after: qemu-img convert -f raw -O \(format) \(target) FILE")
        }
        if arguments["format"] == nil, target != "-", let format = ImageFormat.named(target) {
            throw .usage(target, "would be called \(format) and is raw; choose another name and convert that after, or say --format raw")
        }
        let progress = Progress("export", try Progress.mode(arguments))
        if target == "-" && isatty(1) == 1 { throw .usage("-", "the terminal is no place for an image; redirect it") }
        let isFile = target == "-" ? false : try isReplaceable(target, force: arguments.has("force"))
        // Nobody else's as long as it lives.
        let device = target == "-" ? nil : try claimed(target, force: arguments.has("force"))
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let input = try pool.stream(name, writing: false)
        if let device { try refuseIfShort(device, input, name, target) }
        if isFile {
            try write(input, name, to: target, progress)
        } else {
            let descriptor = target == "-" ? 1 : open(target, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw Failure(errno: errno, object: target, reason: String(cString: strerror(errno))) }
            let output = PipeStream(descriptor, name: target)
            var transfer = Transfer(from: input, to: output, progress, object: name, hint: "what was written is not whole; start again")
            try transfer.run()
        }
        // Standard output may be the image.
        if arguments.isJSON && target != "-" {
            let size = try input.size ?? 0
            say(JSON.object([("schema", .text("volfs.export/1")), ("object", .text(name)), ("file", .text(target)), ("size", .size(size))]))
        }
        return 0
    }

    /// A block device that is nobody's; nil for what is none. Throws for one with a pool on it, or in use, in any case, and without
    /// `force` for one that is not empty.
    private static func claimed(_ path: String, force: Bool) throws(Failure) -> FileDevice? {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFBLK else { return nil }
        try refuseIfMounted(path)
        let device: FileDevice, isFree: Bool
        do throws(PoolError) {
            device = try FileDevice(opening: path, mode: .readWrite)
            isFree = try PoolFile.isEmpty(device)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        if try PoolFile.isPool(path) { throw Failure(.exists, path, "is a pool, which an export never replaces; choose another device", errno: EEXIST) }
        if !isFree && !force {
            throw Failure(.exists, path, "the device holds something already; choose another, or --force to write over it", errno: EEXIST)
        }
        return device
    }

    private static func refuseIfShort(_ device: FileDevice, _ input: any ByteStream, _ name: String, _ path: String) throws(Failure) {
        let room: UInt64
        do throws(PoolError) { room = try device.size } catch { throw Failure(error, object: path, pool: path) }
        guard let size = try input.size, size > room else { return }
        throw Failure(.noSpace, path, "has \(Wording.size(room)), and \(name) \(Wording.size(size)); choose a larger device", errno: ENOSPC)
    }

    /// A file is written beside its place, and takes it when it is whole.
    private static func write(_ input: any ByteStream, _ name: String, to target: String, _ progress: Progress) throws(Failure) {
        let partial = "\(target).volfs-export"
        let wasThere = Glibc.access(partial, F_OK) == 0
        let directory = Path.parent(of: target)
        if Glibc.access(directory, F_OK) != 0 && errno == ENOENT {
            throw Failure(.notFound, directory, "no such directory; make it first: mkdir \(directory)", errno: ENOENT)
        }
        let output = try FileStream(partial, flags: O_RDWR | O_CREAT | O_NOFOLLOW, mode: try input.modeOfCopies)
        guard output.claim() else { throw Failure(.busy, target, "another export is writing it; wait for that one", errno: EBUSY) }
        if wasThere { complain("volfs: \(name): going on with \(partial); what differs is written again") }
        let hint = "what is there is kept as \(partial): the same command goes on with it"
        var transfer = Transfer(from: input, to: output, progress, object: name, hint: hint)
        do throws(Failure) {
            try transfer.run()
            guard rename(partial, target) == 0 else {
                throw Failure(errno: errno, object: target, reason: String(cString: strerror(errno)))
            }
        } catch {
            if error.status == .noSpace { unlink(partial) }
            throw error
        }
        sync(directoryOf: target)
    }

    /// The name is durable where the filesystem can say so; the bytes are already.
    private static func sync(directoryOf path: String) {
        let descriptor = open(Path.parent(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// True for a regular file or none. Throws for one that is there already without `force`, and for a pool in any case.
    private static func isReplaceable(_ path: String, force: Bool) throws(Failure) -> Bool {
        var status = stat()
        if stat(Path.parent(of: path), &status) == 0, MountInfo.all().contains(where: { $0.kind == "fuse.volfs" && $0.device == DeviceNumber.text(status.st_dev) }) {
            throw Failure(.failed, path, "is in a mounted pool, where a copy takes no space: volfs clone, or into another pool: volfs copy", errno: EINVAL)
        }
        guard stat(path, &status) == 0 else { return true }
        if status.st_mode & S_IFMT == S_IFDIR { throw Failure(.failed, path, "is a directory; name a file in it", errno: EISDIR) }
        guard status.st_mode & S_IFMT == S_IFREG else { return false }
        let isMounted = MountTable().mounts.contains { mount in
            var source = stat()
            return stat(mount.source, &source) == 0 && source.st_dev == status.st_dev && source.st_ino == status.st_ino
        }
        let isPool = try PoolFile.isPool(path)
        if isMounted || isPool {
            throw Failure(.exists, path, "is a pool, which an export never replaces; choose another name", errno: EEXIST)
        }
        if !force { throw Failure(.exists, path, "exists already; --force replaces it", errno: EEXIST) }
        return true
    }
}
