internal import PoolEngine
internal import TestSupport
import Testing

/// Each ordering rule is broken in turn, and nothing else: the simulation must notice, or it would not notice a mistake
/// there either.
@Suite(.serialized) struct SaboteurTests {
    private static let limit = 150_000

    /// The rule's breach shows only in one course of events: the history, and what the pool does after the crash.
    private struct Plot {
        var history: [String]
        var after: [String]
    }

    /// R7: during a checkpoint as much is written as the journal holds, while the frames before it are still needed.
    private static let tails: Plot = {
        let volumes = ["a", "b", "c", "d", "e", "f"]
        let rounds = (0..<3).flatMap { round in volumes.flatMap { ["write \($0) \(round * 1024) 1024 data", "flush"] } }
        let inside = (0..<14).map { " | \($0 + 1) \($0 % 2 == 0 ? "write \(volumes[$0 / 2 % 6]) 4096 1024 data" : "flush")" }
        return Plot(history: volumes.map { "create \($0) 9000" } + ["checkpoint"] + rounds + ["checkpoint" + inside.joined()], after: [])
    }()

    /// R9: of two unflushed frames the first is lost; the next life writes as many records in its place.
    private static let abandonedFuture = Plot(
        history: ["create a 20000", "checkpoint", "write a 0 1024 data", "checkpoint | 1 write a 4096 1024 data"],
        after: ["write a 9216 1024 data", "flush"])

    @Test(arguments: OrderingRule.allCases) func brokenRuleIsNoticed(rule: OrderingRule) throws {
        switch rule {
        case .tailsAfterSuperblock: try notices(rule, Self.tails)
        case .incarnation: try notices(rule, Self.abandonedFuture)
        default:
            var settings = Campaign.Settings()
            settings.images = Self.limit
            settings.brokenRule = rule
            let result = Campaign(settings).run()
            #expect(result.failure != nil, "\(rule) broken, and \(result.coverage.images) images noticed nothing")
            tell(rule, result.coverage.images, result.failure)
        }
    }

    private func notices(_ rule: OrderingRule, _ plot: Plot) throws {
        let history = plot.history.compactMap { ScheduledStep(text: $0) }
        #expect(history.count == plot.history.count)
        func play(_ rule: OrderingRule?) throws -> (Int, Simulation.Failure?) {
            var options = Simulation.Options()
            (options.imagesPerPoint, options.lifeEvery, options.brokenRule) = (0, 1, rule)
            options.diskSize = 800 * 1024
            options.lives = plot.after.isEmpty ? 0 : 1
            options.lifeScript = plot.after.compactMap { ScheduledStep(text: $0) }
            let simulation = try Simulation(seed: 1, options: options)
            do {
                try simulation.run(history, judgingFrom: history.count - 1)
                return (simulation.coverage.images, nil)
            } catch let failure as Simulation.Failure {
                return (simulation.coverage.images, failure)
            }
        }
        let kept = try play(nil)
        #expect(kept.1 == nil, "the rule is kept: \(kept.1?.description ?? "")")
        let broken = try play(rule)
        #expect(broken.1 != nil, "\(rule) broken, and \(broken.0) images noticed nothing")
        tell(rule, broken.0, broken.1)
    }

    private func tell(_ rule: OrderingRule, _ images: Int, _ failure: Simulation.Failure?) {
        let first = failure?.description.split(separator: "\n").first ?? "not noticed"
        print("SABOTEUR \(rule): \(images) images until \(first.prefix(160))")
    }
}
