internal import BlockStorage
internal import NBDProtocol
internal import Synchronization

/// Buffers in a few sizes, kept for the next request. Any thread may call.
final class BufferPool: Sendable {
    private static let capacities = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20, Int(Limits.payload)]
    /// Bytes that are kept while nobody uses them.
    static let kept = 32 << 20
    private let state = BusyMutex(State())

    private struct State {
        var free: [[IOBuffer]] = capacities.map { _ in [] }
        var freeBytes = 0
        var usedBytes = 0
    }

    /// Bytes of all buffers that are in use.
    var usedBytes: Int { state.withLock { $0.usedBytes } }

    /// A buffer for that many bytes of data, at most the largest payload and its headers.
    func take(_ count: Int) -> IOBuffer {
        guard let sizeClass = Self.capacities.firstIndex(where: { $0 >= count }) else { preconditionFailure("larger than any request") }
        let found = state.withLock { state -> IOBuffer? in
            let found = state.free[sizeClass].popLast()
            if let found { state.freeBytes -= found.size }
            state.usedBytes += IOBuffer.headroom + Self.capacities[sizeClass]
            return found
        }
        return found ?? IOBuffer(capacity: Self.capacities[sizeClass], sizeClass: sizeClass)
    }

    func give(_ buffer: IOBuffer) {
        state.withLock { state in
            state.usedBytes -= buffer.size
            guard state.freeBytes + buffer.size <= Self.kept else { return }
            state.free[buffer.sizeClass].append(buffer)
            state.freeBytes += buffer.size
        }
    }
}
