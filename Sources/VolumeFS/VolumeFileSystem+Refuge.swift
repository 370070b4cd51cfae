internal import BlockStorage
internal import PoolEngine

/// A pool's file that was removed while it is mounted: all works, and all is gone when the daemon ends.
extension VolumeFileSystem {
    /// Where the pool can be copied from. Nil as long as its file has a name.
    package var lastRefuge: String? { pool.device.lastRefuge }

    /// What to do about it, in a sentence.
    package var refugeText: String? {
        lastRefuge.map { "the pool's file was removed, and all in it ends with the mount; first: sync, then cp --sparse=always \($0) COPY" }
    }
}
