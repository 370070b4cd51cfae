internal import Foundation
internal import PoolEngine
internal import TestSupport
import Testing

/// Whatever a crash leaves of the unflushed writes, the pool opens to one moment of its history.
@Suite(.serialized) struct CrashTests {
    /// IMAGES sets how many.
    private static let images = ProcessInfo.processInfo.environment["IMAGES"].flatMap { Int($0) } ?? 100_000

    @Test func everyHistorySurvivesCrashes() {
        var settings = Campaign.Settings()
        settings.images = Self.images
        let result = Campaign(settings).run()
        print("\(result.coverage.images) images of \(result.histories) histories and \(result.sequences) sequences\n\(result.coverage.table)")
        if let failure = result.failure {
            let script = failure.script.map(\.text).joined(separator: "\n")
            Issue.record("\(failure.description)\n\(script)\nreproduce: scripts/simulate --seed \(result.seed.map { "\($0)" } ?? "-")")
        }
        #expect(result.coverage.images >= Self.images)
        // Each kind of step was cut off, and each way to crash was tried.
        let steps = ["write", "grow", "discard", "resize", "create", "snapshot", "clone", "delete", "rollback", "rename", "flush", "checkpoint", "maintain", "reopen", "recovery", "second life"]
        for step in steps { #expect((result.coverage.counts[step]?.values.reduce(0, +) ?? 0) > 0, "\(step)") }
        for kind in CrashPoint.Kind.allCases {
            #expect(result.coverage.counts.values.contains { ($0[kind.rawValue] ?? 0) > 0 }, "\(kind.rawValue)")
        }
    }
}
