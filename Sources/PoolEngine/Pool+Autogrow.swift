internal import BlockStorage
internal import Synchronization

extension Pool {
    /// Bytes by which the pool makes its device larger when it is full; 0 for never.
    public var autogrow: UInt64 { configuration.autogrow ?? state.withLock { $0.superblock.autogrow } }

    /// Makes a full pool larger, if it may be and the layer below has room: by `autogrow`, or by what `needed`
    /// blocks take if that is more. `blocks` is how many there were when space was found short: if others have made the pool
    /// larger since, that is enough. False if nothing was gained. Called with no other lock held.
    func growAutomatically(by needed: Int, from blocks: Int) -> Bool {
        let autogrow = autogrow
        if autogrow == 0 { return false }
        return growLock.withLock { _ in
            if state.withLock({ $0.space.blockCount > blocks }) { return true }
            // Nothing is to be added to what somebody is making smaller.
            if state.withLock({ $0.isChangingSize || $0.space.tail != nil }) { return false }
            // Whole segments, and two more for the new zone's own pages.
            let segment = UInt64(geometry.segmentSize)
            let asked = max(autogrow, UInt64(needed * geometry.blockSize) + 2 * segment)
            do throws(PoolError) {
                let step = min(asked, try device.room) / segment * segment
                guard step >= 2 * segment else { return false }
                try growOnce(to: device.size + step)
                return true
            } catch {
                // Whatever the reason, the pool is as full as it was, but for what another call has made of it.
                return state.withLock { $0.space.blockCount > blocks }
            }
        }
    }
}
