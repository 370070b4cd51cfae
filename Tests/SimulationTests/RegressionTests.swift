internal import PoolEngine
internal import TestSupport
import Testing

/// Histories in which a mistake once showed, or a rule would, in their shortest form: every image of every crash in them.
@Suite struct RegressionTests {
    static let histories: [[String]] = [
        // A sealed frame was written again, with records that came after the flush.
        ["create a 20000", "write a 0 1024 data", "flush", "write a 1024 1024 data", "checkpoint | 1 write a 4096 1024 data | 2 flush"],
        // Sectors of two superblocks of one number, the first never completed, added up to the first.
        ["create a 9000", "checkpoint", "write a 0 3000 data", "checkpoint", "write a 3000 3000 mixed", "reopen"],
        // Frames of an abandoned future continued the log.
        ["create a 20000", "checkpoint", "write a 0 1024 data", "checkpoint | 1 write a 4096 1024 data"],
        // A write and a snapshot in its middle: to which of the two versions do its blocks belong?
        ["create a 20000", "write a 0 9000 data", "write a 2048 3000 data | 1 snapshot a@s", "discard a 0 20000", "delete a@s", "reap 2", "checkpoint"],
        // The child of a version that is being freed is rolled back, cut and written, below and above the cursor.
        [
            "create a 200000", "write a 0 60000 data", "snapshot a@s", "write a 20000 30000 data", "snapshot a@t", "delete a@s", "reap 2",
            "write a 1000 9000 data", "rollback a@t", "reap 1", "resize a 30000", "resize a 90000", "checkpoint", "reap 3",
        ],
        // A power failure after a kill: what the killed process had written was never flushed.
        ["create a 20000", "write a 0 5000 data", "checkpoint", "write a 5000 5000 data", "delete a"],
    ]

    @Test(arguments: histories.indices) func survives(history: Int) throws {
        let steps = Self.histories[history].compactMap { ScheduledStep(text: $0) }
        #expect(steps.count == Self.histories[history].count)
        var options = Simulation.Options()
        (options.imagesPerPoint, options.lifeEvery) = (0, 3)
        let simulation = try Simulation(seed: UInt64(history), options: options)
        try simulation.run(steps)
        #expect(simulation.coverage.images > 100)
    }

    /// A script reads back as what it was printed from.
    @Test func scriptsReadBack() {
        var generator = StepGenerator(seed: 4, volumeSize: 100_000, nests: true)
        var model = ModelPool()
        for _ in 0..<500 {
            let step = generator.next(in: model)
            #expect(ScheduledStep(text: step.text) == step)
            if let last = model.states(of: step.step, bytes: [UInt8](repeating: 1, count: 1 << 20), geometry: (1024, 64))?.last { model = last }
        }
        #expect(!model.volumes.isEmpty)
    }
}
