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
    /// Its records are on the device before it returns.
    var settles = true
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

    var groupCount: Int { Int((endBlock - 1) / groupBlocks - firstBlock / groupBlocks) + 1 }

    /// The group that begins with `block`, within four leaves; nil behind the last.
    func group(from block: UInt64) -> Range<UInt64>? {
        block < endBlock ? block..<min(endBlock, (block / groupBlocks + 1) * groupBlocks) : nil
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
