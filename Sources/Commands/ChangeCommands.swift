internal import Glibc
internal import VolumeFS

/// Commands that make and change volumes and snapshots.
enum ChangeCommands {
    static func new(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1]
        guard let size = Size.parse(arguments.operands[2]) else { throw notASize(arguments.operands[2], before: name) }
        try NameRule.checkVolume(name)
        return try change(arguments, [name]) { pool throws(Failure) in
            try pool.makeVolume(name, size: size, mode: 0o666)
            if arguments.has("reserve") && size > 0 { try reserve(name, size, pool) }
        }
    }

    /// All or nothing: who wants a promise has no use for the volume without it.
    private static func reserve(_ name: String, _ size: UInt64, _ pool: any PoolAccess) throws(Failure) {
        do throws(Failure) { try pool.setProperty(name, "reservation", "\(size)") } catch {
            if let made = try? pool.list().first(where: { $0.name == name }) { try? pool.destroy(made) }
            try? pool.finish()
            var failure = error
            (failure.object, failure.property) = (name, nil)
            throw failure
        }
    }

    static func resize(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1], text = arguments.operands[2]
        let isRelative = text.hasPrefix("+") || text.hasPrefix("-"), isDryRun = arguments.has("dry-run")
        guard let amount = Size.parse(isRelative ? String(text.dropFirst()) : text) else { throw notASize(text, before: name) }
        if split(name).snapshot != nil {
            throw Failure(.permission, name, "is a snapshot, which never changes; clone it and resize that: volfs clone \(Path.quoted(arguments.operands[0])) \(name) NEW", errno: EROFS)
        }
        let pool = try access(toPool: arguments.operands[0], writing: !isDryRun)
        let line = try ListCommand.select(try pool.list(), names: [name], of: pool, arguments)[0], old = line.size
        var size = amount
        if text.hasPrefix("+") { size = old.addingReportingOverflow(amount).overflow ? .max : old + amount }
        if text.hasPrefix("-") {
            guard amount <= old else { throw .usage(name, "has \(Wording.exactSize(old)) only, which cannot become \(Wording.exactSize(amount)) less; to empty it: resize it to 0") }
            size = old - amount
        }
        if size < old && !arguments.has("shrink") {
            throw .usage(name, "would shrink from \(Wording.exactSize(old)) to \(Wording.exactSize(size)) and lose what is cut off; add --shrink")
        }
        if isDryRun {
            if size != old { try ChangeReport.refuse(size < old ? .shrink : .grow, of: [line], in: pool, arguments) }
            let change = "from \(Wording.exactSize(old)) to \(Wording.exactSize(size))"
            return ChangeReport.plan(arguments, [
                size < old ? "cut \(name) \(change): what it has in its last \(Wording.exactSize(old - size)) goes" : "make \(name) larger, \(change)",
            ])
        }
        try pool.resize(name, to: size)
        return try ChangeReport.finish(pool, arguments, changed: [name])
    }

    static func clone(_ arguments: Arguments) throws(Failure) -> Int32 {
        let source = arguments.operands[1]
        try NameRule.checkReference(source, in: arguments.operands[0])
        let names = Array(arguments.operands.dropFirst(2))
        // All are looked at before the first is made.
        for name in names { try NameRule.checkVolume(name) }
        return try forEach(arguments, names) { pool, name throws(Failure) in try pool.makeClone(source, name) }
    }

    static func detach(_ arguments: Arguments) throws(Failure) -> Int32 {
        try forEach(arguments, Array(arguments.operands.dropFirst())) { pool, name throws(Failure) in
            try NameRule.checkReference(name, in: arguments.operands[0])
            let line = try ListCommand.select(try pool.list(), names: [name], of: pool, arguments)[0]
            if line.isSnapshot { throw .usage(name, "is a snapshot; only a clone has an origin to forget") }
            // The record of an origin that is gone is none.
            if line.origin != nil { try pool.detach(name) }
        }
    }

    static func rollback(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1], isDryRun = arguments.has("dry-run"), isDiscarding = arguments.has("discard")
        let (volume, snapshot) = split(name)
        guard let snapshot else { throw .usage(name, "name the snapshot too, as \(name)@NAME; see: volfs list \(Path.quoted(arguments.operands[0])) -r \(name)") }
        let pool = try access(toPool: arguments.operands[0], writing: !isDryRun)
        if isDryRun {
            let lines = try ListCommand.select(try pool.list(), names: [volume, name], of: pool, arguments)
            try ChangeReport.refuse(.rollback, of: [lines[0]], in: pool, arguments)
            let fate = isDiscarding
                ? "what it holds now goes: \(DestroyCommand.cost(of: lines[0]))" : "what it holds now is kept as \(volume)@pre-rollback-TIME"
            return ChangeReport.plan(arguments, ["put \(volume), \(Wording.size(lines[0].size)), back to \(name), \(Wording.size(lines[1].size)); \(fate)"])
        }
        try pool.rollback(volume, to: snapshot, discarding: isDiscarding)
        return try ChangeReport.finish(pool, arguments, changed: [volume])
    }

    /// A size, or how much more.
    static func grow(_ arguments: Arguments) throws(Failure) -> Int32 {
        let text = arguments.operands[1], path = arguments.operands[0]
        guard let amount = Size.parse(text.hasPrefix("+") ? String(text.dropFirst()) : text) else { throw notASize(text) }
        let pool = try access(toPool: path, writing: true)
        let old = try pool.size()
        let (sum, overflow) = old.addingReportingOverflow(amount)
        let size = (text.hasPrefix("+") ? (overflow ? UInt64(Int64.max) : sum) : amount) / 4096 * 4096
        guard size > old else { throw .usage(text, "the pool has \(Wording.size(old)) already; `volfs shrink` makes a pool smaller") }
        try pool.grow(to: size)
        let new = try pool.size()
        if new > size + 4096 {
            complain("volfs: \(path): has \(Wording.size(new)) now, not \(Wording.size(size)): what it is on was as large already, and a pool takes all of it")
        }
        try pool.finish()
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.grow/1")), ("pool", .text(pool.source)), ("size", .size(new))])) }
        return 0
    }

    /// A size, or how much less. What lies behind it is moved first, which may take long.
    static func shrink(_ arguments: Arguments) throws(Failure) -> Int32 {
        let text = arguments.operands[1], path = arguments.operands[0], isDryRun = arguments.has("dry-run")
        let mode = try Progress.mode(arguments)
        guard let amount = Size.parse(text.hasPrefix("-") ? String(text.dropFirst()) : text) else { throw notASize(text) }
        let pool = try access(toPool: path, writing: !isDryRun)
        let old = try pool.size()
        if text.hasPrefix("-") && amount >= old { throw .usage(text, "the pool has \(Wording.size(old)) only; a pool needs some of it") }
        let size = text.hasPrefix("-") ? old - amount : amount
        guard size < old else { throw .usage(text, "the pool has \(Wording.size(old)) only; `volfs grow` makes a pool larger") }
        if isDryRun { return try planShrink(arguments, pool, from: old, to: size) }
        do throws(Failure) {
            try pool.shrink(to: size, mode)
        } catch {
            if Interruption.isEnding { throw Interruption.failure(path, "the pool has \(Wording.size(old)) as before; start again") }
            if error.errno == ENOSPC, let used = try? pool.summary().allocated { throw Self.noPlace(pool, used, size) }
            throw error
        }
        let new = try pool.size()
        try pool.finish()
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.shrink/1")), ("pool", .text(pool.source)), ("size", .size(new))])) }
        return 0
    }

    private static func noPlace(_ pool: any PoolAccess, _ used: UInt64, _ size: UInt64) -> Failure {
        // Of one that is open for reading only it is not known.
        let least = (try? pool.smallestSize()).map { ", as \(Wording.exactSize($0))" } ?? ""
        return Failure(
            .noSpace, pool.source, "\(Wording.size(used)) are in use, which have no place in \(Wording.exactSize(size)), with what the pool needs for itself; destroy something, or choose a larger size\(least)",
            errno: ENOSPC)
    }

    /// Whether there is a place for everything is known for certain only when it is tried, and then nothing has changed either.
    private static func planShrink(
        _ arguments: Arguments, _ pool: any PoolAccess, from old: UInt64, to size: UInt64
    ) throws(Failure) -> Int32 {
        let summary = try pool.summary()
        guard summary.allocated <= size else { throw noPlace(pool, summary.allocated, size) }
        let new: UInt64
        do throws(Failure) { new = try pool.smallerSize(size) } catch {
            throw error.errno == ENOSPC ? noPlace(pool, summary.allocated, size) : error
        }
        return ChangeReport.plan(arguments, [
            "make the pool smaller, from \(Wording.size(old)) to \(Wording.size(new)) (\(new) bytes), and before that move what of its \(Wording.size(summary.allocated)) lies behind",
        ])
    }

    static func swap(_ arguments: Arguments) throws(Failure) -> Int32 {
        let names = [arguments.operands[1], arguments.operands[2]]
        if names[0] == names[1] { return try changeNothing(arguments, names[0], "is both of them") }
        return try change(arguments, names) { pool throws(Failure) in try pool.swap(names[0], names[1]) }
    }

    static func rename(_ arguments: Arguments) throws(Failure) -> Int32 {
        let old = arguments.operands[1], new = arguments.operands[2]
        let (oldVolume, oldSnapshot) = split(old), (newVolume, newSnapshot) = split(new)
        if old == new { return try changeNothing(arguments, old, "is called so already") }
        guard (oldSnapshot == nil) == (newSnapshot == nil), oldSnapshot == nil || oldVolume == newVolume else {
            if oldSnapshot != nil && newSnapshot == nil { throw .usage(new, "a snapshot stays with its volume; write the new name as \(oldVolume)@\(new)") }
            throw .usage(new, "a volume stays a volume, and a snapshot stays with its volume")
        }
        if let newSnapshot {
            try NameRule.checkSnapshot(newSnapshot, in: new)
        } else {
            try NameRule.checkVolume(newVolume)
        }
        return try change(arguments, [new]) { pool throws(Failure) in
            let object = try ListCommand.select(try pool.list(), names: [old], of: pool, arguments)[0]
            try pool.rename(object, to: newSnapshot ?? newVolume)
        }
    }

    /// For what is as it is to be.
    private static func changeNothing(_ arguments: Arguments, _ name: String, _ why: String) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: false)
        _ = try ListCommand.select(try pool.list(), names: [name], of: pool, arguments)
        complain("volfs: \(name): \(why); nothing was done")
        return try ChangeReport.finish(pool, arguments, changed: [name])
    }

    /// `other`, which stands before the size, may be it.
    private static func notASize(_ text: String, before other: String? = nil) -> Failure {
        if let other, Size.parse(other) != nil { return .usage(text, "not a size; the name comes before it: \(text) \(other)") }
        return .usage(text, Size.complaint(text))
    }

    private static func change(
        _ arguments: Arguments, _ names: [String], _ body: (any PoolAccess) throws(Failure) -> Void
    ) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: true)
        try body(pool)
        return try ChangeReport.finish(pool, arguments, changed: names)
    }

    /// One change for each name. Those that fail are said; the status tells whether all or some did.
    static func forEach(
        _ arguments: Arguments, _ names: [String], _ body: (any PoolAccess, String) throws(Failure) -> Void
    ) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: true)
        let (changed, failures) = ChangeReport.each(names) { name throws(Failure) in try body(pool, name) }
        if changed.isEmpty { try pool.finish() } else { _ = try ChangeReport.finish(pool, arguments, changed: changed) }
        return try ChangeReport.conclude(failures, of: names.count, arguments)
    }
}
