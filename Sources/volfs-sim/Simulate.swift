internal import Glibc
internal import PoolEngine
internal import TestSupport

/// Long simulations; not installed. Histories of tiny pools, stopped in every way a disk allows: see `--help`.
let usage = """
    Usage: volfs-sim [--images N] [--seconds S] [--threads T] [--first-seed N] [--break RULE]
           volfs-sim --sequences N [--threads T]
           volfs-sim --seed N [--break RULE]

    Runs seeded histories of a tiny pool, and every short sequence of steps, with crashes before each operation of the disk,
    until N distinct crash images were judged or S seconds have passed, and prints a table of them. With --seed runs that
    one history, and if it fails finds the shortest one that does. --sequences runs the first N of the short sequences, the
    shortest first, in every image there is. --break 1 to 12 breaks an ordering rule of volfs-pool(5).

    Exit status: 0 if every image opened to a state of its history, 1 if not, 2 for wrong usage.

    """

struct Arguments {
    var values: [String: Int] = [:]
    static let names = ["images", "seconds", "threads", "first-seed", "seed", "break", "sequences"]

    /// Nil if the words are not as `usage` says.
    init?(_ words: ArraySlice<String>) {
        var words = words
        while let word = words.popFirst() {
            guard word.hasPrefix("--"), Self.names.contains(String(word.dropFirst(2))), let text = words.popFirst(),
                let value = Int(text), value >= 0
            else { return nil }
            values[String(word.dropFirst(2))] = value
        }
    }
}

func tell(_ failure: Simulation.Failure) {
    print("FAILED: \(failure.description)")
    for step in failure.script { print("  \(step.text)") }
}

func run(seed: UInt64, rule: OrderingRule?) -> Int32 {
    let options = Campaign.options(seed: seed, brokenRule: rule)
    do {
        let simulation = try Simulation(seed: seed, options: options)
        try simulation.run()
        print("seed \(seed): \(simulation.coverage.images) images, all opened to a state of their history")
        return 0
    } catch {
        guard let failure = error as? Simulation.Failure else {
            print("FAILED: \(error)")
            return 1
        }
        tell(failure)
        print("shortest:")
        tell(Campaign.shortened(failure, seed: seed, options: options))
        return 1
    }
}

func campaign(_ arguments: Arguments, rule: OrderingRule?) -> Int32 {
    var settings = Campaign.Settings()
    if let seconds = arguments.values["seconds"] { settings.seconds = Double(seconds) }
    settings.sequences = arguments.values["sequences"]
    settings.images = arguments.values["images"] ?? (arguments.values["seconds"] == nil && settings.sequences == nil ? 100_000 : .max)
    settings.threads = arguments.values["threads"] ?? 2
    settings.firstSeed = UInt64(arguments.values["first-seed"] ?? 0)
    settings.brokenRule = rule
    settings.progress = { progress in
        let rate = Int(Double(progress.coverage.images) / max(progress.seconds, 0.001))
        print("\(progress.coverage.images) images, \(rate) a second, \(progress.histories) histories, next seed \(progress.nextSeed)")
    }
    let result = Campaign(settings).run()
    print(result.coverage.table)
    print(
        "\(result.coverage.images) distinct images of \(result.histories) histories and \(result.sequences) of "
            + "\(ShortSequences.count) short sequences, \(result.failure == nil ? 0 : 1) failures, \(Int(result.seconds)) seconds")
    guard let failure = result.failure else { return 0 }
    tell(failure)
    if let seed = result.seed { print("reproduce and shorten: volfs-sim --seed \(seed)\(rule.map { " --break \($0.rawValue)" } ?? "")") }
    return 1
}

@main struct Main {
    static func main() {
        guard let arguments = Arguments(CommandLine.arguments.dropFirst()) else {
            print(usage)
            exit(CommandLine.arguments.dropFirst().first == "--help" ? 0 : 2)
        }
        let rule = arguments.values["break"].flatMap { OrderingRule(rawValue: $0) }
        if let seed = arguments.values["seed"] { exit(run(seed: UInt64(seed), rule: rule)) }
        exit(campaign(arguments, rule: rule))
    }
}
