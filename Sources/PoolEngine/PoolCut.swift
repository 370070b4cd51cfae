internal import BlockStorage

/// What a pool is after its end is cut off, worked out before anything is moved.
struct PoolCut: Equatable, Sendable {
    /// Bytes of the device: exactly to the end of the last zone.
    var size: UInt64
    var zoneCount: Int
    /// The header of the last zone: as it is, or with fewer segments.
    var last: ZoneHeader
    var blockCount: Int
    var regionCount: Int
}

extension ZoneMap {
    /// The largest pool of up to `size` bytes that a cut can leave. A zone that is cut must be the very one that the geometry
    /// gives for the size, so that its header can be told from that, and end with a whole word of the bitmap, so that another
    /// zone can follow. Where that is not possible zones stay or go whole, and the first, at least, stays. Nil if nothing is left, or nothing cut off.
    func cut(to size: UInt64) -> PoolCut? {
        var cut: PoolCut?
        for (index, zone) in zones.enumerated() {
            var header = zone.header
            let isWhole = header.end(geometry) <= size
            if !isWhole {
                guard header.dataOffset + UInt64(geometry.segmentSize) <= size else { break }
                if let part = part(of: header, to: size) {
                    header = part
                } else if index > 0 {
                    break
                }
            }
            let count = Int(header.segments) * geometry.segmentBlocks
            cut = PoolCut(
                size: header.end(geometry), zoneCount: index + 1, last: header, blockCount: zone.firstBlock + count,
                regionCount: zone.firstRegion + (count + geometry.regionBlocks - 1) / geometry.regionBlocks)
            if !isWhole { break }
        }
        guard let cut, cut.blockCount < blockCount else { return nil }
        return cut
    }

    /// Bytes that a pool of these zones has at the least.
    var leastSize: UInt64 {
        guard let first = zones.first?.header else { return 0 }
        return cut(to: first.dataOffset + UInt64(geometry.segmentSize))?.size ?? first.end(geometry)
    }

    /// The zone with fewer segments. Nil where no part of it will do: that its bitmap pages have taken the same room, rounded to a
    /// segment, as those of the whole zone, is not so for the zones of more than 31 GiB that earlier versions made.
    private func part(of header: ZoneHeader, to size: UInt64) -> ZoneHeader? {
        let unit = UInt64(max(1, 64 / geometry.segmentBlocks)), segment = UInt64(geometry.segmentSize)
        let wanted = (size - header.dataOffset) / segment / unit * unit
        for segments in stride(from: max(wanted, unit), to: header.segments, by: Int(unit)) {
            let likely = ZoneHeader(
                index: header.index, offset: header.offset, filling: header.dataOffset + segments * segment,
                firstSegment: header.firstSegment, geometry: geometry)
            if let likely, likely.segments == segments, likely.dataOffset == header.dataOffset { return likely }
        }
        return nil
    }
}
