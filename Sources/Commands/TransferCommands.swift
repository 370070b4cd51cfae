internal import BlockStorage
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// `volfs import` and `volfs export`: raw images in and out, sparse both ways.
enum TransferCommands {
    private static let chunk = 1 << 20

    /// The image appears under its name when it is whole, and not before.
    static func importImage(_ arguments: Arguments) throws(Failure) -> Int32 {
        let source = arguments.operands[1], name = arguments.operands[2]
        try NameRule.checkVolume(name)
        if let format = arguments["format"], format != "raw" {
            throw .usage("--format \(format)", "only raw images can be read; convert it: qemu-img convert -O raw \(source) FILE")
        }
        let input: Int32 = source == "-" ? 0 : open(source, O_RDONLY | O_CLOEXEC)
        guard input >= 0 else {
            throw Failure(errno == ENOENT ? .notFound : .failed, source, String(cString: strerror(errno)), errno: errno)
        }
        defer { if input > 0 { close(input) } }
        let pool = try access(toPool: arguments.operands[0], writing: true)
        if try pool.list().contains(where: { $0.name == name }) { throw Failure(.exists, name, "exists already; choose another name or remove it first", errno: EEXIST) }
        let partial = "\(name).import-\(getpid())"
        try NameRule.checkVolume(partial)
        try pool.makeVolume(partial, size: 0)
        do throws(Failure) {
            try copy(input, source, to: try pool.stream(partial, writing: true), pool, partial, arguments)
            guard let made = try pool.list().first(where: { $0.name == partial }) else { throw Failure(.failed, name, "is gone") }
            try pool.rename(made, to: name)
        } catch {
            if let made = try? pool.list().first(where: { $0.name == partial }) { try? pool.destroy(made) }
            try? pool.finish()
            throw error
        }
        try pool.finish()
        return 0
    }

    private static func copy(
        _ input: Int32, _ source: String, to output: any VolumeStream, _ pool: any PoolAccess, _ name: String, _ arguments: Arguments
    ) throws(Failure) {
        let buffer = AlignedBuffer(count: chunk)
        var progress = Progress(total: fileSize(input), arguments)
        var at: UInt64 = 0, end: UInt64 = 0
        while true {
            // Holes of the image are passed over; of a pipe there are none.
            let data = lseek(input, off_t(at), 3)
            if data >= 0 {
                at = UInt64(data)
                lseek(input, data, SEEK_SET)
            } else if errno == ENXIO {
                end = fileSize(input)
                break
            }
            let count = try fill(buffer.bytes, from: input, source)
            if count == 0 { end = max(at, fileSize(input)); break }
            let bytes = UnsafeRawBufferPointer(buffer.bytes.part(0..<count))
            if at == 0, arguments["format"] == nil, bytes.count > 4, Array(bytes[0..<4]) == [0x51, 0x46, 0x49, 0xfb] {
                throw Failure(.corrupt, source, "is a qcow2 image; convert it: qemu-img convert -O raw, or take it as it is with --format raw")
            }
            if !isZero(bytes) { try output.write(bytes, at: at) }
            at += UInt64(count)
            progress.show(at)
        }
        try pool.resize(name, to: end)
        try output.finish()
        progress.end(end)
    }

