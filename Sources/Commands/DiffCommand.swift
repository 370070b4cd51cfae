internal import VolumeFS

/// `volfs diff`: where two versions of a volume differ.
enum DiffCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let (volume, from) = split(arguments.operands[1]), (other, to) = split(arguments.operands[2])
        guard volume == other, let from else {
            throw .usage(arguments.operands[1], "compare VOLUME@SNAPSHOT with a later snapshot of it, or with VOLUME")
        }
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let text = try pool.differences(volume, from: from, to: to)
        if !arguments.isJSON {
            say(text, end: "")
            return 0
        }
        let ranges: [JSON] = text.split(separator: "\n").map { line in
            let words = line.split(separator: " ")
            return .fields([
                ("offset", .size(UInt64(words[0]) ?? 0)), ("length", .size(UInt64(words[1]) ?? 0)), ("hole", .bool(words.count > 2)),
            ])
        }
        say(JSON.object([("schema", .text("volfs.diff/1")), ("ranges", .array(ranges))]))
        return 0
    }
}
