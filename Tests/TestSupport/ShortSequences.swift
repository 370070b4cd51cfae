/// Every sequence of up to four steps of a small alphabet, on a fresh pool and on an aged one (J. Mohan et al., "Finding
/// crash-consistency bugs with bounded black-box crash testing", OSDI 2018: most bugs need no more than three operations).
package enum ShortSequences {
    private static let fresh = ["create a 40960", "checkpoint"]
    private static let aged = [
        "create a 40960", "write a 0 20000 data", "snapshot a@s", "write a 5000 9000 data", "clone a@s b", "snapshot a@t",
        "write a 1024 3072 data", "delete a@s", "checkpoint", "reap 3", "write b 3000 2000 data", "flush",
    ]
    private static let alphabet = [
        "write a 2048 1024 data", "write a 700 18000 mixed", "write a 1024 4096 zeros", "discard a 1500 9000", "flush",
        "snapshot a@x", "clone a c", "delete a@t", "rollback a@t", "resize a 3000", "grow a 30000 12000 data", "checkpoint",
        "reap 4", "delete b", "share a@t 2048 b 1024 12288",
    ]

    /// Of each length from 1 to 4, on both pools.
    package static let count: Int = 2 * lengths.reduce(0, +)
    private static let lengths = (1...4).map { length in (0..<length).reduce(1) { product, _ in product * alphabet.count } }

    /// A sequence's steps with those that make its pool, and the index of its last step. The crashes in the steps before
    /// are those of a shorter sequence.
    package static func steps(_ number: Int) -> (steps: [ScheduledStep], last: Int) {
        var rest = number / 2
        var length = 1
        while rest >= lengths[length - 1] {
            rest -= lengths[length - 1]
            length += 1
        }
        var letters: [String] = []
        for _ in 0..<length {
            letters.append(alphabet[rest % alphabet.count])
            rest /= alphabet.count
        }
        let lines = (number % 2 == 0 ? fresh : aged) + letters
        return (lines.compactMap { ScheduledStep(text: $0) }, lines.count - 1)
    }
}
