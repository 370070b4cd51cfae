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

    package internal(set) var coverage = Coverage()
    package internal(set) var script: [ScheduledStep] = []
    let seed: UInt64
    let options: Options
    var random: SeededRandom
    let disk: SimulatedDisk
    var pool: Pool
    var model: ModelPool
    var history: [ModelPool]
    var durable = 0
    var stamp: UInt64 = 0
    var judged: [UInt64: Int] = [:]
    var stepKind = "open"
    /// Of the step under way: what is to run in its middle, and the device's calls so far.
    var pending: [ScheduledStep.Nested] = []
    var calls = 0
    var shared: UInt64 = 0
    /// Which writes of the last scattered step were made.
    var scattered: [Bool] = []
    var hasNested = false
    var isInside = false
    var nestedFailure: Failure?

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
    init(seed: UInt64, options: Options, disk: SimulatedDisk, pool: Pool, model: ModelPool, script: [ScheduledStep]) {
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

    static func open(_ disk: any BlockDevice, seed: UInt64, _ options: Options) throws(PoolError) -> Pool {
        var configuration = Pool.Configuration.tiny
        configuration.brokenRule = options.brokenRule
        configuration.verifiesAccounting = !options.nests && options.brokenRule == nil
        return try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: seed))
    }

    func orFail<Result>(_ what: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as PoolError {
            throw fail("\(what): \(error)")
        }
    }

    func fail(_ text: String) -> Failure { Failure(description: "seed \(seed): \(text)", script: script) }
}
