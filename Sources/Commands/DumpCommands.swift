internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine

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

    static func restore(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0]), source = arguments.operands[1]
        try refuseIfMounted(path)
        guard arguments.has("force") else {
            throw .usage(path, "its metadata would be replaced by what \(source) says; if that is wanted, add --force")
        }
        guard let text = readText(source == "-" ? "/dev/stdin" : source) else {
            throw Failure(.notFound, source, "cannot be read: \(String(cString: strerror(errno)))", errno: errno)
        }
        do throws(PoolError) {
            let device = try FileDevice(opening: path, mode: .readWrite)
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            try Pool.restore(device, from: lines, environment: DirectPool.environment)
        } catch .malformed(let line) {
            throw Failure(.failed, source, "line \(line) is not what a dump has there; nothing was written", errno: EINVAL)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
        return 0
    }
}
