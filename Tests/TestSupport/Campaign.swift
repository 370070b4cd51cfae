internal import LinuxIO
package import PoolEngine
internal import Synchronization

/// Many histories, on all cores, until enough distinct images were judged: random ones by seed, and by turns every short
/// sequence of steps on a fresh and on an aged pool.
package final class Campaign: Sendable {
    package struct Settings: Sendable {
        /// Stop after this many distinct images, or this many seconds.
        package var images = Int.max
        package var seconds = Double.infinity
        package var firstSeed: UInt64 = 0
        package var threads = 2
        package var brokenRule: OrderingRule?
        /// Only the short sequences, up to this many.
        package var sequences: Int?
        /// Called about every second with the campaign so far.
        package var progress: (@Sendable (Progress) -> Void)?
        package init() {}
    }

    package struct Progress: Sendable {
        package var coverage = Coverage()
        package var histories = 0
        package var sequences = 0
        package var nextSeed: UInt64 = 0
        package var failure: Simulation.Failure?
        /// Of the failing history: the random one's seed, or nil for a sequence.
        package var seed: UInt64?
        package var seconds = 0.0
    }

    private let settings: Settings
    private let progress: Mutex<Progress>
    private let began = wallClock()
    private let spoken = Mutex<UInt64>(0)

    package init(_ settings: Settings) {
        self.settings = settings
        var start = Progress()
        start.nextSeed = settings.firstSeed
        progress = Mutex(start)
    }

    package func run() -> Progress {
        var workers: [Worker] = []
        for _ in 0..<settings.threads { if let worker = Worker({ [self] in work() }) { workers.append(worker) } }
        for worker in workers { worker.join() }
        return snapshot()
    }

    private func snapshot() -> Progress {
        var result = progress.withLock { $0 }
        result.seconds = Double(wallClock() - began) / 1e9
        return result
    }

    private func work() {
        while let item = takeItem() {
            var coverage = Coverage()
            var failure: Simulation.Failure?
            do {
                try run(item, &coverage)
            } catch {
                failure = error as? Simulation.Failure ?? Simulation.Failure(description: "\(item): \(error)", script: [])
            }
            progress.withLock { progress in
                progress.coverage.add(coverage)
                if let failure, progress.failure == nil {
                    progress.failure = failure
                    if case .seed(let seed) = item { progress.seed = seed }
                }
            }
            report()
        }
    }

    private enum Item { case seed(UInt64), sequence(Int) }

    private func takeItem() -> Item? {
        let isLate = Double(wallClock() - began) / 1e9 >= settings.seconds
        return progress.withLock { progress in
            guard progress.failure == nil, !isLate, progress.coverage.images < settings.images else { return nil }
            if let limit = settings.sequences {
                guard progress.sequences < min(limit, ShortSequences.count) else { return nil }
                progress.sequences += 1
                return .sequence(progress.sequences - 1)
            }
            // One sequence in three, while there are any.
            if (progress.histories + progress.sequences) % 3 == 2, progress.sequences < ShortSequences.count {
                progress.sequences += 1
                return .sequence(progress.sequences - 1)
            }
            progress.histories += 1
            progress.nextSeed += 1
            return .seed(progress.nextSeed - 1)
        }
    }

    private func run(_ item: Item, _ coverage: inout Coverage) throws {
        switch item {
        case .seed(let seed):
            let simulation = try Simulation(seed: seed, options: Self.options(seed: seed, brokenRule: settings.brokenRule))
            defer { coverage = simulation.coverage }
            try simulation.run()
        case .sequence(let number):
            var options = Self.options(seed: 1, brokenRule: settings.brokenRule)
            (options.imagesPerPoint, options.diskSize) = (0, 256 * 1024)
            let simulation = try Simulation(seed: UInt64(number), options: options)
            let (steps, first) = ShortSequences.steps(number)
            defer { coverage = simulation.coverage }
            try simulation.run(steps, judgingFrom: first)
        }
    }

    /// What kind of history a seed is. A third of the pools are so small that they fill up, a quarter have several zones,
    /// half run steps in the middle of steps, and one in eight is short and judged in every image there is.
    package static func options(seed: UInt64, brokenRule: OrderingRule?) -> Simulation.Options {
        var options = Simulation.Options()
        options.brokenRule = brokenRule
        if seed % 3 == 0 { options.diskSize = 232 * 1024 }
        if seed % 4 == 1 { options.geometry = .tinyZones }
        options.nests = seed / 3 % 2 == 0
        if seed % 8 == 7 { (options.steps, options.imagesPerPoint) = (8, 0) }
        return options
    }

    /// Says how far it has come, at most once a second.
    private func report() {
        guard let say = settings.progress else { return }
        let now = wallClock()
        let isDue = spoken.withLock { last in
            guard now - last > 1_000_000_000 else { return false }
            last = now
            return true
        }
        if isDue { say(snapshot()) }
    }

    /// A shorter history that fails too: steps are left out as long as the rest still fails.
    package static func shortened(_ failure: Simulation.Failure, seed: UInt64, options: Simulation.Options) -> Simulation.Failure {
        var best = failure
        var options = options
        options.imagesPerPoint = 0
        func fails(_ script: [ScheduledStep]) -> Simulation.Failure? {
            do {
                let simulation = try Simulation(seed: seed, options: options)
                try simulation.run(script)
                return nil
            } catch {
                return error as? Simulation.Failure
            }
        }
        guard let first = fails(failure.script) else { return failure }
        best = first
        var size = max(1, best.script.count / 2)
        while size >= 1 {
            var start = 0
            while start < best.script.count {
                var shorter = best.script
                shorter.removeSubrange(start..<min(start + size, shorter.count))
                if let failure = fails(shorter) { best = failure } else { start += size }
            }
            size /= 2
        }
        return best
    }
}

/// A thread that an array can hold.
private final class Worker {
    private var thread: JoinableThread?
    init?(_ body: @escaping @Sendable () -> Void) {
        guard let thread = try? JoinableThread(body) else { return nil }
        self.thread = consume thread
    }
    func join() { thread.take()?.join() }
}
