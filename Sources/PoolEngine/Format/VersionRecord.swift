internal import BlockStorage

/// One version of a volume's contents as the catalog stores it: a live volume, a snapshot, or a deleted one whose blocks
/// are not all free yet.
///
///     offset  size  field
///          0     8  id              never reused
///          8     8  volume          the volume it belongs to: the id of that volume's first version
///         16     8  parent          the version whose blocks it shares, or 0
///         24     8  family          the first version of the lineage
///         32     8  state           a codeword, see `State`
///         40     4  generation      never reused; parent's < child's
///         44     1  level           of the root node
///         45     1  layout          1
///         46     1  name length
///         47     1  flags           reserved
///         48    16  root            address 8, generation 4, checksum 4; address 0: all holes of that generation
///         64     4  root mapped     mapped blocks if the root is a leaf
///         68     4  reserved
///         72     8  size            bytes
///         80     8  referenced      mapped blocks
///         88     8  written         blocks mapped since the parent
///         96     8  reap cursor     logical blocks below it are already freed
///        104    24  created, modified, changed: nanoseconds since 1970
///        128    12  mode, uid, gid
///        140     4  reserved
///        144    16  origin version, origin volume: what a clone was made from, or 0
///        160    16  uuid
///        176    16  promised         blocks that are kept free for its reserved ranges: data, nodes
///        192    16  properties      the first node of their chain, or none
///        208    48  reserved
///        256   255  name, UTF-8
struct VersionRecord: Equatable, Sendable {
    static let size = 512
    static let layout: UInt8 = 1

    /// What may be done with a version. Numbers far apart in every bit pattern: a damaged byte cannot turn a snapshot
    /// into something whose blocks may be freed.
    enum State: UInt64 {
        case volume = 0x5d3a_91c6_e274_0b8f
        case snapshot = 0xa86f_2e15_4b9d_c370
        case hidden = 0x3794_d85b_1ce6_a2e9
    }

    var id: UInt64
    var volume: UInt64
    var parent: UInt64
    var family: UInt64
    var state: State
    var generation: UInt32
    var level: Int
    var root: NodePointer
    var rootMapped: Int
    var properties = NodePointer.none
    var size: UInt64
    var referenced: UInt64
    var written: UInt64
    var reapCursor: UInt64
    var created: UInt64
    var modified: UInt64
    var changed: UInt64
    var attributes: Attributes
    var originVersion: UInt64
    var originVolume: UInt64
    var uuid: UUIDBytes
    var promisedData: UInt64 = 0
    var promisedNodes: UInt64 = 0
    var name: String

    private enum Offset {
        static let id = 0, volume = 8, parent = 16, family = 24, state = 32, generation = 40, level = 44, layout = 45
        static let nameLength = 46, root = 48, rootMapped = 64, size = 72, referenced = 80, written = 88, cursor = 96
        static let created = 104, modified = 112, changed = 120, mode = 128, uid = 132, gid = 136
        static let originVersion = 144, originVolume = 152, uuid = 160, promisedData = 176, promisedNodes = 184, properties = 192, name = 256
    }

    func encode(into bytes: UnsafeMutableRawBufferPointer) {
        bytes.clear()
        bytes.store(id, at: Offset.id)
        bytes.store(volume, at: Offset.volume)
        bytes.store(parent, at: Offset.parent)
        bytes.store(family, at: Offset.family)
        bytes.store(state.rawValue, at: Offset.state)
        bytes.store(generation, at: Offset.generation)
        bytes.store(UInt8(level), at: Offset.level)
        bytes.store(Self.layout, at: Offset.layout)
        bytes.store(UInt8(name.utf8.count), at: Offset.nameLength)
        root.encode(into: bytes, at: Offset.root)
        properties.encode(into: bytes, at: Offset.properties)
        bytes.store(UInt32(rootMapped), at: Offset.rootMapped)
        bytes.store(size, at: Offset.size)
        bytes.store(referenced, at: Offset.referenced)
        bytes.store(written, at: Offset.written)
        bytes.store(reapCursor, at: Offset.cursor)
        bytes.store(created, at: Offset.created)
        bytes.store(modified, at: Offset.modified)
        bytes.store(changed, at: Offset.changed)
        bytes.store(attributes.mode, at: Offset.mode)
        bytes.store(attributes.uid, at: Offset.uid)
        bytes.store(attributes.gid, at: Offset.gid)
        bytes.store(originVersion, at: Offset.originVersion)
        bytes.store(originVolume, at: Offset.originVolume)
        uuid.encode(into: bytes, at: Offset.uuid)
        bytes.store(promisedData, at: Offset.promisedData)
        bytes.store(promisedNodes, at: Offset.promisedNodes)
        for (index, byte) in name.utf8.enumerated() { bytes.store(byte, at: Offset.name + index) }
    }

