/// One mapping: where a logical block's contents are, or an interior node's child.
///
/// 15 bytes on disk, kept as five arrays in a node (`NodeLayout`). `generation` is that of the version which introduced
/// the mapping; together with the position it names that one introduction, and decides who may free the block. A hole
/// has a generation too: that of the discard, or of the volume's creation.
struct Entry: Equatable, Sendable {
    static let size = 15

    var address: BlockAddress
    var generation: UInt32
    var checksum: UInt32
    var descriptor: Descriptor

    static func hole(_ generation: UInt32) -> Entry {
        Entry(address: .none, generation: generation, checksum: 0, descriptor: .hole)
    }

    var isHole: Bool { descriptor.kind == .hole }

    /// Same introduction of the same block. Both halves matter: a block shared back by reflink has its old address
    /// under a new generation.
    func isSameBlock(as other: Entry) -> Bool { address == other.address && generation == other.generation }
}

/// 16 bits of what an entry is.
///
///     bits  leaf entry                            interior entry
///      0-2  kind                                  kind: hole or node
///      3-4  compression algorithm, 0              low bits of the child's mapped count
///      5-8  member of a compressed group, 0       …
///     9-12  blocks in the compressed group, 0     …
///
/// In an interior entry whose child is a leaf, bits 3 to 15 count the child's mapped blocks, so that a discard can
/// account for a leaf it does not have to read.
struct Descriptor: Equatable, Sendable {
    enum Kind: UInt16 { case hole = 0, data = 1, reservedZero = 2, compressed = 3, poisoned = 4, node = 5 }
    var raw: UInt16

    static let hole = Descriptor(raw: Kind.hole.rawValue)
    static let data = Descriptor(raw: Kind.data.rawValue)
    static func node(mapped: Int) -> Descriptor { Descriptor(raw: Kind.node.rawValue | UInt16(min(mapped, 8191)) << 3) }

    /// Nil for a number this format does not use.
    var kind: Kind? { Kind(rawValue: raw & 7) }
    var mapped: Int { Int(raw >> 3) }
}

/// What a parent, a version record or the superblock knows of a node on disk. 16 bytes.
struct NodePointer: Equatable, Sendable {
    var address: BlockAddress
    var generation: UInt32
    var checksum: UInt32
    static let size = 16
    static let none = NodePointer(address: .none, generation: 0, checksum: 0)
    var isNone: Bool { address == .none }
}
