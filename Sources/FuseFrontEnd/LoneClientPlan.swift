/// Decides on which processor a single client is served.
///
/// One that waits for each of its requests never runs at the same time as whoever serves it. On two processors each request wakes a
/// sleeping processor twice, which can take longer than all else; on one it is two changes of thread. Whether that is so here is
/// not assumed but measured: the same number of requests is timed with the threads let alone and on the client's processor, twice
/// in turns, and that is kept for a while if it was clearly faster. A client that works beside its requests is served more slowly
/// in the trials, and goes on as before: it loses a part of two measurements in `restTime`.
package struct LoneClientPlan {
    /// Requests of one measurement.
    package static let measured = 512
    /// Measurements for which a result is taken for granted.
    package static let keepTime = 64, restTime = 32
    /// Nanoseconds for a measurement; whoever asks for less would gain nothing.
    package static let slowest: UInt64 = 500_000_000

    private enum Phase {
        case free(rest: Int)
        case trial(Trial)
        case kept(client: Int32, free: UInt64, left: Int)
    }

    /// The best time of the threads let alone, and the worst one on the client's processor.
    private struct Trial {
        var client: Int32
        var free: UInt64
        var there: UInt64 = 0
        var isThere = true
        var isSecond = false
    }
    private var phase = Phase.free(rest: 0)

    package init() {}

    /// After a measurement: where threads are to run from now on, nil for anywhere. `client` is nil if there were several, or many
    /// requests at a time; `processor` is where it runs.
    package mutating func next(_ nanoseconds: UInt64, client: Int32?, processor: Int?) -> Int? {
        guard let client, let processor, nanoseconds < Self.slowest else { return free(for: 1) }
        switch phase {
        case .free(let rest):
            if rest > 0 { return free(for: rest - 1) }
            phase = .trial(Trial(client: client, free: nanoseconds))
        case .trial(var trial):
            guard trial.client == client else { return free(for: 1) }
            if trial.isThere { trial.there = max(trial.there, nanoseconds) } else { trial.free = min(trial.free, nanoseconds) }
            guard trial.there < trial.free / 8 * 7 else { return free(for: Self.restTime) }
            if trial.isThere && trial.isSecond {
                phase = .kept(client: client, free: trial.free, left: Self.keepTime)
                return processor
            }
            trial.isSecond = true
            trial.isThere.toggle()
            phase = .trial(trial)
            if !trial.isThere { return nil }
        case .kept(client, let free, let left):
            // It may have begun to do more than wait.
            guard nanoseconds < free else { return self.free(for: Self.restTime) }
            if left == 0 { return self.free(for: 0) }
            phase = .kept(client: client, free: free, left: left - 1)
        case .kept: return free(for: 1)
        }
        return processor
    }

    /// Another client has come.
    package mutating func stop() { _ = free(for: 1) }

    private mutating func free(for rest: Int) -> Int? {
        phase = .free(rest: rest)
        return nil
    }
}
