internal import BlockStorage
internal import LinuxIO
internal import Synchronization

/// A device for work that may be given up as long as it has written nothing: from then on it is ended only with all of it.
final class CancellableDevice: BlockDevice {
    private struct State {
        var hasWritten = false
        /// Once a read was refused nothing is done any more, whatever is made of that.
        var isCancelled = false
    }
    private let state = Mutex(State())
    private let device: any BlockDevice
    private let isWanted: @Sendable () -> Bool

    /// `isWanted` is asked before each read, from any thread.
    init(_ device: any BlockDevice, isWanted: @escaping @Sendable () -> Bool) {
        self.device = device
        self.isWanted = isWanted
    }

    /// Whether it was given up: what was asked for did not happen, and nothing was written.
    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    private func check(writes: Bool) throws(PoolError) {
        let isWanted = isWanted()
        let isCancelled = state.withLock { state in
            if !isWanted && !state.hasWritten { state.isCancelled = true }
            if writes && !state.isCancelled { state.hasWritten = true }
            return state.isCancelled
        }
        if isCancelled { throw .cancelled }
    }

    var size: UInt64 { get throws(PoolError) { try device.size } }
    var room: UInt64 { get throws(PoolError) { try device.room } }
    var storage: (free: UInt64, allocated: UInt64)? { device.storage }
    var lastRefuge: String? { device.lastRefuge }
    var absentSince: UInt64? { device.absentSince }

    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try check(writes: false)
        try device.read(into: bytes, at: offset)
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try check(writes: true)
        try device.write(bytes, at: offset)
    }

    func flush() throws(PoolError) {
        try check(writes: false)
        try device.flush()
    }

    func flushAndDropCache() throws(PoolError) {
        try check(writes: false)
        try device.flushAndDropCache()
    }

    func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        try check(writes: true)
        try device.discard(at: offset, count: count)
    }

    func allocate(at offset: UInt64, count: UInt64) throws(PoolError) {
        try check(writes: true)
        try device.allocate(at: offset, count: count)
    }

    func grow(to size: UInt64) throws(PoolError) {
        try check(writes: true)
        try device.grow(to: size)
    }

    func shrink(to size: UInt64) throws(PoolError) {
        try check(writes: true)
        try device.shrink(to: size)
    }
}
