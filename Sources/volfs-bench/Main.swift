internal import BlockStorage
internal import Glibc

let usage = """
    Usage: volfs-bench [--instructions FILE]
           volfs-bench --run WORKLOAD ROUNDS

    Counts what a request costs in the engine, on any machine the same, and compares that with the ceilings in this program, which
    may only fall. With --instructions also what FILE says: lines of a workload and its instructions a request, as
    scripts/count-instructions prints them. --run makes the requests of one workload, 1000 of 4 KiB
    or 100 of 1 MiB, ROUNDS times, and prints nothing: for that script.

    Exit status: 0 if nothing costs more than its ceiling, 1 if something does, 2 for wrong usage.

    """

/// Prints one row, and whether the ceiling holds.
func judge(_ name: String, _ what: String, _ value: Double, _ ceiling: Double) -> Bool {
    // Two digits.
    func text(_ number: Double) -> String { String(Double(Int((number * 100).rounded())) / 100) }
    let holds = value <= ceiling
    print("| \(name) | \(what) | \(text(value)) | \(text(ceiling)) |\(holds ? "" : " **too much**")")
    return holds
}

/// Numbers by the first word of each line.
func numbers(_ path: String) -> [String: Double]? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = fread(&bytes, 1, bytes.count, file)
    var result: [String: Double] = [:]
    for line in String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n") {
        let words = line.split(separator: " ")
        guard words.count == 2, let number = Double(words[1]) else { return nil }
        result[String(words[0])] = number
    }
    return result
}

func compare(instructions: [String: Double]?) throws(PoolError) -> Int32 {
    print("| workload | counted a request | is | may be |\n|---|---|---|---|")
    var holds = true
    for workload in Workload.allCases {
        let cost = try workload.run(rounds: 4), ceiling = workload.ceiling
        holds = judge(workload.rawValue, "allocations", cost.allocations, ceiling.allocations) && holds
        holds = judge(workload.rawValue, "calls of the device", cost.calls, ceiling.calls) && holds
        guard let instructions, let most = ceiling.instructions else { continue }
        guard let count = instructions[workload.rawValue] else {
            print("no instructions of \(workload.rawValue) were given")
            return 2
        }
        holds = judge(workload.rawValue, "instructions", count, most) && holds
    }
    return holds ? 0 : 1
}

@main struct Main {
    static func main() {
        let words = CommandLine.arguments.dropFirst()
        do throws(PoolError) {
            switch words.first {
            case nil: exit(try compare(instructions: nil))
            case "--instructions":
                guard words.count == 2, let file = words.last, let counted = numbers(file) else { break }
                exit(try compare(instructions: counted))
            case "--run":
                guard words.count == 3, let workload = Workload(rawValue: words[words.startIndex + 1]),
                    let rounds = Int(words[words.startIndex + 2]), rounds > 1
                else { break }
                _ = try workload.run(rounds: rounds)
                exit(0)
            default: break
            }
        } catch {
            print("failed: \(error)")
            exit(1)
        }
        print(usage)
        exit(words.first == "--help" ? 0 : 2)
    }
}
