public import BlockStorage

extension Pool {
    /// Lays out a new pool over the whole of `device`, whatever was there before, and makes it durable. The pool is not
    /// open afterwards. With an `autogrow` a full pool makes the device larger by so many bytes, unless who opens it says something
    /// else. Throws `.invalid(.size)` if not even one segment and the fixed structures fit, `.poolTooLarge`.
    public static func format(
        _ device: any BlockDevice, geometry: Geometry? = nil, autogrow: UInt64 = 0, environment: Environment
    ) throws(PoolError) {
        let size = try device.size
        let geometry = geometry ?? .standard(size: size)
        try geometry.validate()
        var headers: [ZoneHeader] = []
        var offset = geometry.firstZoneOffset
        var segment: UInt64 = 1
        while let header = ZoneHeader(
            index: headers.count, offset: offset, end: size, firstSegment: segment, geometry: geometry)
        {
            headers.append(header)
            offset = header.end(geometry)
            segment += header.segments
            guard headers.count <= ZoneMap.maximumZones, segment * UInt64(geometry.segmentBlocks) < 1 << UInt64(BlockAddress.bits) else {
                throw .refused(.poolTooLarge(most: geometry.largestPool))
            }
        }
        guard !headers.isEmpty else { throw .invalid(.size) }
        let uuid = UUIDBytes(randomHigh: environment.random(), randomLow: environment.random())
        var superblock = Superblock(uuid: uuid, geometry: geometry)
        superblock.isClean = true
        superblock.zoneCount = headers.count
        superblock.epoch = 1
        superblock.size = size
        superblock.autogrow = autogrow
        superblock.incarnation = environment.random()
        superblock.nonce = environment.random()
        superblock.created = environment.now()
        superblock.written = superblock.created

        try format(device, superblock, headers)
    }

    /// Writes the fixed structures of a pool in which nothing is in use. Durable on return.
    static func format(_ device: any BlockDevice, _ superblock: Superblock, _ headers: [ZoneHeader]) throws(PoolError) {
        let geometry = superblock.geometry, uuid = superblock.uuid
        // Old superblocks go first: a device that is only half laid out must not open as the pool it was before.
        try writeZeros(device, from: 0, to: geometry.spaceLogOffset + UInt64(geometry.spaceLogFrames * geometry.blockSize))
        let block = AlignedBuffer(count: geometry.blockSize)
        for header in headers {
            header.encode(into: block.bytes, pool: uuid.low, geometry: geometry)
            try device.write(UnsafeRawBufferPointer(block.bytes), at: header.offset)
        }
        try device.flush()
        try write(superblock, to: device, buffer: block.bytes)
        try device.flush()
    }

    /// Writes a superblock to its slot in both rings, A first. Returns its checksum. Not durable before a flush.
    @discardableResult
    static func write(
        _ superblock: Superblock, to device: any BlockDevice, buffer: UnsafeMutableRawBufferPointer
    ) throws(PoolError) -> UInt32 {
        let g = superblock.geometry
        let checksum = superblock.encode(into: buffer)
        for ring in g.ringOffsets {
            let slot = superblock.epoch % UInt64(g.ringSlots) * UInt64(g.ringStride)
            try device.write(UnsafeRawBufferPointer(buffer), at: ring + slot)
        }
        return checksum
    }

    /// The journal is written once in full, so that its blocks have storage and a barrier need not commit the host's
    /// metadata.
    private static func writeZeros(_ device: any BlockDevice, from start: UInt64, to end: UInt64) throws(PoolError) {
        let zeros = AlignedBuffer(count: 1 << 20)
        var at = start
        while at < end {
            let count = Int(min(end - at, UInt64(zeros.bytes.count)))
            try device.write(UnsafeRawBufferPointer(zeros.bytes.part(0..<count)), at: at)
            at += UInt64(count)
        }
    }
}
