internal import BlockStorage

/// What was asked of one volume or snapshot since the pool was opened. A volume keeps its counts through renames and rollbacks.
public struct RequestCounts: Equatable, Sendable {
    public var reads: UInt64 = 0, writes: UInt64 = 0, discards: UInt64 = 0
    public var readBytes: UInt64 = 0, writtenBytes: UInt64 = 0, discardedBytes: UInt64 = 0
}

extension Pool {
    /// Those of every volume, by its id. Any thread may call.
    public func requestCounts() -> [UInt64: RequestCounts] {
        state.withLock { state in
            state.objects.filter { $0.value.record.state == .volume }.mapValues(\.requests)
        }
    }
}
