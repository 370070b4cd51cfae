public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// copy_file_range(2): the clone of data that plain tools ask a FUSE daemon for.
extension VolumeFileSystem {
    /// The most bytes of one call: whoever wants more calls again. An answer has 32 bits.
    private static let copyLimit: UInt64 = 1 << 30

    /// Makes `count` bytes of a volume from `target` on the same as those of a volume or snapshot from `offset` on; less at the
    /// source's end, and at most 1 GiB. Whole blocks that lie alike in both are shared and not read; holes stay holes; the
    /// destination grows. Returns the bytes done: fewer than there are, but never none, where it was cancelled or failed on the
    /// way, or the mount is handed over, and then all before them are done. Durable on return where `handle` was opened for that, or the mount was.
    ///
    /// Throws as a write does; `.notSupported` for anything else than volumes and snapshots, `.invalid(.value)` for ranges of
    /// one volume that overlap, `.cancelled` if nothing was done.
    public func copy(
        from source: Inode, at offset: UInt64, to destination: Inode, handle: UInt64 = 0, at target: UInt64, count: UInt64,
        isCancelled: () -> Bool = { false }
    ) throws(PoolError) -> UInt64 {
        guard case .file(let from) = source, case .file(let to) = destination else { throw .notSupported }
        let available = try pool.size(from).bytes
        let (size, isSnapshot) = try pool.size(to)
        if isSnapshot || options.isReadOnly { throw .readOnly }
        guard offset < available, count > 0 else { return 0 }
        let wanted = min(count, available - offset, Self.copyLimit)
        let limit = pool.geometry.maximumVolumeSize
        let (end, overflow) = target.addingReportingOverflow(wanted)
        guard !overflow, end <= limit else { throw .tooLarge(size: overflow ? .max : end, limit: limit) }
        if from == to, offset < end, target < offset + wanted { throw .invalid(.value) }
        let rules = try limits(of: to)
        if rules.isReadOnly { throw .refused(.volumeIsReadOnly) }
        if rules.isFixed, end > size { throw .refused(.fixed(size: size)) }
        var copy = RangeCopy(pool: pool, from: from, at: offset, to: to, at: target, count: wanted, quota: rules.quota)
        let done = try copy.run(isCancelled: isCancelled, isEnding: { walks.copies.isCancelled })
        if done > 0, options.isSynchronous || open.withLock({ $0.synchronous.contains(handle) }) { try pool.flush(to) }
        return done
    }
}
