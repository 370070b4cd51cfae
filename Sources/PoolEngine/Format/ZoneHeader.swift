internal import BlockStorage

/// The first block of a zone: up to 512 regions that carry their own bitmap pages. A pool grows by a zone.
///
///     offset  size  field
///          0     8  magic "VFZN", checksum
///          8     8  pool            low half of the pool's uuid
///         16     4  index           of the zone
///         20     4  reserved
///         24     8  offset          of this block on the device, in bytes
///         32     8  first segment
///         40     8  segments
///         48     8  bitmap offset   two blocks a region, in bytes
///         56     8  data offset     of the first segment, in bytes
///         64    28  geometry        as in the superblock, for repair
///         92        reserved, zero
struct ZoneHeader: Equatable, Sendable {
    static let magic = SealedBlock.magic("VFZN")

    var index: Int
    var offset: UInt64
    var firstSegment: UInt64
    var segments: UInt64
    var bitmapOffset: UInt64
    var dataOffset: UInt64

    /// The zone of at most `limit` segments that fits into `offset..<end`, or nil if not even one segment does.
    init?(index: Int, offset: UInt64, end: UInt64, firstSegment: UInt64, limit: Int? = nil, geometry g: Geometry) {
        let block = UInt64(g.blockSize), segment = UInt64(g.segmentSize)
        let perRegion = UInt64(g.regionBlocks / g.segmentBlocks)
        var segments = min(end > offset ? (end - offset) / segment : 0, UInt64(limit ?? g.zoneSegments))
        while segments > 0 {
            let regions = (segments + perRegion - 1) / perRegion
            let data = roundUp(offset + block * (1 + 2 * regions), to: segment)
            if data + segments * segment <= end {
                self.init(
                    index: index, offset: offset, firstSegment: firstSegment, segments: segments,
                    bitmapOffset: offset + block, dataOffset: data)
                return
            }
            segments -= 1
        }
        return nil
    }

    /// The zone that was made to fill `offset..<end` to less than a segment.
    init?(index: Int, offset: UInt64, filling end: UInt64, firstSegment: UInt64, geometry g: Geometry) {
        self.init(index: index, offset: offset, end: end, firstSegment: firstSegment, geometry: g)
        if self.end(g) + UInt64(g.segmentSize) > end { return }
        self.init(index: index, offset: offset, end: end, firstSegment: firstSegment, limit: g.largestZoneSegments, geometry: g)
    }

    private init(
        index: Int, offset: UInt64, firstSegment: UInt64, segments: UInt64, bitmapOffset: UInt64, dataOffset: UInt64
    ) {
        self.index = index
        self.offset = offset
        self.firstSegment = firstSegment
        self.segments = segments
        self.bitmapOffset = bitmapOffset
        self.dataOffset = dataOffset
    }

    func end(_ g: Geometry) -> UInt64 { dataOffset + segments * UInt64(g.segmentSize) }

    func encode(into block: UnsafeMutableRawBufferPointer, pool: UInt64, geometry g: Geometry) {
        block.clear()
        block.store(pool, at: 8)
        block.store(UInt32(index), at: 16)
        block.store(offset, at: 24)
        block.store(firstSegment, at: 32)
        block.store(segments, at: 40)
        block.store(bitmapOffset, at: 48)
        block.store(dataOffset, at: 56)
        let sizes = [
            g.blockSize, g.fanout, g.segmentBlocks, g.ringSlots, g.ringStride, g.journalFrames, g.spaceLogFrames,
        ]
        for (at, value) in sizes.enumerated() { block.store(UInt32(value), at: 64 + 4 * at) }
        SealedBlock.seal(block, magic: Self.magic)
    }

    /// Decodes the header expected at `offset`, whose first segment must be `firstSegment`.
    init(
        decoding block: UnsafeRawBufferPointer, index: Int, offset: UInt64, firstSegment: UInt64, pool: UInt64,
        geometry g: Geometry, end: UInt64
    ) throws(PoolError) {
        if let problem = SealedBlock.problem(block, magic: Self.magic) {
            throw .corrupt(.zoneHeader, position: offset, problem)
        }
        let segments: UInt64 = block.integer(at: 40)
        guard block.integer(at: 8) == pool, block.integer(at: 16) == UInt32(index), block.integer(at: 24) == offset,
            block.integer(at: 32) == firstSegment,
            let expected = ZoneHeader(index: index, offset: offset, end: end, firstSegment: firstSegment, limit: g.largestZoneSegments, geometry: g)
        else { throw .corrupt(.zoneHeader, position: offset, .identity) }
        let bitmap: UInt64 = block.integer(at: 48), data: UInt64 = block.integer(at: 56)
        let perRegion = UInt64(g.regionBlocks / g.segmentBlocks)
        guard segments > 0, segments <= expected.segments, bitmap == expected.bitmapOffset else {
            throw .corrupt(.zoneHeader, position: offset, .mapping)
        }
        let regions = (segments + perRegion - 1) / perRegion
        guard data == roundUp(offset + UInt64(g.blockSize) * (1 + 2 * regions), to: UInt64(g.segmentSize)),
            data + segments * UInt64(g.segmentSize) <= end
        else { throw .corrupt(.zoneHeader, position: offset, .mapping) }
        self.init(
            index: index, offset: offset, firstSegment: firstSegment, segments: segments, bitmapOffset: bitmap,
            dataOffset: data)
    }
}
