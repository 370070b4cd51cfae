internal import BlockStorage

/// A write as it came, divided into groups that are applied atomically.
struct WriteRequest: @unchecked Sendable {
    // Sendable: the bytes are the caller's, who waits for the call to return.
    let object: UInt64
    let offset: UInt64
    let bytes: UnsafeRawBufferPointer
    let isGrowing: Bool
    /// A discard's own zeros, which may go where a shrink is cutting.
    var isDiscard = false
    /// Under which the pool keeps what was taken for it out of its volume's promise; 0 for nothing.
    var ticket: UInt64 = 0
    private let blockSize: UInt64
    private let groupBlocks: UInt64

    /// Throws `.tooLarge` for an end no volume can have.
    init(
        object: UInt64, offset: UInt64, bytes: UnsafeRawBufferPointer, isGrowing: Bool, geometry: Geometry
    ) throws(PoolError) {
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
        guard !overflow, end <= geometry.maximumVolumeSize else {
            throw .tooLarge(size: end, limit: geometry.maximumVolumeSize)
        }
        self.object = object
        self.offset = offset
        self.bytes = bytes
        self.isGrowing = isGrowing
        blockSize = UInt64(geometry.blockSize)
        groupBlocks = 4 * UInt64(geometry.fanout)
    }

    var end: UInt64 { offset + UInt64(bytes.count) }
    var firstBlock: UInt64 { offset / blockSize }
    var endBlock: UInt64 { (end + blockSize - 1) / blockSize }

    /// Ranges of blocks, each within four leaves.
    var groups: [Range<UInt64>] {
        var groups: [Range<UInt64>] = []
        var block = firstBlock
        while block < endBlock {
            let next = min(endBlock, block / groupBlocks * groupBlocks + groupBlocks)
            groups.append(block..<next)
            block = next
        }
        return groups
    }

    /// Blocks that need a place, at the most: those that are not wholly zero.
    func dataCount(blockSize: Int) -> Int {
        var count = 0
        for block in firstBlock..<endBlock where !isWhole(block) || !isZero(part(of: block)) { count += 1 }
        return count
    }

    /// True if the request has all bytes of the block.
    func isWhole(_ block: UInt64) -> Bool { block * blockSize >= offset && (block + 1) * blockSize <= end }

    /// The request's bytes that fall into the block.
    func part(of block: UInt64) -> UnsafeRawBufferPointer {
        let from = max(block * blockSize, offset), to = min((block + 1) * blockSize, end)
        return bytes.part(Int(from - offset)..<Int(to - offset))
    }
}

/// The final contents of one group's blocks: the request's own bytes, with blocks it has only parts of completed from
/// what the volume has now.
final class GroupContent: @unchecked Sendable {
    // Sendable: used by the one thread that makes the request; a class so that its buffers have one owner.
    let first: UInt64
    let end: UInt64
    /// What partly written blocks were completed from.
    let oldEntries: [(block: UInt64, entry: Entry)]
    /// The generation as it was before the data was written, for a test that breaks rule R10.
    let brokenGeneration: UInt32?
    private let request: WriteRequest
    private let blockSize: Int
    private var completed: [UInt64: AlignedBufferBox] = [:]
    private var crcs: [UInt32] = []
    private var zeros: [Bool] = []

    init(_ group: Range<UInt64>, of request: WriteRequest, pool: Pool) throws(PoolError) {
        first = group.lowerBound
        end = group.upperBound
        self.request = request
        brokenGeneration = pool.breaks(.oneCriticalSection) ? pool.generation(of: request.object) : nil
        blockSize = pool.geometry.blockSize
        var old: [(UInt64, Entry)] = []
        for block in Set([group.lowerBound, group.upperBound - 1]).sorted() where !request.isWhole(block) {
            let box = AlignedBufferBox(count: pool.geometry.blockSize)
            let entry = try pool.readForUpdate(request.object, block, into: box.buffer.bytes)
            let within = block == request.firstBlock ? Int(request.offset % UInt64(blockSize)) : 0
            let part = request.part(of: block)
            box.buffer.bytes.part(within..<within + part.count).copyMemory(from: part)
            completed[block] = box
            old.append((block, entry))
        }
        oldEntries = old
        crcs.reserveCapacity(count)
        zeros.reserveCapacity(count)
        for block in group {
            let bytes = bytes(of: block)
            let isZero = BlockStorage.isZero(bytes)
            zeros.append(isZero)
            crcs.append(isZero ? 0 : crc32c(bytes))
        }
    }

    var count: Int { Int(end - first) }
    var dataCount: Int { zeros.reduce(0) { $0 + ($1 ? 0 : 1) } }
    func isZero(_ block: UInt64) -> Bool { zeros[Int(block - first)] }

    func checksums(_ blocks: Range<UInt64>) -> [UInt32] {
        Array(crcs[Int(blocks.lowerBound - first)..<Int(blocks.upperBound - first)])
    }

    /// Bytes of journal that the group's records take at the most.
    var recordBytesBound: Int {
        var pieces = 4
        for index in 1..<max(1, count) where zeros[index] != zeros[index - 1] { pieces += 1 }
        return pieces * (JournalRecord.writeHeaderSize + 8) + dataCount * 12 + 64
    }

    /// Writes the blocks that are not zero to `runs`, in as few writes as memory and runs allow.
    func writeData(to runs: [BlockRun], pool: Pool) throws(PoolError) {
        var block = first
        for run in runs {
            var done = 0
            while done < run.count {
                while isZero(block) { block += 1 }
                var length = 1
                if completed[block] == nil {
                    while done + length < run.count, block + UInt64(length) < end, !isZero(block + UInt64(length)),
                        completed[block + UInt64(length)] == nil
                    { length += 1 }
                }
                let bytes = length == 1 ? bytes(of: block) : contiguous(block, length)
                try pool.device.write(bytes, at: pool.map.offset(of: run.start.advanced(by: done)))
                done += length
                block += UInt64(length)
            }
        }
    }

    private func bytes(of block: UInt64) -> UnsafeRawBufferPointer {
        if let box = completed[block] { return UnsafeRawBufferPointer(box.buffer.bytes) }
        return request.part(of: block)
    }

    private func contiguous(_ block: UInt64, _ count: Int) -> UnsafeRawBufferPointer {
        let start = Int(block * UInt64(blockSize) - request.offset)
        return request.bytes.part(start..<start + count * blockSize)
    }
}

/// An `AlignedBuffer` that a dictionary can hold.
final class AlignedBufferBox {
    let buffer: AlignedBuffer
    init(count: Int) { buffer = AlignedBuffer(count: count) }
}

extension Pool {
    /// The block's present contents and the entry they were read by.
    func readForUpdate(
        _ object: UInt64, _ block: UInt64, into bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) -> Entry {
        while true {
            let before = try currentEntry(object, block)
            try readBlocks(object, first: block, into: bytes)
            if try currentEntry(object, block) == before { return before }
        }
    }

    func generation(of object: UInt64) -> UInt32? { state.withLock { $0.objects[object]?.generation } }

    /// What the block is now.
    func currentEntry(_ object: UInt64, _ block: UInt64) throws(PoolError) -> Entry {
        try withNodes { state, missing throws(PoolError) -> Entry? in
            state.entry(try state.writableVersion(of: object), block, missing: &missing)
        }
    }
}
