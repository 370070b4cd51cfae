internal import Glibc
internal import VolumeFS

/// `volfs copy`: the bytes of a volume or a snapshot as a volume of their own, in its pool or in another one.
enum CopyCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let operand = arguments.operands[0], source = arguments.operands[1], name = arguments.operands[2]
        try NameRule.checkReference(source, in: operand)
        try NameRule.checkVolume(name)
        let progress = Progress("copy", try Progress.mode(arguments))
        let target = arguments["to"] ?? operand
        let isSame = place(target) == place(operand)
        let from = try access(toPool: operand, writing: isSame)
        let to = try isSame ? from : access(toPool: target, writing: true)
        let input = try from.stream(source, writing: false)
        let volume = NewVolume(pool: to, poolOperand: target, name: name, way: "copy")
        try volume.fill(from: input, source: source, progress)
        // What is shared is not read.
        if isSame, let counters = FlatJSON(try from.statistics(isJSON: true)), counters.number("checksum_errors") > 0 {
            complain("volfs: \(name): shares blocks with \(source), and the pool has damaged data, which may be among them; see: volfs scrub \(Path.quoted(operand))")
        }
        return try ChangeReport.finish(to, arguments, changed: [name])
    }

    /// The same for a pool's file and where it is mounted.
    private static func place(_ operand: String) -> String {
        let path = Path.absolute(operand)
        return MountTable().mount(serving: path)?.source ?? path
    }
}
