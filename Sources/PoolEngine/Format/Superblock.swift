internal import BlockStorage

/// The root of a pool. Checkpoint n is written to slot n % ringSlots of ring A, then of ring B, so a torn write leaves
/// the one before it whole, twice.
///
///     offset  size  field
///          0     8  magic "VFSB", checksum
///          8     4  version        3
///         12     4  flags          bit 0: closed cleanly; bit 1: the last zone was cut, and its header may say more segments
///                                  than it has, or be torn: it is what fits
///         16    16  uuid           of the pool
///         32    28  geometry       block size, fan-out, segment blocks, ring slots, ring stride, journal frames,
///                                  space log frames: u32 each
///         60     4  zones          how many
///         64    32  features       compatible, read-only compatible, incompatible, autoclear: a bit set each
///         96     8  epoch          this checkpoint's number
///        104     4  previous       checksum of the superblock before it
///        108     4  catalog depth  levels of the catalog, 0 if it is empty
///        112     8  size           bytes of the device in use
///        120     8  next id
///        128     4  next generation
///        132     4  bitmap slot    which of each page's two slots counts
///        136    48  roots          catalog, reflink counts, segment map: node pointers
///        184    24  journal        incarnation, tail frame, tail LSN
///        208    16  space log      tail frame, head frame
///        224    16  bitmap         epoch its pages were written at (0: none), regions written
///        240     8  allocated      blocks in use
///        248    16  written, created: nanoseconds since 1970
///        264     4  reflink depth  levels of the tree of shared blocks, 0 if there are none
///        268     4  reserved, zero
///        272     8  autogrow       bytes by which a full pool makes its file larger, 0 for never; a volfs that does not know
///                                  of it stores 0
///        280        reserved, zero
///        504     8  nonce          random, different in each superblock written, and the same at the end of each further
///                                  512 bytes. Two checkpoints may have the same number, if the first was never completed
///                                  and recovery made the other: sectors of both must not add up to a valid one.
public struct Superblock: Equatable, Sendable {
    public static let version: UInt32 = 3
    /// The oldest format that is opened. The first checkpoint makes it the newest. Version 1 had no copies of nodes: there
    /// every distance is 0. Version 2 had no shared blocks and no reservations: there the fields are 0.
    static let oldestVersion: UInt32 = 1
    static let magic = SealedBlock.magic("VFSB")

    public var uuid: UUIDBytes
    public var geometry: Geometry
    var isClean = false
    var isCut = false
    var zoneCount = 0
    /// Feature words, as qcow2 divides them: unknown bits of the third forbid opening, of the second writing.
    var compatible: UInt64 = 0
    var readOnlyCompatible: UInt64 = 0
    var incompatible: UInt64 = 0
    var autoclear: UInt64 = 0
    public var epoch: UInt64 = 0
    var previous: UInt32 = 0
    var catalogDepth = 0
    var reflinkDepth = 0
    var autogrow: UInt64 = 0
    var size: UInt64 = 0
    var nextID: UInt64 = 1
    var nextGeneration: UInt32 = 1
    var bitmapSlot = 0
    var catalogRoot = NodePointer.none
    var reflinkRoot = NodePointer.none
    var segmentMapRoot = NodePointer.none
    var incarnation: UInt64 = 0
    var journalTail: UInt64 = 1
    var journalLSN: UInt64 = 1
    var spaceTail: UInt64 = 1
    var spaceHead: UInt64 = 1
    var bitmapEpoch: UInt64 = 0
    var bitmapRegions: UInt64 = 0
    var allocated: UInt64 = 0
    var written: UInt64 = 0
    var created: UInt64 = 0
    var nonce: UInt64 = 0

    /// Of the block it was decoded from, which the next superblock names.
    var checksum: UInt32 = 0

    private enum Offset {
        static let version = 8, flags = 12, uuid = 16, geometry = 32, zones = 60, features = 64, epoch = 96
        static let previous = 104, catalogDepth = 108, size = 112, nextID = 120, nextGeneration = 128, bitmapSlot = 132
        static let roots = 136, incarnation = 184, journalTail = 192, journalLSN = 200, spaceTail = 208, spaceHead = 216
        static let bitmapEpoch = 224, bitmapRegions = 232, allocated = 240, written = 248, created = 256
        static let reflinkDepth = 264, autogrow = 272
    }
    static let epochOffset = Offset.epoch
    static let encodedSize = 280
    private static let sectorSize = 512

    init(uuid: UUIDBytes, geometry: Geometry) {
        self.uuid = uuid
        self.geometry = geometry
    }

