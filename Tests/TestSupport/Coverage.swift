/// How many distinct crash images were judged, by the step that was cut off and by what was left of it.
package struct Coverage: Sendable {
    package private(set) var counts: [String: [String: Int]] = [:]
    package private(set) var images = 0

    package init() {}

    package mutating func add(step: String, kind: String, count: Int = 1) {
        counts[step, default: [:]][kind, default: 0] += count
        images += count
    }

    package mutating func add(_ other: Coverage) {
        for (step, kinds) in other.counts { for (kind, count) in kinds { add(step: step, kind: kind, count: count) } }
    }

    /// Counts of a life after a crash, under a row of their own.
    mutating func addLater(_ other: Coverage) {
        for kinds in other.counts.values { for (kind, count) in kinds { add(step: "second life", kind: kind, count: count) } }
    }

    /// A table with a row a step and a column a kind.
    package var table: String {
        let kinds = CrashPoint.Kind.allCases.map(\.rawValue)
        func cell(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(1, width - text.count)) + text }
        var lines = ["step        " + kinds.map { cell($0, $0.count + 2) }.joined()]
        for step in counts.keys.sorted() {
            let cells = kinds.map { cell("\(counts[step]?[$0] ?? 0)", $0.count + 2) }.joined()
            lines.append(step + String(repeating: " ", count: max(1, 12 - step.count)) + cells)
        }
        return lines.joined(separator: "\n")
    }
}
