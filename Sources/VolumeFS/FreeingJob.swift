/// The freeing of deleted versions, as a job: it begins when something is deleted and ends by itself. Bytes are those of the
/// deleted volumes and snapshots that were gone through, holes too.
struct FreeingJob: Sendable {
    var started: UInt64
    private(set) var finished: UInt64 = 0
    private var known: [UInt64: UInt64] = [:]
    private(set) var done: UInt64 = 0
    private(set) var total: UInt64 = 0

    init(started: UInt64) { self.started = started }

    mutating func update(_ left: [UInt64: (size: UInt64, done: UInt64)]) {
        for (id, size) in known where left[id] == nil { finished += size }
        known = left.mapValues { $0.size }
        done = finished + left.values.reduce(0) { $0 + $1.done }
        total = finished + left.values.reduce(0) { $0 + $1.size }
    }
}
