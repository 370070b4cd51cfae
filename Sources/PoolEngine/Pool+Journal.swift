public import BlockStorage
internal import Synchronization

/// Making records last.
extension Pool {
    /// Returns when the records up to `lsn` are with the device, so that the end of this process cannot lose them. One
    /// thread writes for all that wait.
    func writeJournal(upTo lsn: UInt64) throws(PoolError) {
        try journalLock.withLock { page throws(PoolError) in
            let block = page.bytes
            let work = try state.withLock { state throws(PoolError) -> Journal.Unwritten? in
                if state.journal.writtenLSN >= lsn { return nil }
                if state.isSuspended { throw .suspended }
                return state.journal.takeUnwritten(copyingCurrentTo: block)
            }
            guard let work else { return }
            for frame in work.sealed { try write(frame.header, in: frame.block.buffer.bytes) }
            if let header = work.current { try write(header, in: block) }
            state.withLock { $0.journal.didWrite(work) }
        }
    }

    /// Returns when everything written before the call survives the end of the process. Throws `.suspended`.
    public func settleWrites() throws(PoolError) { try writeJournal(upTo: state.withLock { $0.journal.lastLSN }) }

    /// Completes a frame's block and writes it to its place.
    private func write(_ header: JournalFrame, in block: UnsafeMutableRawBufferPointer) throws(PoolError) {
        header.seal(block, pool: poolID)
        let offset = geometry.journalOffset + header.sequence % UInt64(geometry.journalFrames) * UInt64(geometry.blockSize)
        try orSuspend { () throws(PoolError) in try device.write(UnsafeRawBufferPointer(block), at: offset) }
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
