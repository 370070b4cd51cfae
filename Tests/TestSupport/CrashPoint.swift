internal import BlockStorage

/// A moment at which a simulated machine may stop, and the images of the disk it may leave.
package struct CrashPoint: Sendable {
    /// Number of the device's operation that was about to begin.
    package var operation: Int
    package var mark: Mark
    /// As readers saw the disk, and as of its last flush; the operations between the two.
    package var current: [UInt8]
    package var durable: [UInt8]
    package var window: [DiskOperation]

    /// How far the workload had got: states from `durable` on must survive loss of power, the one numbered `acknowledged`
    /// or a later one the end of the process.
    package struct Mark: Sendable {
        package var durable = 0
        package var acknowledged = 0
        package init() {}
    }

    /// What happened to the operations after the last flush.
    package enum Kind: String, CaseIterable, Sendable {
        case processEnd = "process ended"
        case nothingKept = "nothing kept"
        case allKept = "everything kept"
        case prefix = "a prefix kept"
        case oneMissing = "one missing"
        case oneAlone = "one alone"
        case subset = "some subset"
        case punchMissing = "punch missing"
        case tornOld = "torn, old bytes"
        case tornGarbage = "torn, garbage"
    }

    /// One image: which operations it has whole, and which one is torn.
    package struct Choice: Sendable {
        package var kind: Kind
        var kept: [Bool]
        var torn: Int?
        /// For the torn sectors.
        var seed: UInt64
    }

    /// Up to ten operations since the flush: each subset that the points before this one did not have, and each torn
    /// operation with all or none of the others.
    package func allChoices(_ random: inout SeededRandom) -> [Choice] {
        let count = window.count
        guard count <= 10 else { return sampledChoices(96, &random) }
        var choices = [Choice(kind: .processEnd, kept: [], torn: nil, seed: 0)]
        if count == 0 { return choices + [choice(.nothingKept, [])] }
        for bits in 0..<1 << (count - 1) {
            choices.append(choice((0..<count).map { $0 == count - 1 || bits >> $0 & 1 == 1 }))
        }
        for index in 0..<count {
            guard case .write = window[index] else { continue }
            for others in [true, false] {
                for kind in [Kind.tornOld, .tornGarbage] {
                    choices.append(
                        Choice(kind: kind, kept: (0..<count).map { $0 != index && others }, torn: index, seed: random.next()))
                }
            }
        }
        return choices
    }

    /// The end of the process, nothing, everything, each prefix, each one missing, each one alone, and random subsets, half
    /// of them torn; `count` of those, chosen at random, if that is fewer.
    package func sampledChoices(_ limit: Int, _ random: inout SeededRandom) -> [Choice] {
        let count = window.count
        var choices: [Choice] = []
        for _ in 0..<limit {
            let one = random.below(count)
            switch random.below(8) {
            case 0: choices.append(Choice(kind: .processEnd, kept: [], torn: nil, seed: 0))
            case 1: choices.append(choice(random.oneIn(2) ? .allKept : .nothingKept, [Bool](repeating: random.oneIn(2), count: count)))
            case 2: choices.append(choice(.prefix, (0..<count).map { $0 < one }))
            case 3: choices.append(choice(.oneMissing, (0..<count).map { $0 != one }))
            case 4: choices.append(choice(.oneAlone, (0..<count).map { $0 == one }))
            case 5: choices.append(choice((0..<count).map { _ in random.oneIn(2) }))
            default:
                var kept = (0..<count).map { _ in random.oneIn(2) }
                guard count > 0, case .write = window[one] else { continue }
                kept[one] = false
                choices.append(Choice(kind: random.oneIn(2) ? .tornOld : .tornGarbage, kept: kept, torn: one, seed: random.next()))
            }
        }
        return choices
    }

    /// Named for what it keeps.
    private func choice(_ kept: [Bool]) -> Choice {
        let count = kept.count(where: { $0 })
        let isPrefix = !kept.drop(while: { $0 }).contains(true)
        let kind: Kind =
            count == kept.count ? .allKept : count == 0 ? .nothingKept : isPrefix ? .prefix
            : count == 1 ? .oneAlone : count == kept.count - 1 ? .oneMissing : .subset
        return choice(kind, kept)
    }

    private func choice(_ kind: Kind, _ kept: [Bool]) -> Choice {
        var result = Choice(kind: kind, kept: kept, torn: nil, seed: 0)
        if kept.count(where: { $0 }) == kept.count { result.kind = .allKept }
        if !kept.contains(true) { result.kind = .nothingKept }
        for (index, operation) in window.enumerated() where !kept[index] {
            if case .discard = operation, kept[index...].contains(true) { result.kind = .punchMissing }
        }
        return result
    }

    /// The disk as the choice leaves it. After the end of a process what was not flushed is still only in the cache.
    package func disk(_ choice: Choice) -> SimulatedDisk {
        if choice.kind == .processEnd { return SimulatedDisk(current: current, durable: durable, window: window) }
        return SimulatedDisk(image: bytes(choice))
    }

    package func bytes(_ choice: Choice) -> [UInt8] {
        if choice.kind == .processEnd { return current }
        var image = durable
        for (index, operation) in window.enumerated() {
            if choice.kept[index] { operation.apply(to: &image) }
            if choice.torn == index { operation.tear(into: &image, hasGarbage: choice.kind == .tornGarbage, seed: choice.seed) }
        }
        return image
    }
}

/// What changes a disk.
package enum DiskOperation: Sendable {
    case write(offset: Int, bytes: [UInt8])
    case discard(offset: Int, count: Int)

    var end: Int {
        switch self {
        case .write(let offset, let bytes): offset + bytes.count
        case .discard(let offset, let count): offset + count
        }
    }

    func apply(to image: inout [UInt8]) {
        switch self {
        case .write(let offset, let bytes):
            image.withUnsafeMutableBytes { $0.part(offset..<offset + bytes.count).copyBytes(from: bytes) }
        case .discard(let offset, let count):
            image.withUnsafeMutableBytes { $0.part(offset..<offset + count).clear() }
        }
    }

    /// Applies a random choice of its sectors: those that are missing keep their old bytes, or have garbage.
    func tear(into image: inout [UInt8], hasGarbage: Bool, seed: UInt64) {
        guard case .write(let offset, let bytes) = self else { return }
        var random = SeededRandom(seed: seed)
        let sector = SimulatedDisk.sectorSize
        for start in stride(from: 0, to: bytes.count, by: sector) {
            let end = min(start + sector, bytes.count)
            if random.oneIn(2) {
                DiskOperation.write(offset: offset + start, bytes: Array(bytes[start..<end])).apply(to: &image)
            } else if hasGarbage {
                for index in start..<end { image[offset + index] = UInt8(truncatingIfNeeded: random.next()) }
            }
        }
    }
}
