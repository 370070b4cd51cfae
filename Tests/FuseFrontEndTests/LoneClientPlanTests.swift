internal import FuseFrontEnd
import Testing

/// Where a single client is served.
@Suite struct LoneClientPlanTests {
    /// Runs `count` measurements of a client on processor 3, each of which takes `time` of whether it is served there. Returns how
    /// many of them were spent there.
    private func run(_ plan: inout LoneClientPlan, _ count: Int, client: Int32? = 7, time: (Bool) -> UInt64) -> Int {
        var isThere = false, there = 0
        for _ in 0..<count {
            if isThere { there += 1 }
            isThere = plan.next(time(isThere), client: client, processor: 3) != nil
        }
        return there
    }

    @Test func fasterPlaceIsKept() {
        var plan = LoneClientPlan()
        #expect(run(&plan, 1000) { $0 ? 5_000_000 : 10_000_000 } > 900)
    }

    /// What is slower, or hardly faster, costs a small part of the time.
    @Test(arguments: [9_500_000, 10_000_000, 40_000_000]) func slowerPlaceIsTriedRarely(time: UInt64) {
        var plan = LoneClientPlan()
        let there = run(&plan, 1000) { $0 ? time : 10_000_000 }
        #expect(there > 0 && there <= 1000 / LoneClientPlan.restTime + 1)
    }

    /// One measurement may be disturbed by anything.
    @Test func oneLuckyTrialIsNotEnough() {
        var plan = LoneClientPlan(), trials = 0
        let there = run(&plan, 1000) { isThere in
            if isThere { trials += 1 }
            return isThere ? (trials % 2 == 1 ? 5_000_000 : 11_000_000) : 10_000_000
        }
        #expect(there <= 2 * 1000 / LoneClientPlan.restTime + 2)
    }

    @Test func severalClientsAndSlowOnesAreLetAlone() {
        var plan = LoneClientPlan()
        #expect(run(&plan, 100, client: nil) { $0 ? 5_000_000 : 10_000_000 } == 0)
        #expect(run(&plan, 100) { _ in LoneClientPlan.slowest } == 0)
    }

    /// Whoever begins to do more than wait is let alone after the next measurement, and so is one that has gone.
    @Test func placeIsLeftWhenItIsOfNoUse() {
        for change in ["work", "client", "stop"] {
            var plan = LoneClientPlan()
            var place: Int?
            for _ in 0..<8 { place = plan.next(place == nil ? 10_000_000 : 5_000_000, client: 7, processor: 3) }
            #expect(place == 3)
            switch change {
            case "work": place = plan.next(10_000_001, client: 7, processor: 3)
            case "client": place = plan.next(5_000_000, client: 8, processor: 3)
            default:
                plan.stop()
                place = plan.next(5_000_000, client: 8, processor: 3)
            }
            #expect(place == nil, "\(change)")
        }
    }

    /// It is followed to where it runs now.
    @Test func clientMayMove() {
        var plan = LoneClientPlan()
        var place: Int?
        for _ in 0..<8 { place = plan.next(place == nil ? 10_000_000 : 5_000_000, client: 7, processor: 3) }
        #expect(place == 3)
        #expect(plan.next(5_000_000, client: 7, processor: 1) == 1)
    }
}
