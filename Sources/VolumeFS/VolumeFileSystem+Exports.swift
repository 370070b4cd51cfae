package import BlockStorage
package import PoolEngine
internal import Synchronization

/// Volumes and snapshots for a front end that has no files. It says `enter` and `leave`, which keeps them from being deleted or
/// cut meanwhile.
extension VolumeFileSystem {
    /// Volumes, each with its snapshots behind it unless the mount hides those.
    package func exports() -> [ObjectInfo] {
        pool.volumes().flatMap { volume in
            options.showsSnapshots && volume.snapshotCount > 0 ? [volume] + pool.snapshots(of: volume.id) : [volume]
        }
    }

    /// Whether an object can be written to.
    package func isWritable(_ info: ObjectInfo) -> Bool {
        !info.isSnapshot && !options.isReadOnly && (try? limits(of: info.id).isReadOnly) == false
    }

    /// Makes a range of a volume zero and gives its blocks back, as far as its properties allow that.
    package func discardWithin(_ id: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        if try limits(of: id).isReadOnly { throw .refused(.volumeIsReadOnly) }
        try pool.discard(id, at: offset, count: count)
    }

    /// Writes within a volume: it does not grow. Limits that properties set are kept.
    package func writeWithin(_ id: UInt64, at offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(PoolError) {
        try refuseByLimits(id, at: offset, count: bytes.count)
        try pool.write(id, at: offset, bytes)
        if options.isSynchronous { try pool.flush(id) }
    }

    /// Runs the pool's background work, and what is due of its own accord, until `isDone`. For a thread of its own.
    package func maintain(until isDone: () -> Bool) {
        var hasMore = false
        while !isDone() {
            if !hasMore { options.pause(50) }
            do throws(PoolError) {
                hasMore = try pool.maintain()
            } catch {
                // A pool that is full or suspended says so to whoever writes; here there is only the next attempt.
                hasMore = false
                options.pause(200)
            }
            tend()
        }
    }
}
