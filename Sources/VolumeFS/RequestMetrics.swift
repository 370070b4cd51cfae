internal import Synchronization

/// How often and how long requests were served, for `.ctl/metrics`.
///
/// On the path of every request, so it does no more than a clock pair, which its caller reads without a system call, and two
/// additions to counters that nothing else depends on: relaxed order is enough, as only sums are read. Buckets are powers of
/// two of a microsecond, found by counting zeros.
public final class RequestMetrics: Sendable {
    public enum Kind: Int, CaseIterable, Sendable {
        case read, write, copy, sync, allocate, open, lookup, attributes, change, other

        /// As the label `op` has it.
        var text: String { self == .sync ? "flush" : self == .allocate ? "discard" : "\(self)" }
    }

    /// Bucket n has what took less than 2^n microseconds, up to 16 seconds; the last has the rest.
    static let bucketCount = 26
    private static let errnoCount = 134

    /// What `activity` is: nothing was served since it was last looked at; something was; nothing was, and whoever looks sleeps.
    private static let quiet = 0, active = 1, resting = 2

    private let activity = Atomic(quiet)
    private let wake: @Sendable () -> Void
    private let buckets: [Counter]
    private let nanoseconds: [Counter]
    private let errors: [Counter]

    private final class Counter: Sendable {
        private let value = Atomic<UInt64>(0)
        func add(_ amount: UInt64) { value.wrappingAdd(amount, ordering: .relaxed) }
        var count: UInt64 { value.load(ordering: .relaxed) }
    }

    /// `wake` is called when the first request after a `rest` was served.
    init(wake: @escaping @Sendable () -> Void) {
        self.wake = wake
        func counters(_ count: Int) -> [Counter] { (0..<count).map { _ in Counter() } }
        buckets = counters(Kind.allCases.count * Self.bucketCount)
        nanoseconds = counters(Kind.allCases.count)
        errors = counters(Self.errnoCount)
    }

    /// A request of that kind was answered after so many nanoseconds.
    public func served(_ kind: Kind, nanoseconds time: UInt64) {
        let micros = time / 1000
        let bucket = min(Self.bucketCount - 1, UInt64.bitWidth - micros.leadingZeroBitCount)
        buckets[kind.rawValue * Self.bucketCount + bucket].add(1)
        nanoseconds[kind.rawValue].add(time)
        noteActivity()
    }

    /// Something was done in the pool: what has to be done of its own accord may have become due. `served` says it too.
    public func noteActivity() {
        // Relaxed: what was changed before is seen under the pool's lock by whoever rests after it; if he rested before, his
        // mark is seen here for the same reason.
        if activity.load(ordering: .relaxed) == Self.active { return }
        if activity.exchange(Self.active, ordering: .acquiringAndReleasing) == Self.resting { wake() }
    }

    /// Whether anything was served since it was last called.
    public func takeActivity() -> Bool { activity.exchange(Self.quiet, ordering: .acquiringAndReleasing) == Self.active }

    /// Asks to be woken by the next request. False if there was one since `takeActivity`.
    public func rest() -> Bool {
        activity.compareExchange(expected: Self.quiet, desired: Self.resting, ordering: .acquiringAndReleasing).exchanged
    }

    /// A request was answered with that errno.
    public func refused(errno: Int32) { errors[min(max(Int(errno), 0), Self.errnoCount - 1)].add(1) }

    /// A histogram's cumulative counts, its sum in seconds and its count.
    func histogram(_ kind: Kind) -> (below: [UInt64], seconds: Double, count: UInt64) {
        var sum: UInt64 = 0
        let below = (0..<Self.bucketCount).map { bucket in
            sum += buckets[kind.rawValue * Self.bucketCount + bucket].count
            return sum
        }
        return (below, Double(nanoseconds[kind.rawValue].count) / 1e9, sum)
    }

    /// Errnos that were answered, and how often.
    var refusals: [(errno: Int, count: UInt64)] {
        errors.enumerated().map { (errno: $0.offset, count: $0.element.count) }.filter { $0.count > 0 }
    }
}
