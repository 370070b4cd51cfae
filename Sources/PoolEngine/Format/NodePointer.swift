internal import BlockStorage

/// What a parent, a version record or the superblock knows of a node on disk. 16 bytes: the address in 40 bits, the
/// distance of the copy in 24, generation, checksum.
///
/// Interior nodes and the catalog's have two copies, byte for byte the same: what one of them loses would be a large part
/// of a volume, or of the pool.
struct NodePointer: Hashable, Sendable {
    var address: BlockAddress
    var generation: UInt32
    var checksum: UInt32
    /// Blocks from the node to its copy; 0 if there is none.
    var distance: Int

    static let size = 16
    static let maximumDistance = 4095
    static let none = NodePointer(address: .none, generation: 0, checksum: 0)
    var isNone: Bool { address == .none }
    /// Where the copy is, or `.none`.
    var copy: BlockAddress {
        distance == 0 ? .none : BlockAddress(UInt64(bitPattern: Int64(bitPattern: address.value) &+ Int64(distance)))
    }

    /// Blocks from a node to its copy; nil if that is more than a pointer can say.
    static func distance(from node: BlockAddress, to copy: BlockAddress) -> Int? {
        let distance = Int(copy.value) - Int(node.value)
        return abs(distance) <= maximumDistance ? distance : nil
    }

    /// How many blocks a node of `level` takes.
    static func copies(level: Int) -> Int { level > 0 ? 2 : 1 }

    init(address: BlockAddress, generation: UInt32, checksum: UInt32, distance: Int = 0) {
        self.address = address
        self.generation = generation
        self.checksum = checksum
        self.distance = distance
    }

    init(decoding bytes: UnsafeRawBufferPointer, at offset: Int) {
        let word: UInt64 = bytes.integer(at: offset)
        address = BlockAddress(word & (1 << UInt64(BlockAddress.bits) - 1))
        distance = Int(Int64(bitPattern: word) >> Int64(BlockAddress.bits))
        generation = bytes.integer(at: offset + 8)
        checksum = bytes.integer(at: offset + 12)
    }

    func encode(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
        bytes.store(address.value | UInt64(bitPattern: Int64(distance)) << UInt64(BlockAddress.bits), at: offset)
        bytes.store(generation, at: offset + 8)
        bytes.store(checksum, at: offset + 12)
    }
}
