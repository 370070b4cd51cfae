public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// What was opened at another daemon of the same mount, and goes on at this one.
extension VolumeFileSystem {
    /// Handles of the daemon that has so many before it begin here.
    public static func firstHandle(_ generation: UInt64) -> UInt64 { generation << 40 | 1 }

    /// Whether another daemon has given this handle.
    public func isInherited(_ handle: UInt64) -> Bool { handle < Self.firstHandle(options.generation) }

    /// Counts a handle of another daemon among those that are open. Throws `.notFound` if there is no such object. To be called
    /// before any request is served.
    public func resume(_ handle: UInt64, of object: UInt64, _ user: VolumeUser, isSynchronous: Bool) throws(PoolError) {
        _ = try pool.info(object)
        open.withLock { table in
            table.handles += 1
            table.files[object, default: [:]][handle] = user
            if isSynchronous { table.synchronous.insert(handle) }
        }
    }

    /// The text that the other daemon had is gone. Who begins to read gets a new one; who is in the middle is told (ESTALE), as
    /// parts of two texts would be none. But what two snapshots differ in is the same for ever.
    func resumeText(_ inode: Inode, _ handle: UInt64, at offset: UInt64) throws(PoolError) {
        if open.withLock({ $0.texts[handle] != nil || $0.diffs[handle] != nil }) { return }
        guard offset == 0 || isSame(inode) else { throw Self.stale }
        _ = try keepText(of: inode, as: handle)
    }

    private func isSame(_ text: Inode) -> Bool {
        guard case .diff(let pair) = text else { return false }
        return [pair >> 28, pair & (1 << 28 - 1)].allSatisfy { (try? pool.info($0))?.isSnapshot == true }
    }

    /// What was asked of the other daemon is not known here.
    func refuseForgotten(_ handle: UInt64) throws(PoolError) { if isInherited(handle) { throw Self.stale } }

    /// ESTALE: to be opened anew.
    private static var stale: PoolError { .system(.pread, errno: 116) }

    func resumeEvents(_ handle: UInt64) { events.resume(handle, options.source) }
}
