internal import VolumeFS

/// `volfs get` and `volfs set`.
enum PropertyCommands {
    static func get(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1], wanted = arguments.operands.dropFirst(2)
        let pool = try access(toPool: arguments.operands[0], writing: false)
        var found = try pool.properties(name)
        for property in wanted where !found.contains(where: { $0.name == property }) {
            throw Failure(.notFound, "\(name) \(property)", "no such property is set; see: volfs get \(arguments.operands[0]) \(name)")
        }
        if !wanted.isEmpty { found = found.filter { wanted.contains($0.name) } }
        if arguments.isJSON {
            say(JSON.object([("schema", .text("volfs.properties/1")), ("name", .text(name)), ("properties", .fields(found.map { ($0.name, .text($0.value)) }))]))
        } else if wanted.count == 1 {
            say(found[0].value)
        } else {
            for property in found { say(property.name.padded(to: 16) + property.value) }
        }
        return 0
    }

    static func set(_ arguments: Arguments) throws(Failure) -> Int32 {
        let name = arguments.operands[1]
        let changes = arguments.operands.dropFirst(2).map { $0.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init) }
        for change in changes where change.count != 2 { throw .usage(change[0], "write it as \(change[0])=VALUE; an empty value removes it") }
        for change in changes where !VolumeFileSystem.settableNames.contains(change[0]) {
            throw .usage(change[0], "cannot be set; there is \(VolumeFileSystem.settableNames.joined(separator: ", "))")
        }
        let pool = try access(toPool: arguments.operands[0], writing: true)
        for change in changes { try pool.setProperty(name, change[0], change[1]) }
        try pool.finish()
        return 0
    }
}
