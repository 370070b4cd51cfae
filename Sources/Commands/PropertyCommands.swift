internal import BlockStorage
internal import VolumeFS

/// `volfs get`, `set`, `hold` and `release`.
enum PropertyCommands {
    /// What stands for the pool where a volume or a snapshot is named: no name begins with it.
    private static let poolItself = "."

    static func get(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands.count > 1 ? arguments.operands[1] : Self.poolItself, wanted = arguments.operands.dropFirst(2)
        if name != Self.poolItself { try NameRule.checkReference(name, in: arguments.operands[0]) }
        let pool = try access(toPool: arguments.operands[0], writing: false)
        var found = name == Self.poolItself ? try pool.poolProperties() : try pool.properties(name)
        for property in wanted where !found.contains(where: { $0.name == property }) {
            if let absence = VolumeFileSystem.absence(of: property) { throw Failure(.notFound, name, absence, errno: PoolError.noProperty.errno).of(property: property) }
            throw Failure(.notFound, name, "no such property is set; see: volfs get \(Path.quoted(arguments.operands[0])) \(name)").of(property: property)
        }
        if !wanted.isEmpty { found = found.filter { wanted.contains($0.name) } }
        if arguments.isJSON {
            say(JSON.object([("schema", .text("volfs.properties/1")), ("name", .text(name)), ("properties", .fields(found.map { ($0.name, json($0.name, $0.value)) }))]))
        } else if wanted.count == 1 {
            say(found[0].value)
        } else {
            for property in found { say(property.name.padded(to: 16) + TextTable.line(property.value)) }
        }
        return 0
    }

    private static let numbers: Set = [
        "size", "referenced", "used", "unique", "written", "generation", "snapshots", "open", "reserved", "quota", "reservation", "snapshot_limit",
        "block_size", "capacity", "allocated", "free", "available", "dirty", "fragmentation", "errors", "autogrow",
    ]

    private static func json(_ name: String, _ value: String) -> JSON {
        if numbers.contains(name), let number = UInt64(value) { return .size(number) }
        return .text(value)
    }

    static func set(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1]
        if name == Self.poolItself { throw .usage(name, "the pool's own properties are computed; it is made larger by volfs grow, and by -o autogrow=SIZE") }
        if let cut = name.firstIndex(of: "=") {
            throw .usage(name, "the name comes before it: volfs set \(Path.quoted(arguments.operands[0])) NAME \(name[..<cut])=VALUE")
        }
        try NameRule.checkReference(name, in: arguments.operands[0])
        var changes = arguments.operands.dropFirst(2).map { $0.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init) }
        for change in changes where change.count != 2 { throw .usage(change[0], "write it as \(change[0])=VALUE; an empty value removes it") }
        for change in changes where !VolumeFileSystem.settableNames.contains(change[0]) {
            let there = VolumeFileSystem.settableNames(isSnapshot: split(name).snapshot != nil).joined(separator: ", ")
            throw .usage(change[0], Misuse.property(change[0], pool: arguments.operands[0], object: name) ?? "cannot be set; there is \(there)")
        }
        for change in changes where split(name).snapshot != nil && VolumeFileSystem.isOfVolumes(change[0]) {
            throw Failure(
                .permission, name, "is a snapshot, which never changes, and \(change[0]) a property of volumes; clone it and set it of that: volfs clone \(Path.quoted(arguments.operands[0])) \(name) NEW",
                errno: PoolError.readOnly.errno).of(property: change[0])
        }
        for index in changes.indices {
            changes[index][1] = try bytes(changes[index][0], changes[index][1])
            // All are looked at before the first is set.
            if let reason = VolumeFileSystem.refusal(of: changes[index][0], changes[index][1], isSnapshot: split(name).snapshot != nil) {
                throw Failure.usage(name, reason).of(property: changes[index][0])
            }
        }
        let pool = try access(toPool: arguments.operands[0], writing: true)
        for change in changes { try pool.setProperty(name, change[0], change[1]) }
        return try ChangeReport.finish(pool, arguments, changed: [name])
    }

    /// A size as people write it, in bytes as it is kept.
    private static func bytes(_ property: String, _ value: String) throws(Failure) -> String {
        guard ["quota", "reservation"].contains(property), !value.isEmpty else { return value }
        guard let size = Size.parse(value) else { throw .usage("\(property)=\(value)", Size.complaint(value) + ", or leave it empty to remove it") }
        return "\(size)"
    }

    static func hold(_ arguments: Arguments) throws(Failure) -> Int32 {
        let reason = arguments["reason"] ?? ObjectChange.unexplained
        if reason.isEmpty { throw .usage("--reason", "say something; an empty reason would release it") }
        return try ChangeCommands.forEach(arguments, Array(arguments.operands.dropFirst())) { pool, name throws(Failure) in
            try checkSnapshot(name, in: arguments.operands[0])
            try pool.setProperty(name, "hold", reason)
        }
    }

    static func release(_ arguments: Arguments) throws(Failure) -> Int32 {
        try ChangeCommands.forEach(arguments, Array(arguments.operands.dropFirst())) { pool, name throws(Failure) in
            try checkSnapshot(name, in: arguments.operands[0])
            guard try pool.properties(name).contains(where: { $0.name == "hold" }) else {
                throw Failure(.notFound, name, "is not held", errno: 61)
            }
            try pool.setProperty(name, "hold", "")
        }
    }

    private static func checkSnapshot(_ name: String, in pool: String) throws(Failure) {
        if split(name).snapshot == nil { throw .usage(name, "is a volume; only snapshots are held: name it VOLUME@SNAPSHOT") }
        try NameRule.checkReference(name, in: pool)
    }
}
