internal import VolumeFS

/// `volfs diff`: where two versions of a volume differ, printed as it is found.
enum DiffCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let (volume, from) = split(arguments.operands[1]), (other, to) = split(arguments.operands[2])
        var progress = Progress("diff", try Progress.mode(arguments))
        let pool = try access(toPool: arguments.operands[0], writing: false)
        let (compared, failures) = ListCommand.found(try pool.list(), names: Array(arguments.operands[1...2]), of: pool, arguments)
        if let failure = failures.first { throw failure }
        guard volume == other, let from else {
            throw .usage(arguments.operands[1], "compare VOLUME@SNAPSHOT with a later snapshot of it, or with VOLUME")
        }
        let sizes = compared.map(\.size)
        let total = sizes.max()
        var ranges: [JSON] = []
        try pool.differences(volume, from: from, to: to) { offset, count, isHole throws(Failure) in
            if Interruption.isEnding { progress.leaveLine() }
            try Interruption.check(arguments.operands[1], "what was printed is not all; start again")
            progress.show(offset, of: total)
            if arguments.isJSON {
                ranges.append(.fields([("offset", .size(offset)), ("length", .size(count)), ("hole", .bool(isHole))]))
            } else {
                say("\(offset) \(count)\(isHole ? " z" : "")")
            }
        }
        progress.end(total ?? 0, of: total)
        if arguments.isJSON { say(JSON.object([("schema", .text("volfs.diff/1")), ("ranges", .array(ranges))])) }
        return 0
    }
}
