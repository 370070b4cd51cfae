public import BlockStorage
internal import Synchronization

extension Pool {
    /// Takes in what the device has gained, as a new zone or several behind the others, while the pool is used. Durable on
    /// return. What is less than a segment is left out. Throws `.invalid(.size)` if there is nothing to gain, `.inUse` while
    /// another call makes the pool smaller, `.noZonesLeft` or `.poolTooLarge` where the format has no place for more; then nothing has changed.
    public func grow() throws(PoolError) { try growLock.withLock { _ throws(PoolError) in try growOnce() } }

    /// Makes the device `size` bytes large, if that is more than it has, and takes in what it has gained. Durable on return. Where that
    /// is refused the device is as large as it was. Throws what `BlockDevice.grow` does, `.deviceHasNoMore`, and as `grow()`.
    public func grow(to size: UInt64) throws(PoolError) { try growLock.withLock { _ throws(PoolError) in try growOnce(to: size) } }

    func growOnce(to size: UInt64) throws(PoolError) {
        let before = try device.size
        try device.grow(to: size)
        let there = try device.size
        // What could not be taken in, since there are zones enough, say, does not stay with the file.
        defer { if state.withLock({ $0.superblock.size <= before }) { try? device.shrink(to: before) } }
        do throws(PoolError) { try growOnce() } catch .invalid(.size) where there < size { throw .refused(.deviceHasNoMore(size: there)) }
    }

    /// One at a time: where the next zone begins is known when the one before is in the map.
    func growOnce() throws(PoolError) {
        try beginSizeChange()
        defer { state.withLock { $0.isChangingSize = false } }
        let size = try device.size
        let headers = try checkpointLock.withLock { buffers throws(PoolError) -> [ZoneHeader] in
            try state.withLock { state throws(PoolError) in
                if state.isReadOnly { throw .readOnly }
                if let cause = state.suspension { throw cause }
            }
            let headers = try newZones(upTo: size)
            for header in headers {
                header.encode(into: buffers.block.bytes, pool: poolID, geometry: geometry)
                try device.write(UnsafeRawBufferPointer(buffers.block.bytes), at: header.offset)
            }
            try barrier()
            // The superblock first: a record of a block in a zone that no durable superblock has could not be replayed.
            state.withLock { state in
                state.superblock.size = size
                state.superblock.zoneCount += headers.count
            }
            return headers
        }
        try checkpoint(.growing)
        state.withLock { state in
            for header in headers { map.append(header) }
            state.space.grow()
        }
    }

    private func newZones(upTo size: UInt64) throws(PoolError) -> [ZoneHeader] {
        guard var last = map.zones.last?.header else { throw .invalid(.size) }
        // A zone with another behind it ends at a whole word of the bitmap.
        guard Int(last.segments) * geometry.segmentBlocks % 64 == 0 else { throw .notSupported }
        var headers: [ZoneHeader] = []
        while let header = ZoneHeader(
            index: last.index + 1, offset: last.end(geometry), end: size, firstSegment: last.firstSegment + last.segments,
            geometry: geometry), (header.firstSegment + header.segments) * UInt64(geometry.segmentBlocks) < 1 << UInt64(BlockAddress.bits)
        {
            headers.append(header)
            last = header
            if headers.count > ZoneMap.maximumZones { break }
        }
        if headers.isEmpty, size >= last.end(geometry) + 2 * UInt64(geometry.segmentSize) { throw .refused(.poolTooLarge(most: geometry.largestPool)) }
        guard !headers.isEmpty else { throw .invalid(.size) }
        let left = ZoneMap.maximumZones - map.zones.count
        if left <= 0 { throw .refused(.noZonesLeft(count: map.zones.count)) }
        if headers.count > left { throw .refused(.poolTooLarge(most: headers[left - 1].end(geometry))) }
        return headers
    }
}
