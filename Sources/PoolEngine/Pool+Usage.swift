public import BlockStorage

extension Pool {
    /// What the object takes, counted by walking its map beside those of the versions around it: whatever they share is passed over,
    /// and of a volume that never had a snapshot or a clone only interior nodes are read. Others go on meanwhile, as the lock is
    /// held for a few nodes at a time. Any thread may call. Throws `.notFound`, `.cancelled`, `.corrupt` for a node that cannot be
    /// read, `.inUse` if snapshots or clones of it come and go faster than it can be counted.
    public func usage(of object: UInt64, control: JobControl = JobControl()) throws(PoolError) -> ObjectUsage {
        for _ in 0..<8 {
            let (plan, stamp) = try state.withLock { state throws(PoolError) in (state.usagePlan(of: try state.version(of: object)), state.versionStamp) }
            var count = UsageCount(pool: self, control: control, plannedAt: stamp) { state throws(PoolError) in
                state.usagePlan(of: try state.version(of: object)) == plan
            }
            if let usage = try count.run(plan) { return usage }
        }
        throw .inUse
    }

    /// Bytes that deleting all of the objects, and nothing else, gives back once the reaper is through: what two of them share and
    /// nobody else has counts too. Otherwise as `ObjectUsage.unique`.
    public func freed(byDeleting objects: [UInt64], control: JobControl = JobControl()) throws(PoolError) -> UInt64 {
        for _ in 0..<8 {
            let (departures, stamp) = try state.withLock { state throws(PoolError) in (try state.departures(deleting: objects), state.versionStamp) }
            var count = UsageCount(pool: self, control: control, plannedAt: stamp) { state throws(PoolError) in
                try state.departures(deleting: objects) == departures
            }
            if let freed = try count.freed(by: departures) { return freed }
        }
        throw .inUse
    }
}

extension PoolState {
    fileprivate func departures(deleting objects: [UInt64]) throws(PoolError) -> [UsagePlan.Departure] {
        var doomed: [UInt64: Version] = [:]
        for object in objects {
            let version = try version(of: object)
            doomed[version.id] = version
        }
        return departures(deleting: doomed)
    }
}

/// One run of `Pool.usage(of:)` or `Pool.freed(byDeleting:)`.
private struct UsageCount {
    let pool: Pool
    let control: JobControl
    /// Whether what was planned is still what would be planned.
    let isPlanned: @Sendable (borrowing PoolState) throws(PoolError) -> Bool
    /// Of the version tree for which the plan is known to hold.
    private var stamp: UsagePlan.Stamp

    init(
        pool: Pool, control: JobControl, plannedAt stamp: UsagePlan.Stamp, isPlanned: @escaping @Sendable (borrowing PoolState) throws(PoolError) -> Bool
    ) {
        (self.pool, self.control, self.stamp, self.isPlanned) = (pool, control, stamp, isPlanned)
    }

    /// Nil if the version tree changed, so that the plan does not hold any more.
    mutating func run(_ plan: UsagePlan) throws(PoolError) -> ObjectUsage? {
        var tally = ReferenceTally()
        guard let own = try walk(plan.version, others: plan.children, keeper: nil, &tally) else { return nil }
        // Mostly the first departure is the walk just made.
        let isDone = plan.departures.contains { $0.version == plan.version && plan.children == ($0.survivor.map { [$0] } ?? []) }
        var freed = isDone ? own.nodes + own.freed : 0
        if !isDone { tally = ReferenceTally() }
        let rest = plan.departures.filter { !isDone || $0.version != plan.version }
        guard let others = try self.freed(rest, &tally) else { return nil }
        freed += others
        var written = own.written
        if !plan.children.isEmpty {
            var ignored = ReferenceTally()
            guard let whole = try walk(plan.version, others: [], keeper: nil, &ignored) else { return nil }
            written = whole.written
        }
        let unit = UInt64(pool.geometry.blockSize)
        return ObjectUsage(used: (own.nodes + own.references) * unit, unique: freed * unit, written: written * unit)
    }

    /// In bytes; nil as `run`.
    mutating func freed(by departures: [UsagePlan.Departure]) throws(PoolError) -> UInt64? {
        var tally = ReferenceTally()
        return try freed(departures, &tally).map { $0 * UInt64(pool.geometry.blockSize) }
    }

    private mutating func freed(_ departures: [UsagePlan.Departure], _ tally: inout ReferenceTally) throws(PoolError) -> UInt64? {
        var freed: UInt64 = 0
        for departure in departures {
            let others = departure.survivor.map { [$0] } ?? []
            guard let walk = try walk(departure.version, others: others, keeper: departure.keeper, &tally) else { return nil }
            freed += walk.nodes + walk.freed
        }
        return freed
    }

    private mutating func walk(
        _ version: UInt64, others: [UInt64], keeper: UInt64?, _ tally: inout ReferenceTally
    ) throws(PoolError) -> UsageWalk? {
        let start = pool.state.withLock { state in
            state.versions[version].map { UsageWalk($0, others: others, keeper: keeper, geometry: state.geometry) }
        }
        guard var walk = start else { return nil }
        while !walk.isDone {
            let isValid = try pool.withNodes { state, missing throws(PoolError) -> Bool? in
                // Here, as where no node is in memory it is tried again for each.
                if control.isCancelled { throw .cancelled }
                guard try holds(state) else { return false }
                return walk.advance(state, &tally, steps: 128, missing: &missing) ? true : nil
            }
            if !isValid { return nil }
        }
        return walk
    }

    private mutating func holds(_ state: borrowing PoolState) throws(PoolError) -> Bool {
        if state.versionStamp == stamp { return true }
        guard try isPlanned(state) else { return false }
        stamp = state.versionStamp
        return true
    }
}
