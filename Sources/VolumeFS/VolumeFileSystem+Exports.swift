package import BlockStorage
package import PoolEngine
internal import Synchronization

/// Volumes and snapshots for a front end that has no files. It says `enter` and `leave`, which keeps them from being deleted or
/// cut meanwhile.
extension VolumeFileSystem {
    /// Volumes, each with its snapshots behind it unless the mount hides those. Not those whose property `nbd` is off.
    package func exports() -> [ObjectInfo] {
        pool.volumes().filter { isExported($0.id) }.flatMap { volume in
            options.showsSnapshots && volume.snapshotCount > 0 ? [volume] + pool.snapshots(of: volume.id) : [volume]
        }
    }

    /// What a volume's property `nbd` says of it and its snapshots.
    package func isExported(_ volume: UInt64) -> Bool { (try? limits(of: volume).isExported) ?? true }

    /// What a volume's property `discard` says.
    package func freesOnDiscard(_ volume: UInt64) -> Bool { (try? limits(of: volume).freesOnDiscard) ?? true }

    /// Whether an object can be written to.
    package func isWritable(_ info: ObjectInfo) -> Bool {
        !info.isSnapshot && !options.isReadOnly && (try? limits(of: info.id).isReadOnly) == false
    }

    /// Makes a range of a volume zero and gives its blocks back, as far as its properties allow that.
    package func discardWithin(_ id: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        defer { requests.noteActivity() }
        let limits = try limits(of: id)
        if limits.isReadOnly { throw .refused(.volumeIsReadOnly) }
        try discard(id, limits, at: offset, count: count)
    }

    /// Makes a range within a volume zero; with `keepsSpace` it is reserved, as fallocate(2) does it, so that no later write to it
    /// is refused for want of space. Throws `.outOfSpace`, having changed nothing, where there is not enough for that.
    package func zeroWithin(_ id: UInt64, at offset: UInt64, count: UInt64, keepsSpace: Bool) throws(PoolError) {
        guard keepsSpace && options.reservesOnAllocate else { return try discardWithin(id, at: offset, count: count) }
        defer { requests.noteActivity() }
        if try limits(of: id).isReadOnly { throw .refused(.volumeIsReadOnly) }
        // First: what is then discarded stays reserved.
        try pool.reserve(id, at: offset, count: count)
        try pool.discard(id, at: offset, count: count)
    }

    /// Writes within a volume: it does not grow. Limits that properties set are kept. What was written survives the end of the process
    /// after `pool.settleWrites`.
    package func writeWithin(_ id: UInt64, at offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(PoolError) {
        defer { requests.noteActivity() }
        try refuseByLimits(id, at: offset, count: bytes.count)
        try pool.write(id, at: offset, bytes, settles: false)
        if options.isSynchronous { try pool.flush(id) }
    }

    /// As `writeWithin`, of several writes, each by itself. Returns what became of each, nil if it was made.
    package func writeWithin(_ id: UInt64, _ pieces: [WritePiece]) -> [PoolError?] {
        // Below a quota each counts for the next.
        let isAlone = (try? limits(of: id).quota) != .max
        var outcomes: [PoolError?] = pieces.map { piece in
            do throws(PoolError) {
                if isAlone { try writeWithin(id, at: piece.offset, piece.bytes) } else { try refuseByLimits(id, at: piece.offset, count: piece.bytes.count) }
                return nil
            } catch {
                return error
            }
        }
        if isAlone { return outcomes }
        defer { requests.noteActivity() }
        let allowed = pieces.indices.filter { outcomes[$0] == nil }
        for (index, outcome) in zip(allowed, pool.write(id, allowed.map { pieces[$0] })) { outcomes[index] = outcome }
        guard options.isSynchronous else { return outcomes }
        do throws(PoolError) { try pool.flush(id) } catch {
            for index in allowed where outcomes[index] == nil { outcomes[index] = error }
        }
        return outcomes
    }
}
