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

    /// A crash right before each single operation of the device, in fewer histories.
    @Test func everyOperationIsACrashPoint() throws {
        var images = 0
        for seed in 1_000_000..<1_000_150 as Range<UInt64> {
            var options = Simulation.Options()
            options.captureEvery = 1
            let simulation = try Simulation(seed: seed, options: options)
            try simulation.run()
            images += simulation.imagesChecked
        }
        print("150 histories, \(images) crash images, one before each operation")
        #expect(images > 150 * 40)
    }

    @Test func everyHistorySurvivesCrashes() throws {
        var images = 0
        for seed in Self.seeds {
            // A third of the pools are so small that they fill up.
            var options = Simulation.Options()
            if seed % 3 == 0 { options.diskSize = 256 * 1024 }
            let simulation = try Simulation(seed: seed, options: options)
            try simulation.run()
            images += simulation.imagesChecked
        }
        print("\(Self.seeds.count) histories, \(images) crash images, all opened to a state of their history")
        #expect(images > Self.seeds.count / 2)
    }
}
