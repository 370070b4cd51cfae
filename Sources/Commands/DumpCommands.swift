internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// `volfs dump` and `volfs restore`: a pool's metadata as text, and back.
enum DumpCommands {
    static func dump(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        try refuseIfMounted(path)
        // For writing: what only the journal has becomes nodes first, which a dump can name.
        let pool = try DirectPool.opened(path, mode: .readWrite)
        do throws(PoolError) {
            try pool.dump { say($0) }
            try pool.close()
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        return 0
    }

    /// Throws unless there is nothing at the beginning: neither a pool's metadata nor anything of somebody else's.
    private static func refuseToReplace(_ path: String, _ device: any BlockDevice, _ source: String) throws(Failure) {
        if try PoolFile.isPool(path) { throw .usage(path, "its metadata would be replaced by what \(source) says; if that is wanted, add --force") }
        do throws(PoolError) {
            if try PoolFile.isEmpty(device, at: [.first]) { return }
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        throw .usage(path, "no pool begins there, and what does would be written over; if that is wanted, add --force")
    }

    /// Whether it is a file without any data, of which nothing can be lost. Of a device nobody can say that without reading all of it.
    private static func isBlank(_ path: String) throws(Failure) -> Bool {
        guard Path.isFile(path) else { return false }
        let file = try FileStream(path, flags: O_RDONLY), size = try file.size
        guard let start = try file.extent(at: 0) else { return true }
        return !start.isData && start.end == size
    }

    /// Whether a file begins as a dump does.
    private static func isDump(_ path: String) -> Bool {
        guard Path.isFile(path), let file = fopen(path, "re") else { return false }
        defer { fclose(file) }
        var start = [UInt8](repeating: 0, count: 11)
        return fread(&start, 1, start.count, file) == start.count && start == Array("volfs-dump ".utf8)
    }

    static func restore(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0]), source = arguments.operands[1], isDryRun = arguments.has("dry-run")
        if isDump(path) { throw .usage(path, "is a dump, and the pool comes first: volfs restore \(Path.quoted(source)) \(Path.quoted(arguments.operands[0]))") }
        try refuseIfMounted(path)
        guard let text = readText(source == "-" ? "/dev/stdin" : source) else {
            throw Failure(.notFound, source, "cannot be read: \(String(cString: strerror(errno)))", errno: errno)
        }
        let device = try PoolDevice.open(path, writing: !isDryRun, isPlan: isDryRun)
        let isAsked = !arguments.has("force") && !isDryRun
        if isAsked { try refuseToReplace(path, device, source) }
        let needsData = isAsked ? try !isBlank(path) : false
        do throws(PoolError) {
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            try Pool.restore(device, from: lines, environment: DirectPool.environment, needsData: needsData, isDryRun: isDryRun)
        } catch .truncated(let size, let expected) {
            let remedy = Path.isFile(path) ? "make it as large: truncate -s \(expected) \(path)" : "make that as large first"
            throw Failure(.failed, path, "has \(size) bytes, and \(source) is the dump of a pool of \(expected); \(remedy)", errno: EINVAL)
        } catch .refused(.dataIsElsewhere) {
            throw .usage(path, "what it has is not the data of the pool that \(source) tells of, and would be lost; name that pool's file, or, if that is wanted, add --force")
        } catch .malformed(let line) {
            throw Failure(.failed, source, "line \(line) is not what a dump has there; nothing was written", errno: EINVAL)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        if isDryRun {
            let lost = (try? DirectPool(path: path, mode: .readOnly).list()) ?? []
            let names = lost.isEmpty ? "none that can be read" : lost.map(\.name).joined(separator: ", ")
            return ChangeReport.plan(arguments, ["replace the metadata of \(path), now of \(names), by that of \(source)"])
        }
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.restore/1")), ("pool", .text(path)), ("from", .text(source))])) }
        return 0
    }
}
