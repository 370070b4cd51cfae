/// Makes up what a history does next, from a seed and the state it has come to.
///
/// Histories go through phases of some steps each, which weigh the steps differently: filling to the last block, storms of
/// deletion, rotating snapshots, fans of clones, small reaping between writes to what is being reaped, cutting and growing.
package struct StepGenerator {
    private var random: SeededRandom
    private let volumeSize: Int
    private let nests: Bool
    private var phase = Phase.mixed
    private var left = 0
    private var names = 0

    private enum Phase: CaseIterable { case mixed, fill, deleteStorm, rotation, cloneFan, reapUnderWrites, cutAndGrow, flushes, poolSizes }

    package init(seed: UInt64, volumeSize: Int, nests: Bool) {
        random = SeededRandom(seed: seed)
        self.volumeSize = volumeSize
        self.nests = nests
    }

    package mutating func next(in model: ModelPool) -> ScheduledStep {
        if left == 0 {
            phase = random.oneIn(3) ? .mixed : Phase.allCases.randomElement(using: &random) ?? .mixed
            left = 4 + random.below(12)
        }
        left -= 1
        let step = step(in: model)
        return ScheduledStep(step, nested: nests && random.oneIn(3) ? nested(in: step, model) : [])
    }

    private mutating func step(in model: ModelPool) -> Step {
        guard let volume = model.volumes.keys.sorted().randomElement(using: &random) else { return create() }
        let size = model.volumes[volume]?.size ?? 0
        // Weights: create, snapshot, clone, delete snapshot, delete volume, rollback, rename, resize, discard, flush,
        // checkpoint, reap, maintain, reopen, share, write, shrink or extend the pool.
        let weights: [Int] =
            switch phase {
            case .mixed: [1, 3, 2, 2, 1, 1, 1, 2, 3, 3, 2, 3, 1, 1, 3, 10, 1]
            case .fill: [1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 4, 30, 1]
            case .deleteStorm: [0, 0, 0, 10, 6, 0, 0, 0, 4, 1, 1, 6, 2, 1, 2, 2, 1]
            case .rotation: [0, 8, 0, 8, 0, 0, 0, 0, 1, 2, 2, 3, 1, 0, 2, 10, 1]
            case .cloneFan: [0, 2, 10, 2, 4, 1, 1, 0, 1, 1, 1, 3, 1, 0, 3, 8, 1]
            case .reapUnderWrites: [0, 3, 1, 4, 1, 3, 0, 1, 3, 1, 2, 14, 1, 0, 5, 14, 1]
            case .cutAndGrow: [0, 2, 1, 1, 0, 1, 0, 12, 4, 1, 1, 3, 1, 0, 3, 10, 1]
            case .poolSizes: [1, 3, 3, 3, 1, 1, 0, 1, 2, 1, 2, 4, 1, 1, 5, 14, 14]
            case .flushes: [0, 1, 0, 1, 0, 0, 0, 0, 2, 16, 1, 1, 0, 1, 2, 14, 0]
            }
        switch pick(weights) {
        case 0: return create()
        case 1: return random.oneIn(6) && model.volumes.count < 8 ? .snapshotAll(freshName("s")) : .snapshot(volume, freshName("s"))
        case 2:
            let snapshot = random.oneIn(3) ? nil : model.snapshots[volume]?.keys.sorted().randomElement(using: &random)
            return .clone(of: snapshot.map { "\(volume)@\($0)" } ?? volume, freshName("v"))
        case 3:
            guard let owner = model.snapshots.keys.sorted().randomElement(using: &random),
                let name = model.snapshots[owner]?.keys.sorted().randomElement(using: &random)
            else { return write(volume, size) }
            return .delete("\(owner)@\(name)")
        case 4: return .delete(volume)
        case 5:
            guard let name = model.snapshots[volume]?.keys.sorted().randomElement(using: &random) else { return write(volume, size) }
            return .rollback(volume, to: name)
        case 6:
            if random.oneIn(6) { return .forget(volume) }
            let other = model.volumes.keys.sorted().randomElement(using: &random) ?? volume
            return random.oneIn(2) && other != volume ? .swap(volume, other) : .rename(volume, freshName("v"))
        case 7: return .resize(volume, size: someSize())
        case 8:
            let offset = random.below(size)
            return .discard(volume, offset: offset, count: 1 + random.below(random.oneIn(2) ? max(1, size - offset) : 5000))
        case 9: return .flush
        case 10:
            guard random.oneIn(3) else { return .checkpoint }
            return .property(volume, name: "p\(random.below(4))", count: random.oneIn(4) ? 0 : 1 + random.below(random.oneIn(3) ? 450 : 40))
        case 11: return .reap(budget: 1 + random.below(24))
        case 12: return .maintain
        case 13: return .reopen
        case 14:
            guard random.oneIn(4) else { return share(volume, size, model) }
            return .reserve(volume, offset: random.below(size + 1), count: 1 + random.below(random.oneIn(3) ? 60_000 : 9000))
        case 16:
            // From about the smallest pool in which everything can still be deleted to a little more than histories begin with.
            let size = (16 + random.below(11)) * 16 * 1024 + random.below(3) * 700
            return random.oneIn(3) ? .extend(size: size) : .shrink(size: size)
        default: return write(volume, size)
        }
    }

    private mutating func create() -> Step { .create(freshName("v"), size: someSize()) }

    /// Mostly two levels, sometimes one, sometimes three and sparse.
    private mutating func someSize() -> Int {
        switch random.below(8) {
        case 0: random.below(16 * 1024)
        case 1: random.below(6 << 20)
        default: random.below(volumeSize)
        }
    }

    private mutating func write(_ volume: String, _ size: Int) -> Step {
        let isGrowing = random.oneIn(4)
        let offset = random.below(min(size, random.oneIn(8) ? size : volumeSize) + 1)
        var count = 1 + random.below(phase == .fill || random.oneIn(6) ? 40_000 : 3000)
        if random.oneIn(3) { count = (count + 1023) / 1024 * 1024 }
        if !isGrowing { count = max(1, min(count, size - offset)) }
        let fill: Step.Fill = random.oneIn(6) ? .zeros : random.oneIn(3) ? .mixed : .data
        if random.oneIn(5), !isGrowing, offset / 1024 * 1024 + 2048 <= size {
            let start = offset / 1024 * 1024
            return .scatter(volume, offset: start, count: min(1 + count / 1024, (size - start) / 1024, 40) * 1024, fill)
        }
        return .write(volume, offset: random.oneIn(2) ? offset : offset / 1024 * 1024, count: count, fill, isGrowing: isGrowing)
    }

    /// From any volume or snapshot, mostly whole blocks, often a long stretch of it.
    private mutating func share(_ volume: String, _ size: Int, _ model: ModelPool) -> Step {
        let owner = model.volumes.keys.sorted().randomElement(using: &random) ?? volume
        let snapshot = random.oneIn(2) ? model.snapshots[owner]?.keys.sorted().randomElement(using: &random) : nil
        let source = snapshot.map { "\(owner)@\($0)" } ?? owner
        let length = (snapshot.map { model.snapshots[owner]?[$0] } ?? model.volumes[owner])?.size ?? 0
        var offset = random.below(length + 1), target = random.oneIn(3) ? offset : random.below(size + 1)
        if !random.oneIn(8) { (offset, target) = (offset / 1024 * 1024, target / 1024 * 1024) }
        let rest = max(1, length - offset)
        let count = random.oneIn(3) ? rest : min(rest, 1 + random.below(random.oneIn(4) ? 60_000 : 9000))
        return .share(source, offset: offset, to: volume, target: target, count: random.oneIn(2) ? count : max(1, count / 1024 * 1024))
    }

    /// Steps for the middle of another, where a thread of its own would make them.
    private mutating func nested(in outer: Step, _ model: ModelPool) -> [ScheduledStep.Nested] {
        let isWrite: Bool
        switch outer {
        case .write, .discard, .share: isWrite = true
        case .checkpoint, .reap, .maintain, .shrink: isWrite = false
        default: return []
        }
        return (0..<1 + random.below(3)).map { _ in
            var step = step(in: model)
            if case .reopen = step { step = .flush }
            if step.isSizeChange { step = .checkpoint }
            if case .write(let volume, _, _, let fill, _) = step, case .write(volume, let offset, let count, _, _) = outer, random.oneIn(2) {
                // The same blocks, for the race between the two.
                step = .write(volume, offset: offset, count: min(count, 2500), fill, isGrowing: false)
            }
            return ScheduledStep.Nested(call: 1 + random.below(isWrite ? 4 : 20), step: step)
        }
    }

    private mutating func freshName(_ letter: String) -> String {
        names += 1
        return "\(letter)\(names)"
    }

    private mutating func pick(_ weights: [Int]) -> Int {
        var number = random.below(weights.reduce(0, +))
        for (index, weight) in weights.enumerated() {
            if number < weight { return index }
            number -= weight
        }
        return weights.count - 1
    }
}
