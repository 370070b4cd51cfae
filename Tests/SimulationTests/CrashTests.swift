internal import BlockStorage
internal import Foundation
internal import PoolEngine
internal import TestSupport
import Testing

/// Whatever a crash leaves of the unflushed writes, the pool opens to one moment of its history.
@Suite struct CrashTests {
    /// SEED=n runs that one history only; RUNS sets how many.
    private static let seeds: Range<UInt64> = {
        let environment = ProcessInfo.processInfo.environment
        if let seed = environment["SEED"].flatMap(UInt64.init) { return seed..<seed + 1 }
        return 0..<(environment["RUNS"].flatMap(UInt64.init) ?? 10_000)
    }()

    /// A crash right before every single operation of the device, in every history. Four parts, for the cores there are.
    @Test(arguments: 0..<4 as Range<UInt64>) func everyHistorySurvivesCrashes(part: UInt64) throws {
        var images = 0, histories = 0
        for seed in Self.seeds where seed % 4 == part {
            var options = Simulation.Options()
            options.captureEvery = 1
            // A third of the pools are so small that they fill up.
            if seed % 3 == 0 { options.diskSize = 256 * 1024 }
            let simulation = try Simulation(seed: seed, options: options)
            try simulation.run()
            images += simulation.imagesChecked
            histories += 1
        }
        print("part \(part): \(histories) histories, \(images) crash images, all opened to a state of their history")
        #expect(histories == 0 || images > histories * 10)
    }
}
