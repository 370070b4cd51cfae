/// `volfs stats`: what `.ctl/stats` says, mounted or not.
enum StatsCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let pool = try access(toPool: arguments.operands[0], writing: false)
        say(try pool.statistics(isJSON: arguments.isJSON), end: "")
        return 0
    }
}
