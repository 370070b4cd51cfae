internal import Glibc

/// VOLFS_POOL, which stands in for a pool that is left out.
enum SuppliedPool {
    /// Puts it before the operands where they begin with no pool. What is both a pool here and something in that pool is refused: a
    /// command must not do to the one what was meant for the other.
    static func supply(_ operands: inout [String], _ command: Command) throws(Failure) {
        guard command.takesPool, operands.count < command.count.upperBound, let path = Environment.value("VOLFS_POOL") else { return }
        if command.count.contains(operands.count), let first = operands.first, isPath(first) {
            guard !first.contains("/"), try hasObject(first, path) else { return }
            if Misuse.isPool(first) {
                throw .usage(
                    first, "is a pool here, and in \(path), which VOLFS_POOL names; say which: volfs \(command.name) \(Path.quoted(path)) \(Path.quoted(first)) for what is in that, ./\(Path.quoted(first)) for the pool")
            }
        }
        operands.insert(path, at: 0)
    }

    /// No name has a slash. Of what is there without one, a volume in the current directory is not a pool.
    static func isPath(_ word: String) -> Bool {
        word.contains("/") || (access(word, F_OK) == 0 && !MountTable().isInside(Path.absolute(word)))
    }

    /// Throws where it cannot be known.
    private static func hasObject(_ name: String, _ path: String) throws(Failure) -> Bool {
        do throws(Failure) {
            let pool = try access(toPool: path, writing: false)
            return try (pool.list() + pool.trash()).contains { $0.name == name }
        } catch {
            if error.errno == ENOENT && error.status == .notFound { return false }
            throw Failure(
                error.status, name, "may be the pool, or in \(path), which VOLFS_POOL names and which does not tell: \(error.message.split(separator: "; ")[0]); for what is here write ./\(Path.quoted(name))",
                errno: error.errno)
        }
    }
}
