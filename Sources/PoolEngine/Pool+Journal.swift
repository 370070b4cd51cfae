public import BlockStorage
internal import Synchronization

/// Making records last.
extension Pool {
    /// Returns when the records up to `lsn` are with the device, so that the end of this process cannot lose them. One
    /// thread writes for all that wait.
    func writeJournal(upTo lsn: UInt64) throws(PoolError) {
        try journalLock.withLock { page throws(PoolError) in
            let work = try state.withLock { state throws(PoolError) -> JournalWork? in
                if state.journal.writtenLSN >= lsn { return nil }
                if state.isSuspended { throw .suspended }
                let (frames, upTo) = state.journal.unwritten()
                return JournalWork(frames: frames, upTo: upTo)
            }
            guard let work else { return }
            for frame in work.frames { try orSuspend { () throws(PoolError) in try write(frame, from: page.bytes) } }
            state.withLock { $0.journal.didWrite(upTo: work.upTo) }
        }
    }

    private struct JournalWork: Sendable {
        var frames: [(sequence: UInt64, bytes: [UInt8])]
        var upTo: UInt64
    }

    private func write(
        _ frame: (sequence: UInt64, bytes: [UInt8]), from page: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        let slot = frame.sequence % UInt64(geometry.journalFrames)
        let offset = geometry.journalOffset + slot * UInt64(geometry.blockSize)
        page.copyBytes(from: frame.bytes)
        try device.write(UnsafeRawBufferPointer(page), at: offset)
    }

    /// Returns when everything written to `object` before the call is durable; everything else that was written then is
    /// so too. Costs one barrier of the device, shared by all who wait, and none if nothing was written.
    public func flush(_ object: UInt64) throws(PoolError) {
        let target = try state.withLock { state throws(PoolError) in
            state.counters.flushes += 1
            return try state.version(of: object).lastLSN
        }
        try flush(upTo: target)
    }

    /// Makes everything written to the pool before the call durable.
    public func flush() throws(PoolError) { try flush(upTo: state.withLock { $0.journal.lastLSN }) }

    func flush(upTo target: UInt64) throws(PoolError) {
        try flushLock.withLock { _ throws(PoolError) in
            let sealed = try state.withLock { state throws(PoolError) -> UInt64? in
                if state.journal.durableLSN >= target { return nil }
                if state.isSuspended { throw .suspended }
                return breaks(.sealedFrames) ? state.journal.lastLSN : state.journal.seal()
            }
            guard let sealed else { return }
            try writeJournal(upTo: sealed)
            if !breaks(.durableAfterBarrier) { try barrier() }
            state.withLock { $0.journal.didFlush(upTo: sealed) }
        }
    }
}
