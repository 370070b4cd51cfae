internal import BlockStorage

/// Single facts, for those that ask often.
extension Pool {
    /// Whether an earlier failure keeps anything from being written.
    public var isSuspended: Bool { state.withLock { $0.isSuspended } }

    /// Deleted versions that can be freed now, by id: how many bytes each had, and how many of those have been walked.
    public func freeing() -> [UInt64: (size: UInt64, done: UInt64)] {
        state.withLock { state in
            var found: [UInt64: (size: UInt64, done: UInt64)] = [:]
            for id in state.hidden {
                guard let version = state.versions[id], version.children.count <= 1 else { continue }
                let (walked, overflow) = version.record.reapCursor.multipliedReportingOverflow(by: UInt64(state.geometry.blockSize))
                found[id] = (version.record.size, overflow ? version.record.size : min(walked, version.record.size))
            }
            return found
        }
    }
}
