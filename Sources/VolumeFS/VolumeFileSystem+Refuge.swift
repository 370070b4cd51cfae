internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// A pool's file that was removed while it is mounted, so that all works, and all is gone when the daemon ends; or that was cut.
extension VolumeFileSystem {
    /// Where the pool can be copied from. Nil as long as its file has a name.
    package var lastRefuge: String? { pool.device.lastRefuge }

    /// What to do about it, in a sentence. Nil as long as the file is there and whole.
    package var refugeText: String? {
        if let lastRefuge {
            return "the pool's file was removed, and all in it ends with the mount; first: sync, then cp --sparse=always \(lastRefuge) COPY"
        }
        lookWhetherCut()
        let size = cutSize.load(ordering: .relaxed)
        if size == 0 { return nil }
        return "the pool's file was cut to \(size) of \(pool.deviceSize) bytes, and what lay behind that is lost; "
            + "copy what can still be read, and restore the file from a copy"
    }

    /// A write makes the file longer again, but what was cut off stays lost: so that it is remembered.
    private func lookWhetherCut() {
        let before = pool.deviceSize
        guard let size = try? pool.device.size, size < before else { return }
        // Unless the pool itself has just become smaller.
        if size < pool.deviceSize { _ = cutSize.compareExchange(expected: 0, desired: max(1, size), ordering: .relaxed) }
    }
}
