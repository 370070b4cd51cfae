internal import VolumeFS

/// Commands that make and change volumes and snapshots.
enum ChangeCommands {
    static func new(_ arguments: Arguments) throws(Failure) -> Int32 {
        guard let size = Size.parse(arguments.operands[2]) else { throw notASize(arguments.operands[2]) }
        try NameRule.checkVolume(arguments.operands[1])
        return try change(arguments) { pool throws(Failure) in try pool.makeVolume(arguments.operands[1], size: size) }
    }

    static func resize(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1], text = arguments.operands[2]
        let isRelative = text.hasPrefix("+") || text.hasPrefix("-")
        guard let amount = Size.parse(isRelative ? String(text.dropFirst()) : text) else { throw notASize(text) }
        return try change(arguments) { pool throws(Failure) in
            let old = try ListCommand.select(try pool.list(), names: [name])[0].size
            var size = amount
            if text.hasPrefix("+") { size = old.addingReportingOverflow(amount).overflow ? .max : old + amount }
            if text.hasPrefix("-") { size = old > amount ? old - amount : 0 }
            if size < old && !arguments.has("shrink") {
                throw .usage(name, "would shrink from \(Wording.size(old)) to \(Wording.size(size)) and lose what is cut off; add --shrink")
            }
            try pool.resize(name, to: size)
        }
    }

    static func snapshot(_ arguments: Arguments) throws(Failure) -> Int32 {
        try forEach(arguments, Array(arguments.operands.dropFirst())) { pool, name throws(Failure) in
            let (volume, snapshot) = split(name)
            guard let snapshot else { throw .usage(name, "name it VOLUME@SNAPSHOT") }
            try NameRule.checkReference(volume)
            try NameRule.checkSnapshot(snapshot, in: name)
            try pool.makeSnapshot(volume, snapshot)
        }
    }

    static func clone(_ arguments: Arguments) throws(Failure) -> Int32 {
        let source = arguments.operands[1]
        try NameRule.checkReference(source)
        return try forEach(arguments, Array(arguments.operands.dropFirst(2))) { pool, name throws(Failure) in
            try NameRule.checkVolume(name)
            try pool.makeClone(source, name)
        }
    }

    static func rollback(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1]
        let (volume, snapshot) = split(name)
        guard let snapshot else { throw .usage(name, "name it VOLUME@SNAPSHOT") }
        return try change(arguments) { pool throws(Failure) in
            try pool.rollback(volume, to: snapshot, discarding: arguments.has("discard"))
        }
    }

    /// A size, or how much more.
    static func grow(_ arguments: Arguments) throws(Failure) -> Int32 {
        let text = arguments.operands[1], path = arguments.operands[0]
        guard let amount = Size.parse(text.hasPrefix("+") ? String(text.dropFirst()) : text) else { throw notASize(text) }
        let pool = try access(toPool: path, writing: true)
        let old = try pool.size()
        let (sum, overflow) = old.addingReportingOverflow(amount)
        let size = (text.hasPrefix("+") ? (overflow ? UInt64(Int64.max) : sum) : amount) / 4096 * 4096
        guard size > old else { throw .usage(text, "the pool has \(Wording.size(old)) already; a pool does not become smaller") }
        try pool.grow(to: size)
        try pool.finish()
        return 0
    }

    static func swap(_ arguments: Arguments) throws(Failure) -> Int32 {
        try change(arguments) { pool throws(Failure) in try pool.swap(arguments.operands[1], arguments.operands[2]) }
    }

    static func rename(_ arguments: Arguments) throws(Failure) -> Int32 {
        let (oldVolume, oldSnapshot) = split(arguments.operands[1])
        let (newVolume, newSnapshot) = split(arguments.operands[2])
        guard (oldSnapshot == nil) == (newSnapshot == nil), oldSnapshot == nil || oldVolume == newVolume else {
            throw .usage(arguments.operands[2], "a volume stays a volume, and a snapshot stays with its volume")
        }
        if let newSnapshot {
            try NameRule.checkSnapshot(newSnapshot, in: arguments.operands[2])
        } else {
            try NameRule.checkVolume(newVolume)
        }
        return try change(arguments) { pool throws(Failure) in
            let object = try ListCommand.select(try pool.list(), names: [arguments.operands[1]])[0]
            try pool.rename(object, to: newSnapshot ?? newVolume)
        }
    }

    private static func notASize(_ text: String) -> Failure { .usage(text, "not a size; write it as 500M, 64G or 2T") }

    /// One change of the pool named first.
    private static func change(_ arguments: Arguments, _ body: (any PoolAccess) throws(Failure) -> Void) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: true)
        try body(pool)
        try pool.finish()
        return 0
    }

    /// One change for each name. Those that fail are said; the status tells whether all or some did.
    private static func forEach(
        _ arguments: Arguments, _ names: [String], _ body: (any PoolAccess, String) throws(Failure) -> Void
    ) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: true)
        var failures: [Failure] = []
        for name in names {
            do throws(Failure) { try body(pool, name) } catch { failures.append(error) }
        }
        try pool.finish()
        return try conclude(failures, of: names.count, arguments)
    }

    /// Says the failures of `count` changes. Returns the status when some were made, throws the last when none was.
    static func conclude(_ failures: [Failure], of count: Int, _ arguments: Arguments) throws(Failure) -> Int32 {
        guard let last = failures.last else { return 0 }
        for failure in failures.dropLast() { complain(arguments.isJSON ? failure.json : failure.text) }
        if failures.count == count { throw last }
        complain(arguments.isJSON ? last.json : last.text)
        return Failure.Status.partly.rawValue
    }
}
