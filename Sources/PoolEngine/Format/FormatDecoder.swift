package import BlockStorage

/// Each decoder of the format by itself, for tests that feed it bytes nobody vouches for.
package enum FormatDecoder: String, CaseIterable, Sendable {
    case superblock, zoneHeader, bitmapPage, spaceLogFrame, journalFrame, journalRecord, node, catalogLeaf

    /// Seals the block, so that what is behind the checksum is reached; a record has none.
    package func seal(_ block: UnsafeMutableRawBufferPointer) {
        switch self {
        case .superblock: SealedBlock.seal(block, magic: Superblock.magic)
        case .zoneHeader: SealedBlock.seal(block, magic: ZoneHeader.magic)
        case .bitmapPage: SealedBlock.seal(block, magic: BitmapPage.magic)
        case .spaceLogFrame: SealedBlock.seal(block, magic: SpaceLogFrame.magic)
        case .journalFrame: SealedBlock.seal(block, magic: JournalFrame.magic)
        case .node, .catalogLeaf: SealedBlock.seal(block, magic: NodeLayout.magic)
        case .journalRecord: break
        }
    }

    /// True if the bytes were taken. Throws nothing else than `.corrupt`, `.unsupportedFormat` and `.invalid`.
    package func decode(_ block: UnsafeRawBufferPointer, geometry: Geometry) throws(PoolError) -> Bool {
        let pool: UInt64 = block.integer(at: 8)
        switch self {
        case .superblock: _ = try Superblock(decoding: block, position: 0)
        case .zoneHeader:
            let offset: UInt64 = block.integer(at: 24)
            _ = try ZoneHeader(
                decoding: block, index: 0, offset: offset & 0xffff_ffff, firstSegment: 1, pool: pool, geometry: geometry, end: 1 << 30)
        case .bitmapPage:
            try BitmapPage.check(block, pool: pool, region: block.integer(at: 16), epoch: block.integer(at: 24), position: 0)
        case .spaceLogFrame:
            let frame = try SpaceLogFrame.decode(block, pool: pool, sequence: block.integer(at: 16), position: 0)
            for run in frame.runs { _ = BlockRun.unpack(run) }
        case .journalFrame: return JournalFrame(decoding: block, pool: pool) != nil
        case .journalRecord: return JournalRecord.decode(block) != nil
        case .node:
            let map = try Self.map(geometry)
            let pointer = NodePointer(
                address: BlockAddress(block.integer(at: NodeLayout.Offset.address)),
                generation: block.integer(at: NodeLayout.Offset.generation), checksum: crc32c(block))
            let identity = try NodeLayout.open(block, pointer: pointer, pool: block.integer(at: NodeLayout.Offset.pool), position: 0)
            _ = try Node(block: block, identity: identity, pointer: pointer, position: 0, geometry: geometry, map: map)
        case .catalogLeaf:
            let start = NodeLayout.headerSize
            _ = try VersionRecord(decoding: block.part(start..<start + VersionRecord.size), position: 0)
        }
        return true
    }

    private static func map(_ geometry: Geometry) throws(PoolError) -> ZoneMap {
        guard let header = ZoneHeader(index: 0, offset: geometry.firstZoneOffset, end: 1 << 22, firstSegment: 1, geometry: geometry) else {
            throw .invalid(.geometry)
        }
        return ZoneMap(geometry: geometry, headers: [header])
    }
}
