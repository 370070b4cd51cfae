package import BlockStorage
package import PoolEngine

/// One history of a tiny pool, beside the model, stopped before operations of its disk in every way the disk allows.
///
/// `history` holds the model's state after every change that is atomic on disk. Whatever a crash leaves must open to one of
/// them: after the end of the process to the last acknowledged one or one in progress, after loss of power to any from the
/// last durable one on. The opened pool is then as good as new: it checks clean, lives on under the same tests, and is empty
/// when everything in it is deleted.
package final class Simulation: @unchecked Sendable {
    // Sendable: all runs on one thread, on which the disk also calls its hook.
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
        /// The steps that lead there.
        package var script: [ScheduledStep]
    }

    package struct Options: Sendable {
        package var steps = 40
        package var diskSize = 384 * 1024
        package var geometry = Geometry.tiny
        /// Usual size of a volume in bytes.
        package var volumeSize = 160 * 1024
        /// Images judged of each point; 0 is all there are.
        package var imagesPerPoint = 2
        /// Other steps run in the middle of steps. Otherwise each checkpoint compares the blocks in use with those reached.
        package var nests = true
        package var brokenRule: OrderingRule?
        /// How many lives follow after a crash, each with crashes of its own.
        package var lives = 1
        /// The way from the pool to its disk in the first life; nil for none. Nothing runs in the middle of steps then.
        package var way: (@Sendable (SimulatedDisk) throws -> any BlockDevice)?
        /// What those lives do, instead of something random.
        package var lifeScript: [ScheduledStep] = []
        /// One image in so many has another life.
        package var lifeEvery = 6
        package init() {}
    }

    package private(set) var coverage = Coverage()
    package private(set) var script: [ScheduledStep] = []
    private let seed: UInt64
    private let options: Options
    private var random: SeededRandom
    private let disk: SimulatedDisk
    private var pool: Pool
    private(set) var model: ModelPool
    private var history: [ModelPool]
    private var durable = 0
    private var stamp: UInt64 = 0
    private var judged: [UInt64: Int] = [:]
    private var stepKind = "open"
    /// Of the step under way: what is to run in its middle, and the device's calls so far.
    private var pending: [ScheduledStep.Nested] = []
    private var calls = 0
    private var shared: UInt64 = 0
    private var hasNested = false
    private var isInside = false
    private var nestedFailure: Failure?

    package init(seed: UInt64, options: Options = Options()) throws {
        self.seed = seed
        self.options = options
        random = SeededRandom(seed: seed ^ 0x5eed)
        disk = SimulatedDisk(size: options.diskSize)
        try Pool.format(disk, geometry: options.geometry, environment: .simulated(seed: seed))
        pool = try Self.open(options.way?(disk) ?? disk, seed: seed &+ 1, options)
        model = ModelPool()
        history = [model]
        disk.keepPoints(every: 1, seed: seed)
    }

    /// Another life of a pool that was opened after a crash.
    private init(seed: UInt64, options: Options, disk: SimulatedDisk, pool: Pool, model: ModelPool, script: [ScheduledStep]) {
        self.seed = seed
        self.options = options
        random = SeededRandom(seed: seed ^ 0x5eed)
        self.disk = disk
        self.pool = pool
        self.model = model
        self.script = script
        history = [model]
        stamp = seed << 32
        disk.keepPoints(every: 1, seed: seed)
    }

    /// Runs a history made up from the seed. Throws a `Failure`.
    package func run() throws {
        var generator = StepGenerator(seed: seed, volumeSize: options.volumeSize, nests: options.nests)
        for _ in 0..<options.steps {
            try perform(generator.next(in: model))
            try judgePoints()
        }
        try finish()
    }

    /// Runs a history made up from the seed, without crashes, and shows the pool after every step.
    package func run(showing body: (Pool, SimulatedDisk) throws -> Void) throws {
        disk.keepPoints(every: 0, seed: seed)
        var generator = StepGenerator(seed: seed, volumeSize: options.volumeSize, nests: options.nests)
        for _ in 0..<options.steps {
            try perform(generator.next(in: model))
            try body(pool, disk)
        }
        try finish()
    }

    /// Runs the given steps, and judges the crashes in those from `first` on.
    package func run(_ steps: [ScheduledStep], judgingFrom first: Int = 0) throws {
        for (index, step) in steps.enumerated() {
            disk.keepPoints(every: index >= first ? 1 : 0, seed: seed &+ UInt64(index))
            try perform(step)
            try judgePoints()
        }
        try finish()
    }

    private func finish() throws {
        disk.keepPoints(every: 0, seed: 0)
        try orFail("at the end") {
            let found = try read(pool)
            guard found == model else { throw fail("at the end: \(found.difference(from: model))") }
            try check(pool, "at the end", readingData: true)
            try empty(pool, "at the end")
        }
    }

    private static func open(_ disk: any BlockDevice, seed: UInt64, _ options: Options) throws(PoolError) -> Pool {
        var configuration = Pool.Configuration.tiny
        configuration.brokenRule = options.brokenRule
        configuration.verifiesAccounting = !options.nests && options.brokenRule == nil
        return try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: seed))
    }

    // MARK: Steps

    private var sizes: (blockSize: Int, groupBlocks: Int) { (options.geometry.blockSize, 4 * options.geometry.fanout) }

    private func perform(_ scheduled: ScheduledStep) throws {
        script.append(scheduled)
        let step = scheduled.step
        let bytes = bytes(of: step)
        guard let states = model.states(of: step, bytes: bytes, geometry: sizes) else { return }
        stepKind = step.kind
        setMark()
        let reached = history.count - 1
        beginNesting(states.count <= 1 ? scheduled.nested : [])
        defer { disk.setHook(nil) }
        do {
            try execute(step, bytes)
        } catch let error as PoolError {
            // A full pool may refuse; what it refuses it has not begun. A step in the middle may have taken what it needs.
            if let nestedFailure { throw nestedFailure }
            if case .outOfSpace = error, case .share = step { return try enterPart(step) }
            if case .outOfSpace = error {
                if scheduled.nested.isEmpty, isReserved(step) { throw fail("\(step.text): refused, though reserved: \(error)") }
                return
            }
            if step.isSizeChange, [.invalid(.size), .notSupported].contains(error) { return }
            if hasNested, [.notFound, .exists, .inUse].contains(error) || error.errno == 22 || error.errno == 39 { return }
            throw fail("\(step.text): \(error)")
        }
        if let nestedFailure { throw nestedFailure }
        if case .share(_, _, _, _, let count) = step, shared < UInt64(count) { return try enterPart(step) }
        enter(hasNested ? model.states(of: step, bytes: bytes, geometry: sizes) ?? [] : states)
        switch step {
        case .flush, .checkpoint, .shrink, .extend: durable = max(durable, reached)
        case .reopen: durable = history.count - 1
        default: if step.isDurable { durable = history.count - 1 }
        }
    }

    /// A share on a full pool may end early: what there is now must be one of the states on its way.
    private func enterPart(_ step: Step) throws {
        disk.setHook(nil)
        let states = model.states(of: step, bytes: [], geometry: sizes) ?? []
        let found = try read(pool)
        guard let reached = ([model] + states).lastIndex(of: found) else { throw fail("\(step.text): \(found.difference(from: model))") }
        enter(Array(states.prefix(reached)))
    }

    /// True for a write that may not be refused: of up to four leaves into what is reserved.
    private func isReserved(_ step: Step) -> Bool {
        guard case .write(let name, let offset, let count, _, _) = step, let volume = model.volumes[name] else { return false }
        let unit = options.geometry.blockSize, blocks = offset / unit..<(offset + count + unit - 1) / unit
        return blocks.count <= 4 * options.geometry.fanout && blocks.allSatisfy { volume.reserved.contains($0) }
    }

    private func enter(_ states: [ModelPool]) {
        history += states
        model = states.last ?? model
    }

    private func setMark() {
        var mark = CrashPoint.Mark()
        mark.durable = durable
        mark.acknowledged = history.count - 1
        disk.setMark(mark)
    }

    /// What a property of that name and length has.
    private static func value(_ name: String, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &+ name.utf8.count &* 31 &+ count) }
    }

    private func execute(_ step: Step, _ bytes: [UInt8]) throws {
        func id(_ name: String) throws(PoolError) -> UInt64 {
            let parts = name.split(separator: "@").map(String.init)
            return try pool.find(parts[0], snapshot: parts.count == 2 ? parts[1] : nil)
        }
        switch step {
        case .create(let name, let size): try pool.createVolume(name, size: UInt64(size), attributes: .plain)
        case .write(let name, let offset, _, _, let isGrowing):
            try pool.write(id(name), at: UInt64(offset), bytes, growing: isGrowing)
        case .discard(let name, let offset, let count): try pool.discard(id(name), at: UInt64(offset), count: UInt64(count))
        case .share(let source, let offset, let name, let target, let count):
            shared = try pool.share(from: id(source), at: UInt64(offset), to: id(name), at: UInt64(target), count: UInt64(count))
        case .reserve(let name, let offset, let count): try pool.reserve(id(name), at: UInt64(offset), count: UInt64(count))
        case .resize(let name, let size): try pool.resize(id(name), to: UInt64(size))
        case .snapshot(let volume, let name): try pool.createSnapshot(name, of: id(volume))
        case .clone(let source, let name): try pool.createClone(name, of: id(source), attributes: .plain)
        case .delete(let name): try pool.delete(id(name))
        case .rollback(let volume, let name): try pool.rollback(id(volume), to: id("\(volume)@\(name)"))
        case .rename(let volume, let name): try pool.rename(id(volume), to: name)
        case .swap(let first, let second): try pool.swap(id(first), id(second))
        case .forget(let volume): try pool.forgetOrigin(of: id(volume))
        case .snapshotAll(let name): try pool.createSnapshots(name, of: pool.volumes().map(\.id))
        case .property(let volume, let name, let count):
            try pool.setProperty(id(volume), "user.\(name)", count == 0 ? nil : Self.value(name, count))
        case .flush: try pool.flush()
        case .checkpoint: try pool.checkpoint()
        case .reap(let budget): _ = try pool.reap(budget: budget)
        case .shrink(let size): try pool.shrink(to: UInt64(size))
        case .extend(let size):
            if try UInt64(size) > disk.size { disk.grow(to: size) }
            try pool.grow()
        case .maintain: for _ in 0..<8 where try !pool.maintain() { break }
        case .reopen:
            try pool.close()
            pool = try Self.open(options.way?(disk) ?? disk, seed: seed &+ 5 &+ stamp, options)
        }
    }

    /// Bytes that tell which write they are of.
    private func bytes(of step: Step) -> [UInt8] {
        guard case .write(_, _, let count, let fill, _) = step else { return [] }
        stamp += 1
        if fill == .zeros { return [UInt8](repeating: 0, count: count) }
        var filler = SeededRandom(seed: seed &+ stamp)
        let mark = filler.next()
        var bytes = (0..<count).map { UInt8(truncatingIfNeeded: (mark &+ UInt64($0) &* 31) >> 3 | 1) }
        if fill == .mixed {
            let start = filler.below(count), end = min(count, start + filler.below(5000))
            for index in start..<end { bytes[index] = 0 }
        }
        return bytes
    }

    // MARK: Steps in the middle of steps

    private func beginNesting(_ nested: [ScheduledStep.Nested]) {
        (pending, calls, hasNested, nestedFailure) = (nested, 0, false, nil)
        guard !nested.isEmpty else { return }
        let start = options.geometry.dataOffset
        disk.setHook { [unowned self] offset in if offset >= start { runNested() } }
    }

    /// Runs what is due before this call of the device, as another thread would, unless it would have to wait for this one.
    private func runNested() {
        guard !isInside else { return }
        calls += 1
        while let index = pending.firstIndex(where: { $0.call == calls }) {
            let step = pending.remove(at: index).step
            guard mayNest(step) else { continue }
            isInside = true
            defer { isInside = false }
            let bytes = bytes(of: step)
            guard let states = model.states(of: step, bytes: bytes, geometry: sizes) else { continue }
            do {
                try execute(step, bytes)
                hasNested = true
                let reached = history.count - 1
                enter(states)
                if step == .flush { durable = max(durable, reached) } else if step.isDurable { durable = history.count - 1 }
                setMark()
            } catch PoolError.outOfSpace, PoolError.inUse {
            } catch {
                nestedFailure = fail("\(step.text), in the middle: \(error)")
            }
        }
    }

    private func mayNest(_ step: Step) -> Bool {
        let statistics = pool.statistics(), usage = pool.usage()
        switch step {
        case .rename, .swap, .snapshotAll, .reopen, .maintain, .reserve, .shrink, .extend: return false
        // What they are promised may take a checkpoint.
        case .snapshot(let volume, _), .clone(of: let volume, _), .rollback(let volume, to: _):
            if model.volumes[volume]?.reserved.isEmpty == false { return false }
            return hasRoom(statistics, usage)
        case .checkpoint: return !statistics.isStoring
        default: return hasRoom(statistics, usage)
        }
    }

    private func hasRoom(_ statistics: PoolStatistics, _ usage: PoolUsage) -> Bool {
        statistics.journalUsedFrames + 12 <= statistics.journalFrames && statistics.dirtyBlocks < 60
            && usage.available > usage.quarantined + 128 * 1024
    }

    // MARK: Judging

    private func judgePoints() throws {
        for point in disk.takePoints() {
            let choices = options.imagesPerPoint == 0
                ? point.allChoices(&random) : point.sampledChoices(options.imagesPerPoint, &random)
            for choice in choices { try judge(point, choice) }
        }
    }

    private func judge(_ point: CrashPoint, _ choice: CrashPoint.Choice) throws {
        let bytes = point.bytes(choice)
        let from = choice.kind == .processEnd ? point.mark.acknowledged : point.mark.durable
        let hash = imageHash(bytes)
        if let found = judged[hash], found >= from { return }
        let isNew = judged[hash] == nil
        if isNew { coverage.add(step: stepKind, kind: choice.kind.rawValue) }
        let what = "crash before operation \(point.operation), in \(stepKind), \(choice.kind.rawValue)"
        let copy = point.disk(choice)
        if isNew && random.oneIn(5) { copy.keepPoints(every: 3, seed: random.next()) }
        let (pool, found) = try open(copy, what, from: from)
        judged[hash] = found
        for nested in copy.takePoints() {
            guard let choice = nested.sampledChoices(1, &random).first else { continue }
            coverage.add(step: "recovery", kind: choice.kind.rawValue)
            // Recovery's first operation is the flush of what the process before it left in the cache.
            let isFlushed = nested.operation > 1 || choice.kind == .processEnd
            let again = "\(what), again before operation \(nested.operation) of recovery, \(choice.kind.rawValue)"
            _ = try open(nested.disk(choice), again, from: isFlushed ? from : point.mark.durable)
        }
        copy.keepPoints(every: 0, seed: 0)
        if isNew && random.oneIn(6) { try reopen(copy, found, what) }
        if isNew && options.lives > 0 && random.oneIn(options.lifeEvery) { try live(on: copy, pool, history[found], what) }
    }

    /// Opens an image and returns the number of the newest state that it is, which must not be older than `from`.
    private func open(_ copy: SimulatedDisk, _ what: String, from: Int) throws -> (Pool, Int) {
        try orFail(what) {
            let pool = try Self.open(copy, seed: random.next(), options)
            let state = try read(pool)
            guard let found = history[from...].lastIndex(of: state) else {
                let lines = history.indices.suffix(5).map { "  state \($0): \(state.difference(from: history[$0]))" }
                throw fail("\(what): what opened is no state from \(from) on\n" + lines.joined(separator: "\n"))
            }
            try check(pool, what, readingData: true)
            return (pool, found)
        }
    }

    /// Recovering again changes nothing.
    private func reopen(_ copy: SimulatedDisk, _ found: Int, _ what: String) throws {
        try orFail("\(what), opened again") {
            let state = try read(try Self.open(SimulatedDisk(image: copy.image), seed: random.next(), options))
            guard state == history[found] else { throw fail("\(what), opened again: \(state.difference(from: history[found]))") }
        }
    }

    /// Another life, with the same tests.
    private func live(on copy: SimulatedDisk, _ pool: Pool, _ state: ModelPool, _ what: String) throws {
        var next = options
        next.way = nil
        next.lives -= 1
        next.steps = 6
        if options.lifeScript.isEmpty { next.imagesPerPoint = 1 }
        let life = Simulation(seed: random.next() >> 16, options: next, disk: copy, pool: pool, model: state, script: [])
        do {
            try options.lifeScript.isEmpty ? life.run() : life.run(options.lifeScript)
        } catch let error as Failure {
            throw fail("\(what); then in the next life: \(error.description)\n" + error.script.map { "  " + $0.text }.joined(separator: "\n"))
        }
        coverage.addLater(life.coverage)
    }

    private func check(_ pool: Pool, _ what: String, readingData: Bool) throws {
        let report = try pool.check(readingData: readingData)
        guard report.isClean else { throw fail("\(what): check found \(report)") }
    }

    private func empty(_ pool: Pool, _ what: String) throws {
        for volume in pool.volumes() {
            for snapshot in pool.snapshots(of: volume.id) { try pool.delete(snapshot.id) }
            try pool.delete(volume.id)
        }
        try pool.finishReaping()
        try check(pool, "\(what), emptied", readingData: false)
        let left = pool.usage().allocated
        guard left == 0 else { throw fail("\(what), emptied: \(left) bytes are still allocated") }
    }

    private func read(_ pool: Pool) throws -> ModelPool {
        var state = ModelPool()
        for volume in pool.volumes() {
            state.volumes[volume.name] = try contents(pool, volume)
            for snapshot in pool.snapshots(of: volume.id) {
                state.snapshots[volume.name, default: [:]][snapshot.name] = try contents(pool, snapshot)
            }
        }
        return state
    }

    private func contents(_ pool: Pool, _ info: ObjectInfo) throws -> ModelPool.Contents {
        let unit = options.geometry.blockSize
        var contents = ModelPool.Contents(size: Int(info.size))
        for (name, value) in try pool.properties(info.id) {
            if name == "volfs.reserved" {
                // Pairs of a first block and a number of blocks.
                for at in stride(from: 0, to: value.count, by: 16) {
                    let pair = value[at..<at + 16].reversed().map { Int($0) }
                    let count = pair[..<8].reduce(0) { $0 << 8 | $1 }, first = pair[8...].reduce(0) { $0 << 8 | $1 }
                    contents.reserve(first * unit..<(first + count) * unit)
                }
                continue
            }
            // Any other bytes are a difference.
            contents.properties[name] = value == Self.value(String(name.dropFirst(5)), value.count) ? value.count : -1
        }
        var at: UInt64 = 0
        while let extent = try pool.extent(info.id, at: at) {
            if extent.isData {
                let bytes = try pool.read(info.id, at: at, count: Int(extent.end - at))
                for start in stride(from: 0, to: bytes.count, by: unit) {
                    var block = Array(bytes[start..<min(start + unit, bytes.count)])
                    block += [UInt8](repeating: 0, count: unit - block.count)
                    contents.store(block, (Int(at) + start) / unit)
                }
            }
            at = extent.end
        }
        return contents
    }

    private func orFail<Result>(_ what: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as PoolError {
            throw fail("\(what): \(error)")
        }
    }

    private func fail(_ text: String) -> Failure { Failure(description: "seed \(seed): \(text)", script: script) }
}

extension Step {
    /// It may have nothing to change.
    var isSizeChange: Bool {
        switch self {
        case .shrink, .extend: true
        default: false
        }
    }

    /// What it changes is durable when it has returned.
    var isDurable: Bool {
        switch self {
        case .create, .snapshot, .clone, .delete, .rollback, .rename, .swap, .snapshotAll, .property, .resize, .reserve: true
        default: false
        }
    }
}

/// 64 bits by which images are told apart.
private func imageHash(_ bytes: [UInt8]) -> UInt64 {
    bytes.withUnsafeBytes { all in
        let half = all.count / 2
        return UInt64(crc32c(all.part(0..<half))) << 32 | UInt64(crc32c(all.part(half..<all.count), seed: 77))
    }
}
