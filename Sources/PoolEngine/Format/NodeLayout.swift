internal import BlockStorage

/// A node's block: a header that says which node it is, then five arrays of `fanout` entries.
///
///     offset  size  field
///          0     8  magic "VFND", checksum
///          8     8  address       the node's own: a misdirected write is seen
///         16     8  pool          low half of the pool's uuid
///         24     1  level         0 is a leaf
///         25     1  tree          0 volume map, 1 catalog, 2 reflink counts, 3 segment map, 4 properties
///         26     2  version       of this layout, 1
///         28     4  count         entries that are not holes; in a catalog leaf, records
///         32     8  family        the first version of the lineage, by id
///         40     8  writer        the version that wrote it, by id
///         48     4  generation    of that version
///         52     4  reserved
///         56     8  epoch         the checkpoint that wrote it
///         64     8  first         first logical block below it; in the catalog, the first version id
///         72    16  next          of a chain of properties: the node behind it
///         88   168  reserved, zero
///        256        u32 address low [fanout], u32 generation [fanout], u32 checksum [fanout],
///                   u16 descriptor [fanout], u8 address high [fanout]
///
/// A catalog leaf has 512-byte version records at 256 instead, a node of properties `count` bytes of them.
enum NodeLayout {
    static let headerSize = 256
    static let magic = SealedBlock.magic("VFND")
    static let version: UInt16 = 1
    enum Tree: UInt8 { case volume = 0, catalog = 1, reflink = 2, segmentMap = 3, properties = 4 }
    enum Offset {
        static let address = 8, pool = 16, level = 24, tree = 25, version = 26, count = 28, family = 32, writer = 40
        static let generation = 48, epoch = 56, first = 64, next = 72
    }

    /// What a header says a node is.
    struct Identity: Equatable {
        var address: BlockAddress
        var pool: UInt64
        var level: Int
        var tree: Tree
        var count: Int
        var family: UInt64
        var writer: UInt64
        var generation: UInt32
        var epoch: UInt64
        var first: UInt64
        var next = NodePointer.none
    }

    /// Writes the header and seals `block`, whose entries are final. Returns the checksum a parent keeps.
    static func seal(_ block: UnsafeMutableRawBufferPointer, as id: Identity) -> UInt32 {
        block.part(0..<headerSize).clear()
        block.store(id.address.value, at: Offset.address)
        block.store(id.pool, at: Offset.pool)
        block.store(UInt8(id.level), at: Offset.level)
        block.store(id.tree.rawValue, at: Offset.tree)
        block.store(version, at: Offset.version)
        block.store(UInt32(id.count), at: Offset.count)
        block.store(id.family, at: Offset.family)
        block.store(id.writer, at: Offset.writer)
        block.store(id.generation, at: Offset.generation)
        block.store(id.epoch, at: Offset.epoch)
        block.store(id.first, at: Offset.first)
        id.next.encode(into: block, at: Offset.next)
        SealedBlock.seal(block, magic: magic)
        return crc32c(UnsafeRawBufferPointer(block))
    }

    /// The identity of the node in `block`, after its checksum, its own address and its pool were found right.
    /// `position` is its byte offset on the device, for the error.
    static func open(
        _ block: UnsafeRawBufferPointer, pointer: NodePointer, pool: UInt64, position: UInt64
    ) throws(PoolError) -> Identity {
        if let problem = SealedBlock.problem(block, magic: magic) { throw .corrupt(.node, position: position, problem) }
        guard crc32c(block) == pointer.checksum else { throw .corrupt(.node, position: position, .checksum) }
        guard let tree = Tree(rawValue: block.integer(at: Offset.tree)),
            block.integer(at: Offset.version, as: UInt16.self) == version
        else { throw .corrupt(.node, position: position, .identity) }
        let id = Identity(
            address: BlockAddress(block.integer(at: Offset.address)), pool: block.integer(at: Offset.pool),
            level: Int(block.integer(at: Offset.level, as: UInt8.self)), tree: tree,
            count: Int(block.integer(at: Offset.count, as: UInt32.self)), family: block.integer(at: Offset.family),
            writer: block.integer(at: Offset.writer), generation: block.integer(at: Offset.generation),
            epoch: block.integer(at: Offset.epoch), first: block.integer(at: Offset.first),
            next: NodePointer(decoding: block, at: Offset.next))
        guard id.address == pointer.address, id.pool == pool, id.generation == pointer.generation else {
            throw .corrupt(.node, position: position, .identity)
        }
        return id
    }

    // The arrays. `page` is a whole block and `index` less than the fan-out: both are ours, so no check per access.
    @inline(__always)
    static func entry(_ page: UnsafeMutableRawPointer, fanout: Int, _ index: Int) -> Entry {
        let low = page.load(fromByteOffset: headerSize + 4 * index, as: UInt32.self)
        let high = page.load(fromByteOffset: headerSize + 14 * fanout + index, as: UInt8.self)
        return Entry(
            address: BlockAddress(UInt64(low) | UInt64(high) << 32),
            generation: page.load(fromByteOffset: headerSize + 4 * (fanout + index), as: UInt32.self),
            checksum: page.load(fromByteOffset: headerSize + 4 * (2 * fanout + index), as: UInt32.self),
            descriptor: Descriptor(
                raw: page.load(fromByteOffset: headerSize + 12 * fanout + 2 * index, as: UInt16.self)))
    }

    @inline(__always)
    static func store(_ entry: Entry, _ page: UnsafeMutableRawPointer, fanout: Int, _ index: Int) {
        let address = entry.address.value
        page.storeBytes(of: UInt32(truncatingIfNeeded: address), toByteOffset: headerSize + 4 * index, as: UInt32.self)
        page.storeBytes(
            of: UInt8(truncatingIfNeeded: address >> 32), toByteOffset: headerSize + 14 * fanout + index, as: UInt8.self)
        page.storeBytes(
            of: entry.generation, toByteOffset: headerSize + 4 * (fanout + index), as: UInt32.self)
        page.storeBytes(
            of: entry.checksum, toByteOffset: headerSize + 4 * (2 * fanout + index), as: UInt32.self)
        page.storeBytes(
            of: entry.descriptor.raw, toByteOffset: headerSize + 12 * fanout + 2 * index, as: UInt16.self)
    }
}
