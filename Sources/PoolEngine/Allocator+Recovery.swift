internal import BlockStorage

/// Taking over what the disk says of which blocks are in use. None of it is believed that something else contradicts.
extension Allocator {
    /// Takes over one region's bits from its page.
    mutating func load(first start: Int, count: Int, bits: UnsafeRawBufferPointer) {
        for bit in 0..<count where bits[bit / 8] >> (bit % 8) & 1 == 1 {
            let run = BlockRun(start: map.address(of: start + bit), count: 1)
            mark(run)
            liveCount += 1
        }
    }

    /// Applies one run of the space log.
    mutating func apply(_ word: UInt64, position: UInt64) throws(PoolError) {
        let (run, isFreed) = BlockRun.unpack(word)
        guard map.contains(run), run.count < 1 << 20,
            isFreed ? isBusy(run) : isFree(run)
        else { throw .corrupt(.spaceLog, position: position, .accounting) }
        if isFreed {
            clear(run)
            liveCount -= run.count
        } else {
            mark(run)
            liveCount += run.count
        }
    }

    /// Marks blocks named by a replayed record as live. Throws if one of them is not free.
    mutating func claim(_ run: BlockRun) throws(PoolError) {
        guard map.contains(run), isFree(run) else {
            throw .corrupt(.journal, position: run.start.value, .accounting)
        }
        mark(run)
        liveCount += run.count
        note(run, freed: false)
    }
}
