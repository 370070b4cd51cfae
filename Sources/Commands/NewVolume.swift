internal import Glibc
internal import VolumeFS

/// A volume that is filled under a passing name, and has its own when it is whole and not before. The passing one stays behind
/// when a signal or a failure ends the command, and the same command goes on with it.
struct NewVolume {
    /// The property that tells a volume that is being filled from one of that name that is somebody's.
    private static let mark = "user.volfs-unfinished"

    let pool: any PoolAccess
    let poolOperand: String
    let name: String
    /// What is done: `import` or `copy`, also the suffix of the passing name.
    let way: String
    /// Bytes that the source has to have; nil for as many as come.
    var expected: UInt64?
    private var partial: String { "\(name).\(way)" }

    /// Fills it from `input`, called `source`.
    func fill(from input: any ByteStream, source: String, _ progress: Progress) throws(Failure) {
        try NameRule.checkVolume(name)
        do throws(Failure) { try NameRule.checkVolume(partial) } catch {
            throw .usage(name, "with .\(way) behind it, which it is called until it is whole, the name is too long; choose a shorter one")
        }
        let lines = try pool.list()
        if lines.contains(where: { $0.name == name }) {
            throw Failure(.exists, name, "exists already; choose another name or remove it first", errno: EEXIST)
        }
        if let expected, let size = try input.size, size != expected { throw wrong(source, size, expected, "nothing was made") }
        try prepare(lines.first { $0.name == partial }, source, mode: try input.modeOfCopies)
        do throws(Failure) {
            try copy(input, source, progress)
            try finish()
        } catch {
            // Without room it would only be in the way of everybody.
            if error.status == .noSpace, let made = try? pool.list().first(where: { $0.name == partial }) { try? pool.destroy(made) }
            try? pool.finish()
            throw error
        }
    }

    /// The volume is not open any more on return.
    private func copy(_ input: any ByteStream, _ source: String, _ progress: Progress) throws(Failure) {
        let output = try pool.stream(partial, writing: true)
        if let file = output as? FileStream, !file.claim() {
            throw Failure(.busy, name, "another \(way) is filling it; wait for that one", errno: EBUSY)
        }
        let hint = "what is there is kept as \(partial): the same command goes on with it, `volfs destroy \(Path.quoted(poolOperand)) \(partial)` drops it"
        var transfer = Transfer(from: input, to: output, progress, object: name, hint: hint)
        transfer.limit = expected
        let count = try transfer.run()
        guard let expected, count != expected else { return }
        throw wrong(source, count, expected, hint)
    }

    private func wrong(_ source: String, _ count: UInt64, _ expected: UInt64, _ hint: String) -> Failure {
        let problem = count < expected ? "ended after \(Wording.exactSize(count)) of \(Wording.exactSize(expected))" : "has more than \(Wording.exactSize(expected))"
        return Failure(.failed, source == "-" ? "standard input" : source, "\(problem); \(hint)", errno: count < expected ? EIO : EFBIG)
    }

    private func prepare(_ old: ObjectLine?, _ source: String, mode: UInt32) throws(Failure) {
        guard let old else {
            try pool.makeVolume(partial, size: 0, mode: mode)
            return try pool.setAttribute(partial, Self.mark, source)
        }
        guard try pool.attribute(partial, Self.mark) != nil else {
            throw Failure(.exists, partial, "is in the way: \(name) would be called so until it is whole; rename or remove it", errno: EEXIST)
        }
        complain("volfs: \(name): going on with \(Wording.size(old.size)) of an earlier \(way); what differs is written again")
    }

    private func finish() throws(Failure) {
        guard let made = try pool.list().first(where: { $0.name == partial }) else {
            throw Failure(.failed, partial, "was removed meanwhile; start again")
        }
        try pool.rename(made, to: name)
        try pool.setAttribute(name, Self.mark, nil)
    }
}
