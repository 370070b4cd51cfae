internal import BlockStorage

/// One group of a write: the final contents of its blocks, which are the request's own bytes, with blocks it has only parts of
/// completed from what the volume has now; and where they go. Used for one group after another, so that its memory is asked for
/// once.
struct GroupContent: Sendable {
    private(set) var first: UInt64 = 0
    private(set) var end: UInt64 = 0
    /// What partly written blocks were completed from.
    private(set) var oldEntries: [OldEntry] = []
    /// The generation as it was before the data was written, for a test that breaks rule R10.
    private(set) var brokenGeneration: UInt32?
    /// Places of the blocks that are not zero, in order.
    var runs: [BlockRun] = []
    /// What becomes a record each.
    private(set) var pieces: [Piece] = []
    /// Of each block; 0 for one that is zero.
    private(set) var checksums: [UInt32] = []
    private var zeros: [Bool] = []
    private var blockSize = 0
    /// Memory for the first and the last block, kept from group to group.
    private var edges: (first: AlignedBufferBox?, last: AlignedBufferBox?)

    struct OldEntry: Sendable {
        var block: UInt64
        var entry: Entry
    }

    /// Neighbouring blocks in one leaf that are all zero or all not.
    struct Piece: Sendable {
        var blocks: Range<UInt64>
        var isZero: Bool
        /// Its part of `runs`.
        var runs = 0..<0
        /// Zeros over a hole change nothing.
        var isNeeded = true
    }

    /// Takes in a group of `request`. What is there of the group before is gone.
    mutating func take(_ group: Range<UInt64>, of request: WriteRequest, pool: Pool) throws(PoolError) {
        (first, end) = (group.lowerBound, group.upperBound)
        blockSize = pool.geometry.blockSize
        brokenGeneration = pool.breaks(.oneCriticalSection) ? pool.generation(of: request.object) : nil
        runs.removeAll(keepingCapacity: true)
        oldEntries.removeAll(keepingCapacity: true)
        if !request.isWhole(first) { edges.first = try completed(first, in: edges.first, of: request, pool) }
        if end - first > 1, !request.isWhole(end - 1) { edges.last = try completed(end - 1, in: edges.last, of: request, pool) }
        sum(request)
        divide(leafBlocks: UInt64(pool.geometry.fanout))
    }

    /// A block as it will be: what the volume has, with the request's part over it.
    private mutating func completed(
        _ block: UInt64, in box: AlignedBufferBox?, of request: WriteRequest, _ pool: Pool
    ) throws(PoolError) -> AlignedBufferBox {
        let box = box ?? AlignedBufferBox(count: blockSize)
        let entry = try pool.readForUpdate(request.object, block, into: box.buffer.bytes)
        let within = block == request.firstBlock ? Int(request.offset % UInt64(blockSize)) : 0
        let part = request.part(of: block)
        box.buffer.bytes.part(within..<within + part.count).copyMemory(from: part)
        oldEntries.append(OldEntry(block: block, entry: entry))
        return box
    }

    private mutating func sum(_ request: WriteRequest) {
        checksums.removeAll(keepingCapacity: true)
        zeros.removeAll(keepingCapacity: true)
        for block in first..<end {
            let bytes = bytes(of: block, in: request)
            let isZero = BlockStorage.isZero(bytes)
            zeros.append(isZero)
            checksums.append(isZero ? 0 : crc32c(bytes))
        }
    }

    private mutating func divide(leafBlocks: UInt64) {
        pieces.removeAll(keepingCapacity: true)
        var block = first
        while block < end {
            let leafEnd = min(end, (block / leafBlocks + 1) * leafBlocks)
            let isZero = isZero(block)
            var next = block + 1
            while next < leafEnd, self.isZero(next) == isZero { next += 1 }
            pieces.append(Piece(blocks: block..<next, isZero: isZero))
            block = next
        }
    }

    /// Leaves a piece out of the records.
    mutating func drop(_ piece: Int) { pieces[piece].isNeeded = false }

    var count: Int { Int(end - first) }
    var dataCount: Int { zeros.reduce(0) { $0 + ($1 ? 0 : 1) } }
    private func isZero(_ block: UInt64) -> Bool { zeros[Int(block - first)] }

    func checksums(of piece: Piece) -> ArraySlice<UInt32> {
        checksums[Int(piece.blocks.lowerBound - first)..<Int(piece.blocks.upperBound - first)]
    }

    /// Bytes of journal that the group's records take at the most.
    var recordBytesBound: Int {
        var pieces = 4
        for index in 1..<max(1, count) where zeros[index] != zeros[index - 1] { pieces += 1 }
        return pieces * (JournalRecord.writeHeaderSize + 8) + dataCount * 12 + 64
    }

    /// Gives each piece its part of the runs, which are cut where a piece ends: they are no longer what was handed out.
    mutating func divideRuns() {
        var index = 0
        for piece in pieces.indices where !pieces[piece].isZero {
            let begin = index
            var left = pieces[piece].blocks.count
            while left > 0 {
                let run = runs[index]
                if run.count > left {
                    runs[index].count = left
                    runs.insert(BlockRun(start: run.start.advanced(by: left), count: run.count - left), at: index + 1)
                }
                left -= runs[index].count
                index += 1
            }
            pieces[piece].runs = begin..<index
        }
    }

    /// Writes the blocks that are not zero to `runs`, in as few writes as memory and runs allow.
    func writeData(of request: WriteRequest, pool: Pool) throws(PoolError) {
        try forEachWrite(of: request, map: pool.map) { bytes, offset throws(PoolError) in try pool.device.write(bytes, at: offset) }
    }

    /// Calls `body` with memory and where on the device it goes, until all blocks that are not zero are in `runs`.
    func forEachWrite(
        of request: WriteRequest, map: ZoneMap, _ body: (UnsafeRawBufferPointer, UInt64) throws(PoolError) -> Void
    ) throws(PoolError) {
        var block = first
        for run in runs {
            var done = 0
            while done < run.count {
                while isZero(block) { block += 1 }
                var length = 1
                if request.isWhole(block) {
                    while done + length < run.count, block + UInt64(length) < end, !isZero(block + UInt64(length)),
                        request.isWhole(block + UInt64(length))
                    { length += 1 }
                }
                let bytes = length == 1 ? bytes(of: block, in: request) : contiguous(block, length, in: request)
                try body(bytes, map.offset(of: run.start.advanced(by: done)))
                done += length
                block += UInt64(length)
            }
        }
    }

    private func bytes(of block: UInt64, in request: WriteRequest) -> UnsafeRawBufferPointer {
        if request.isWhole(block) { return request.part(of: block) }
        guard let box = block == first ? edges.first : edges.last else { preconditionFailure("a block is completed before it is used") }
        return UnsafeRawBufferPointer(box.buffer.bytes)
    }

    private func contiguous(_ block: UInt64, _ count: Int, in request: WriteRequest) -> UnsafeRawBufferPointer {
        let start = Int(block * UInt64(blockSize) - request.offset)
        return request.bytes.part(start..<start + count * blockSize)
    }
}
