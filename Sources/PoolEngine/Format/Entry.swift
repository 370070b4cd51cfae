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

    /// What a block is whose contents are lost: reading it fails, until it is overwritten or discarded.
    static func poisoned(_ generation: UInt32) -> Entry {
        Entry(address: .none, generation: generation, checksum: 0, descriptor: Descriptor(raw: Descriptor.Kind.poisoned.rawValue))
    }

    var isHole: Bool { descriptor.kind == .hole }
    var isPoisoned: Bool { descriptor.kind == .poisoned }
    /// Whether there is something on the device for it.
    var isStored: Bool { !isHole && !isPoisoned }

    /// The node that an interior entry names. A leaf's has no copy: the bits count what it maps.
    func pointer(isLeaf: Bool) -> NodePointer {
        NodePointer(
            address: address, generation: generation, checksum: checksum, distance: isLeaf ? 0 : descriptor.distance)
    }

    /// An interior entry for a node.
    static func node(_ pointer: NodePointer, mapped: Int, isLeaf: Bool) -> Entry {
        Entry(
            address: pointer.address, generation: pointer.generation, checksum: pointer.checksum,
            descriptor: isLeaf ? .node(mapped: mapped) : .node(distance: pointer.distance))
    }

    /// Same introduction of the same block. Both halves matter: a block shared back by reflink has its old address
    /// under a new generation.
    func isSameBlock(as other: Entry) -> Bool { address == other.address && generation == other.generation }
}

/// 16 bits of what an entry is.
///
///     bits  leaf entry                            interior entry
///      0-2  kind                                  kind: hole or node
///      3-4  compression algorithm, 0              the child's mapped blocks, or its copy's distance
///      5-8  member of a compressed group, 0       …
///     9-12  blocks in the compressed group, 0     …
///
/// In an interior entry whose child is a volume's leaf, bits 3 to 15 count the child's mapped blocks, so that a discard
/// can account for a leaf it does not have to read. Other children have a second copy: there the bits are its distance
/// from the first in blocks, two's complement, 0 for none.
struct Descriptor: Equatable, Sendable {
    enum Kind: UInt16 { case hole = 0, data = 1, reservedZero = 2, compressed = 3, poisoned = 4, node = 5 }
    var raw: UInt16

    static let hole = Descriptor(raw: Kind.hole.rawValue)
    static let data = Descriptor(raw: Kind.data.rawValue)
    static func node(mapped: Int) -> Descriptor { Descriptor(raw: Kind.node.rawValue | UInt16(min(mapped, 8191)) << 3) }

    static func node(distance: Int) -> Descriptor {
        precondition(abs(distance) <= NodePointer.maximumDistance, "a copy's distance has 13 bits")
        return Descriptor(raw: Kind.node.rawValue | UInt16(truncatingIfNeeded: distance) << 3)
    }

    /// Nil for a number this format does not use.
    var kind: Kind? { Kind(rawValue: raw & 7) }
    var mapped: Int { Int(raw >> 3) }
    var distance: Int { Int(Int16(bitPattern: raw) >> 3) }
}