    /// Sparse into a file; into a pipe all of it.
    static func exportImage(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1], target = arguments.operands[2]
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let input = try pool.stream(name, writing: false)
        if target == "-" && isatty(1) == 1 { throw .usage("-", "the terminal is no place for an image; redirect it") }
        // A file is written beside its place, and takes it when it is whole.
        let partial = "\(target).export-\(getpid())"
        var isFile = false
        if target != "-" { isFile = try isReplaceable(target, force: arguments.has("force")) }
        let output: Int32 = target == "-" ? 1 : isFile ? volfs_open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) : open(target, O_WRONLY | O_CLOEXEC)
        guard output >= 0 else { throw Failure(.failed, target, String(cString: strerror(errno)), errno: errno) }
        do throws(Failure) {
            try copy(input, to: output, target, isFile: isFile, arguments)
        } catch {
            if isFile { unlink(partial) }
            throw error
        }
        guard !isFile || rename(partial, target) == 0 else {
            unlink(partial)
            throw Failure(.failed, target, String(cString: strerror(errno)), errno: errno)
        }
        return 0
    }

    /// True for a regular file or none. Throws for one that is there already without `force`, and for a pool in any case.
    private static func isReplaceable(_ path: String, force: Bool) throws(Failure) -> Bool {
        var status = stat()
        guard stat(path, &status) == 0 else { return true }
        guard status.st_mode & S_IFMT == S_IFREG else { return false }
        let isMounted = MountTable().mounts.contains { mount in
            var source = stat()
            return stat(mount.source, &source) == 0 && source.st_dev == status.st_dev && source.st_ino == status.st_ino
        }
        let isPool = try holdsPool(path)
        if isMounted || isPool {
            throw Failure(.exists, path, "is a pool, which an export never replaces; choose another name", errno: EEXIST)
        }
        if !force { throw Failure(.exists, path, "exists already; --force replaces it", errno: EEXIST) }
        return true
    }

    private static func holdsPool(_ path: String) throws(Failure) -> Bool {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(.failed, path, String(cString: strerror(errno)), errno: errno) }
        defer { close(descriptor) }
        var magic: [UInt8] = [0, 0, 0, 0]
        return stride(from: 0, to: 2 << 20, by: 65_536).contains { pread(descriptor, &magic, 4, off_t($0)) == 4 && magic == Array("VFSB".utf8) }
    }

    private static func copy(
        _ input: any VolumeStream, to output: Int32, _ target: String, isFile: Bool, _ arguments: Arguments
    ) throws(Failure) {
        let size = try input.size
        let buffer = AlignedBuffer(count: chunk)
        var progress = Progress(total: size, arguments)
        var at: UInt64 = 0
        while at < size {
            let extent = try input.extent(at: at)
            let count = Int(min(UInt64(chunk), max(extent.end, at + 1) - at, size - at))
            if extent.isData || !isFile {
                let part = buffer.bytes.part(0..<count)
                try input.read(at: at, into: part)
                if !isFile || !isZero(UnsafeRawBufferPointer(part)) { try put(UnsafeRawBufferPointer(part), output, isFile ? at : nil, target) }
                at += UInt64(count)
            } else {
                at = min(extent.end, size)
            }
            progress.show(at)
        }
        progress.end(size)
        if isFile {
            guard ftruncate(output, off_t(size)) == 0, fsync(output) == 0, close(output) == 0 else {
                throw Failure(.failed, target, String(cString: strerror(errno)), errno: errno)
            }
        }
    }

    private static func fileSize(_ descriptor: Int32) -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return 0 }
        if status.st_mode & S_IFMT == S_IFREG { return UInt64(status.st_size) }
        let here = lseek(descriptor, 0, SEEK_CUR)
        guard here >= 0 else { return 0 }
        defer { lseek(descriptor, here, SEEK_SET) }
        return UInt64(max(0, lseek(descriptor, 0, SEEK_END)))
    }

    private static func fill(_ bytes: UnsafeMutableRawBufferPointer, from input: Int32, _ name: String) throws(Failure) -> Int {
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = Glibc.read(input, rest.baseAddress, rest.count)
            if count == 0 { break }
            if count < 0 && errno != EINTR { throw Failure(.failed, name, String(cString: strerror(errno)), errno: errno) }
            done += max(0, count)
        }
        return done
    }

    private static func put(_ bytes: UnsafeRawBufferPointer, _ output: Int32, _ offset: UInt64?, _ name: String) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let rest = bytes.part(done..<bytes.count)
            let count = offset.map { pwrite(output, rest.baseAddress, rest.count, off_t($0) + off_t(done)) }
                ?? Glibc.write(output, rest.baseAddress, rest.count)
            if count < 0 && errno != EINTR { throw Failure(errno: errno, object: name, reason: String(cString: strerror(errno))) }
            done += max(0, count)
        }
    }
}

/// Bytes done on standard error, ten times a second, on a terminal only unless asked for.
struct Progress {
    private let total: UInt64
    private let mode: String
    private var last: UInt64 = 0
    private let began = wallClock()

    init(total: UInt64, _ arguments: Arguments) {
        self.total = total
        mode = arguments["progress"] ?? (isatty(2) == 1 ? "always" : "never")
    }

    mutating func show(_ done: UInt64) {
        let now = wallClock()
        guard mode != "never", now - last > 100_000_000 else { return }
        last = now
        say(done)
    }

    func end(_ done: UInt64) {
        guard mode != "never" else { return }
        say(done)
        if mode == "always" { tell("\n") }
    }

    private func say(_ done: UInt64) {
        if mode == "json" {
            tell("{\"schema\":\"volfs.progress/1\",\"done\":\(done),\"total\":\(total)}\n")
            return
        }
        let seconds = max(Double(wallClock() - began) / 1e9, 0.001)
        let percent = total > 0 ? ", \(min(100, done * 100 / total))%" : ""
        tell("\r\(Wording.size(done))\(percent), \(Wording.size(UInt64(Double(done) / seconds)))/s   ")
    }

    private func tell(_ text: String) { _ = text.withCString { write(2, $0, strlen($0)) } }
}