    init(decoding bytes: UnsafeRawBufferPointer, position: UInt64) throws(PoolError) {
        guard bytes.integer(at: Offset.layout) == Self.layout,
            let state = State(rawValue: bytes.integer(at: Offset.state))
        else { throw .corrupt(.version, position: position, .identity) }
        id = bytes.integer(at: Offset.id)
        volume = bytes.integer(at: Offset.volume)
        parent = bytes.integer(at: Offset.parent)
        family = bytes.integer(at: Offset.family)
        self.state = state
        generation = bytes.integer(at: Offset.generation)
        level = Int(bytes.integer(at: Offset.level, as: UInt8.self))
        root = NodePointer(decoding: bytes, at: Offset.root)
        properties = NodePointer(decoding: bytes, at: Offset.properties)
        rootMapped = Int(bytes.integer(at: Offset.rootMapped, as: UInt32.self))
        size = bytes.integer(at: Offset.size)
        referenced = bytes.integer(at: Offset.referenced)
        written = bytes.integer(at: Offset.written)
        reapCursor = bytes.integer(at: Offset.cursor)
        created = bytes.integer(at: Offset.created)
        modified = bytes.integer(at: Offset.modified)
        changed = bytes.integer(at: Offset.changed)
        attributes = Attributes(
            mode: bytes.integer(at: Offset.mode, as: UInt32.self) & 0o7777, uid: bytes.integer(at: Offset.uid), gid: bytes.integer(at: Offset.gid))
        originVersion = bytes.integer(at: Offset.originVersion)
        originVolume = bytes.integer(at: Offset.originVolume)
        uuid = UUIDBytes(decoding: bytes, at: Offset.uuid)
        promisedData = bytes.integer(at: Offset.promisedData)
        promisedNodes = bytes.integer(at: Offset.promisedNodes)
        let length = Int(bytes.integer(at: Offset.nameLength, as: UInt8.self))
        guard Offset.name + length <= bytes.count,
            let text = String(validating: bytes.part(Offset.name..<Offset.name + length), as: UTF8.self)
        else { throw .corrupt(.version, position: position, .identity) }
        name = text
        guard id != 0, id != parent, level <= Geometry.maximumLevel else {
            throw .corrupt(.version, position: position, .mapping)
        }
    }

    init(
        id: UInt64, volume: UInt64, parent: UInt64, family: UInt64, state: State, generation: UInt32, level: Int,
        size: UInt64, created: UInt64, attributes: Attributes, uuid: UUIDBytes, name: String
    ) {
        self.id = id
        self.volume = volume
        self.parent = parent
        self.family = family
        self.state = state
        self.generation = generation
        self.level = level
        root = NodePointer(address: .none, generation: generation, checksum: 0)
        rootMapped = 0
        self.size = size
        referenced = 0
        written = 0
        reapCursor = 0
        self.created = created
        modified = created
        changed = created
        self.attributes = attributes
        originVersion = 0
        originVolume = 0
        self.uuid = uuid
        self.name = name
    }
}

/// Who may do what with a volume's file, as chmod(1) and chown(1) set it. `mode` has permission bits only.
public struct Attributes: Equatable, Sendable {
    public var mode: UInt32
    public var uid: UInt32
    public var gid: UInt32

    public init(mode: UInt32, uid: UInt32, gid: UInt32) {
        self.mode = mode
        self.uid = uid
        self.gid = gid
    }
}

/// The sixteen bytes of a UUID, as two integers so that copying one is free.
public struct UUIDBytes: Equatable, Hashable, Sendable {
    public var high: UInt64
    public var low: UInt64

    /// A random one (RFC 9562, version 4) from 128 random bits.
    public init(randomHigh: UInt64, randomLow: UInt64) {
        high = randomHigh & ~0xf000 | 0x4000
        low = randomLow & ~(3 << 62) | 2 << 62
    }

    /// Nil if `text` is not one in the form that the property of that name has.
    init?(text: String) {
        let digits = text.filter { $0 != "-" }
        guard digits.count == 32, let high = UInt64(digits.prefix(16), radix: 16), let low = UInt64(digits.suffix(16), radix: 16) else {
            return nil
        }
        (self.high, self.low) = (high, low)
    }

    init(decoding bytes: UnsafeRawBufferPointer, at offset: Int) {
        high = UInt64(bigEndian: bytes.integer(at: offset))
        low = UInt64(bigEndian: bytes.integer(at: offset + 8))
    }

    func encode(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) {
        bytes.store(high.bigEndian, at: offset)
        bytes.store(low.bigEndian, at: offset + 8)
    }

    /// 8-4-4-4-12 hexadecimal digits.
    public var text: String {
        let digits = hexadecimal(high) + hexadecimal(low)
        var result = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { result.append("-") }
            result.append(digit)
        }
        return result
    }
}

private func hexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
