/// Segments that became wholly free, and how many of them writers will soon want. Part of the allocator.
///
/// The host still has the pages of what was freed last in memory: to write there costs a fraction of what it costs where it has
/// to find memory first, and storage.
struct FreedSegments {
    /// The latest last. Some may be in use again.
    private var latest: [Int] = []
    private static let limit = 2048
    /// Segments opened for writing, in all; and when a look at that began, how many had been opened then, and in the look before.
    private var opened = 0
    private var look = (start: UInt64(0), opened: 0, before: 0)
    /// Nanoseconds.
    private static let lookTime: UInt64 = 2_000_000_000

    mutating func add(_ segment: Int) {
        latest.append(segment)
        if latest.count > Self.limit { latest.removeFirst(Self.limit / 2) }
    }

    /// The one that became free last of those not taken yet. It may be in use again.
    mutating func takeLatest() -> Int? { latest.popLast() }

    /// The segments from that one on are there no more.
    mutating func cut(from end: Int) { latest.removeAll { $0 >= end } }

    mutating func noteOpened() { opened += 1 }

    /// Three times what writers opened in the last two to four seconds, as what they free meanwhile is theirs again only after a
    /// checkpoint. 0 when they rest. `now` in nanoseconds; a clock that is set costs one look.
    mutating func wanted(now: UInt64) -> Int {
        let age = now &- look.start
        if age >= Self.lookTime { look = (now, opened, age < 2 * Self.lookTime ? opened - look.opened : 0) }
        return 3 * max(look.before, opened - look.opened)
    }
}
