internal import BlockStorage

extension Pool {
    /// Whether `maintain` has something to do, or will have, although nothing is asked of the pool any more: changes to store,
    /// deleted versions to free, freed blocks that wait for another checkpoint, segments to give back. Any thread may call.
    public var hasMaintenance: Bool {
        state.withLock { state in
            if state.isReadOnly || state.isSuspended { return false }
            return state.hasChanges || state.hasReaped || state.canReap || state.maySettle
                || (configuration.discardsFreeSegments && state.mayPunch)
        }
    }
}

extension PoolState {
    /// As the reaper chooses.
    fileprivate var canReap: Bool {
        victim != nil || hidden.contains { id in versions[id].map { $0.children.count <= 1 } ?? false }
    }
}