    /// Fills and seals one block. Returns its checksum, which the next superblock names.
    func encode(into block: UnsafeMutableRawBufferPointer) -> UInt32 {
        block.clear()
        block.store(Self.version, at: Offset.version)
        block.store(UInt32((isClean ? 1 : 0) | (isCut ? 2 : 0)), at: Offset.flags)
        uuid.encode(into: block, at: Offset.uuid)
        let g = geometry
        let sizes = [
            g.blockSize, g.fanout, g.segmentBlocks, g.ringSlots, g.ringStride, g.journalFrames, g.spaceLogFrames, zoneCount,
        ]
        for (index, value) in sizes.enumerated() { block.store(UInt32(value), at: Offset.geometry + 4 * index) }
        for (index, word) in [compatible, readOnlyCompatible, incompatible, autoclear].enumerated() {
            block.store(word, at: Offset.features + 8 * index)
        }
        block.store(epoch, at: Offset.epoch)
        block.store(previous, at: Offset.previous)
        block.store(UInt32(catalogDepth), at: Offset.catalogDepth)
        block.store(size, at: Offset.size)
        block.store(nextID, at: Offset.nextID)
        block.store(nextGeneration, at: Offset.nextGeneration)
        block.store(UInt32(bitmapSlot), at: Offset.bitmapSlot)
        for (index, root) in [catalogRoot, reflinkRoot, segmentMapRoot].enumerated() {
            root.encode(into: block, at: Offset.roots + NodePointer.size * index)
        }
        block.store(incarnation, at: Offset.incarnation)
        block.store(journalTail, at: Offset.journalTail)
        block.store(journalLSN, at: Offset.journalLSN)
        block.store(spaceTail, at: Offset.spaceTail)
        block.store(spaceHead, at: Offset.spaceHead)
        block.store(bitmapEpoch, at: Offset.bitmapEpoch)
        block.store(bitmapRegions, at: Offset.bitmapRegions)
        block.store(allocated, at: Offset.allocated)
        block.store(written, at: Offset.written)
        block.store(created, at: Offset.created)
        block.store(UInt32(reflinkDepth), at: Offset.reflinkDepth)
        block.store(autogrow, at: Offset.autogrow)
        for end in stride(from: Self.sectorSize, through: block.count, by: Self.sectorSize) { block.store(nonce, at: end - 8) }
        SealedBlock.seal(block, magic: Self.magic)
        return block.integer(at: 4)
    }

    /// Decodes a block of at least `encodedSize` bytes. `position` is its byte offset, for the error.
    init(decoding block: UnsafeRawBufferPointer, position: UInt64) throws(PoolError) {
        if let problem = SealedBlock.problem(block, magic: Self.magic) {
            throw .corrupt(.superblock, position: position, problem)
        }
        let version: UInt32 = block.integer(at: Offset.version)
        let incompatible: UInt64 = block.integer(at: Offset.features + 16)
        guard (Self.oldestVersion...Self.version).contains(version), incompatible == 0 else {
            throw .unsupportedFormat(version: version, features: incompatible)
        }
        func number(_ offset: Int) -> Int { Int(block.integer(at: offset, as: UInt32.self)) }
        let g = Offset.geometry
        geometry = Geometry(
            blockSize: number(g), fanout: number(g + 4), segmentBlocks: number(g + 8), ringSlots: number(g + 12),
            ringStride: number(g + 16), journalFrames: number(g + 20), spaceLogFrames: number(g + 24))
        try geometry.validate()
        guard geometry.blockSize == block.count else { throw .corrupt(.superblock, position: position, .identity) }
        checksum = block.integer(at: 4)
        isClean = number(Offset.flags) & 1 == 1
        isCut = number(Offset.flags) & 2 == 2
        uuid = UUIDBytes(decoding: block, at: Offset.uuid)
        zoneCount = number(Offset.zones)
        compatible = block.integer(at: Offset.features)
        readOnlyCompatible = block.integer(at: Offset.features + 8)
        self.incompatible = incompatible
        autoclear = block.integer(at: Offset.features + 24)
        epoch = block.integer(at: Offset.epoch)
        previous = block.integer(at: Offset.previous)
        catalogDepth = number(Offset.catalogDepth)
        size = block.integer(at: Offset.size)
        nextID = block.integer(at: Offset.nextID)
        nextGeneration = block.integer(at: Offset.nextGeneration)
        bitmapSlot = number(Offset.bitmapSlot)
        catalogRoot = NodePointer(decoding: block, at: Offset.roots)
        reflinkRoot = NodePointer(decoding: block, at: Offset.roots + NodePointer.size)
        segmentMapRoot = NodePointer(decoding: block, at: Offset.roots + 2 * NodePointer.size)
        incarnation = block.integer(at: Offset.incarnation)
        journalTail = block.integer(at: Offset.journalTail)
        journalLSN = block.integer(at: Offset.journalLSN)
        spaceTail = block.integer(at: Offset.spaceTail)
        spaceHead = block.integer(at: Offset.spaceHead)
        bitmapEpoch = block.integer(at: Offset.bitmapEpoch)
        bitmapRegions = block.integer(at: Offset.bitmapRegions)
        allocated = block.integer(at: Offset.allocated)
        written = block.integer(at: Offset.written)
        created = block.integer(at: Offset.created)
        reflinkDepth = number(Offset.reflinkDepth)
        autogrow = block.integer(at: Offset.autogrow)
        nonce = block.integer(at: Self.sectorSize - 8)
        let isSound =
            bitmapSlot <= 1 && catalogDepth <= 24 && reflinkDepth <= 24 && (epoch | journalLSN | journalTail | spaceHead) < 1 << 62 && journalLSN > 0
            && nextID > 0 && nextID < PoolState.maximumID && bitmapEpoch <= epoch && bitmapRegions < 1 << 32 && spaceTail <= spaceHead
            && spaceHead - spaceTail <= UInt64(geometry.spaceLogFrames) && journalTail > 0 && zoneCount > 0
        guard isSound else { throw .corrupt(.superblock, position: position, .mapping) }
    }
}
