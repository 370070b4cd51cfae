internal import BlockStorage

/// The sizes a pool is made with. Stored in the superblock; none of them changes in a pool's life.
///
/// The normal geometry is `standard`. Tests use tiny ones, so that wraps, deep trees and a full pool come within a few
/// hundred operations.
public struct Geometry: Equatable, Sendable {
    /// Bytes in a block: the unit of mapping, allocation and checksums, and the size of every metadata structure.
    public var blockSize: Int
    /// Entries in a node.
    public var fanout: Int
    /// Blocks in a segment, the unit of placement, punching and remapping.
    public var segmentBlocks: Int
    /// Superblock slots in one ring, and bytes from one slot to the next.
    public var ringSlots: Int
    public var ringStride: Int
    /// One-block frames in the journal ring and in the space log ring.
    public var journalFrames: Int
    public var spaceLogFrames: Int
    /// The most segments that a new zone gets. Not stored: each zone's header has its own count. Header and bitmap pages of so many
    /// take one segment, as those of fewer do: so a zone can be cut anywhere, and its data still begins where it must.
    var zoneSegments: Int { min(zoneLimit, max(1, (segmentBlocks - 1) / 2) * regionBlocks / segmentBlocks) }
    /// The most that a zone has: earlier versions made larger ones.
    var largestZoneSegments: Int { 512 * regionBlocks / segmentBlocks }
    /// Bytes that a pool has at the most, about: in as many zones as there can be, and in as many blocks as can be numbered.
    var largestPool: UInt64 {
        let zones = UInt64(zoneSegments * segmentSize) * UInt64(ZoneMap.maximumZones)
        return min(zones, UInt64(blockSize) << UInt64(BlockAddress.bits))
    }
    /// For tests, which want several zones in a small pool.
    package var zoneLimit = Int.max

    public init(
        blockSize: Int, fanout: Int, segmentBlocks: Int, ringSlots: Int, ringStride: Int, journalFrames: Int,
        spaceLogFrames: Int
    ) {
        self.blockSize = blockSize
        self.fanout = fanout
        self.segmentBlocks = segmentBlocks
        self.ringSlots = ringSlots
        self.ringStride = ringStride
        self.journalFrames = journalFrames
        self.spaceLogFrames = spaceLogFrames
    }

    /// For a pool of `size` bytes: 4 KiB blocks, 2 MiB segments, a journal of 1/64 of the pool, 4 to 256 MiB.
    public static func standard(size: UInt64) -> Geometry {
        let journal = max(4 << 20, min(Int(clamping: size / 64), 256 << 20)) / 4096
        return Geometry(
            blockSize: 4096, fanout: 256, segmentBlocks: 512, ringSlots: 16, ringStride: 65_536,
            journalFrames: journal, spaceLogFrames: max(256, journal / 8))
    }

    public static let maximumLevel = 3

    // Layout of the fixed part, in bytes from the start of the device.
    var ringOffsets: [UInt64] { [0, UInt64(ringSlots * ringStride)] }
    var journalOffset: UInt64 { UInt64(2 * ringSlots * ringStride) }
    var spaceLogOffset: UInt64 { journalOffset + UInt64(journalFrames * blockSize) }
    package var dataOffset: UInt64 { firstZoneOffset }
    var firstZoneOffset: UInt64 {
        roundUp(spaceLogOffset + UInt64(spaceLogFrames * blockSize), to: UInt64(segmentSize))
    }

    public var segmentSize: Int { segmentBlocks * blockSize }
    /// Blocks that one bitmap page describes, a whole number of segments and of 64-bit words.
    var regionBlocks: Int { (blockSize - BitmapPage.headerSize) * 8 / unit * unit }
    private var unit: Int { max(segmentBlocks, 64) }

    /// Logical blocks under a node of `level`; a leaf has level 0.
    func span(level: Int) -> UInt64 {
        var blocks = UInt64(fanout)
        for _ in 0..<level { blocks *= UInt64(fanout) }
        return blocks
    }

    /// The lowest level whose root covers `blocks`.
    func level(covering blocks: UInt64) -> Int {
        var level = 0
        while span(level: level) < blocks { level += 1 }
        return level
    }

    /// The largest volume, in bytes.
    public var maximumVolumeSize: UInt64 { span(level: Self.maximumLevel) * UInt64(blockSize) }

    func blocks(covering bytes: UInt64) -> UInt64 {
        bytes / UInt64(blockSize) + (bytes % UInt64(blockSize) == 0 ? 0 : 1)
    }

    /// Frames that the records of one atomic group can need, when data and zeros alternate.
    private var largestGroupFrames: Int {
        let bytes = 4 * fanout * (JournalRecord.writeHeaderSize + 20)
        return 2 * bytes / (blockSize - JournalFrame.headerSize) + 1
    }

    /// Throws `.invalid(.geometry)` unless the sizes fit together: everything read from a superblock passes here before
    /// it is used for arithmetic.
    func validate() throws(PoolError) {
        let powers = [blockSize, fanout, segmentBlocks]
        let isSound =
            powers.allSatisfy { $0 > 0 && $0 & ($0 - 1) == 0 }
            && 4 * fanout.trailingZeroBitCount + blockSize.trailingZeroBitCount <= 62
            && (512...65_536).contains(blockSize) && (4...4096).contains(fanout) && (16...4096).contains(segmentBlocks)
            && NodeLayout.headerSize + fanout * Entry.size <= blockSize && VersionRecord.size + NodeLayout.headerSize <= blockSize
            && (2...64).contains(ringSlots) && ringStride >= blockSize && ringStride <= 1 << 20
            && ringStride % blockSize == 0
            && (16...1 << 20).contains(journalFrames) && largestGroupFrames + 8 <= journalFrames && (4...1 << 20).contains(spaceLogFrames)
        guard isSound else { throw .invalid(.geometry) }
    }
}

func roundUp(_ value: UInt64, to unit: UInt64) -> UInt64 { (value + unit - 1) / unit * unit }
