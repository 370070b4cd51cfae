internal import BlockStorage

/// An object's properties on disk: a chain of nodes with their names and values behind one another, written whole.
///
///     size  field, for each property in the order of their names
///        2  length of the name
///        2  length of the value
///           name, value
struct PropertyChain: Sendable {
    /// Bytes that all of an object's properties may take, and one of its values.
    static let maximumSize = 65_536
    static func maximumValue(_ geometry: Geometry) -> Int { min(3072, geometry.blockSize - JournalFrame.headerSize - 420) }

    var version: UInt64
    var chunks: [[UInt8]]
    var places: [NodePointer] = []

    init(version: UInt64, properties: [String: [UInt8]], blockSize: Int) {
        self.version = version
        let bytes = Self.encode(properties), payload = blockSize - NodeLayout.headerSize
        chunks = stride(from: 0, to: bytes.count, by: payload).map { Array(bytes[$0..<min($0 + payload, bytes.count)]) }
    }

    static func encode(_ properties: [String: [UInt8]]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, value) in properties.sorted(by: { $0.key < $1.key }) {
            for count in [name.utf8.count, value.count] { bytes += [UInt8(count & 255), UInt8(count >> 8)] }
            bytes += Array(name.utf8) + value
        }
        return bytes
    }

    /// Nil if the bytes are not what `encode` makes.
    static func decode(_ bytes: [UInt8]) -> [String: [UInt8]]? {
        var properties: [String: [UInt8]] = [:]
        var rest = bytes[...]
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let head = Array(rest.prefix(4))
            let (name, value) = (Int(head[0]) | Int(head[1]) << 8, Int(head[2]) | Int(head[3]) << 8)
            rest = rest.dropFirst(4)
            guard rest.count >= name + value, let text = String(validating: rest.prefix(name), as: UTF8.self) else { return nil }
            properties[text] = Array(rest.dropFirst(name).prefix(value))
            rest = rest.dropFirst(name + value)
        }
        return properties
    }

    /// Blocks that properties of so many bytes take, each node twice.
    static func blocks(bytes: Int, geometry: Geometry) -> Int {
        let payload = geometry.blockSize - NodeLayout.headerSize
        return 2 * ((bytes + payload - 1) / payload)
    }

    /// Reads a chain. Throws `.corrupt` for one that is not whole.
    static func read(
        _ first: NodePointer, of version: UInt64, _ reader: NodeReader, geometry: Geometry
    ) throws(PoolError) -> (properties: [String: [UInt8]], nodes: [NodePointer]) {
        let buffer = AlignedBuffer(count: geometry.blockSize)
        var bytes: [UInt8] = [], nodes: [NodePointer] = []
        var next = first
        while !next.isNone {
            guard reader.map.isSound(next, isLeaf: false) else { throw .corrupt(.node, position: next.address.value, .mapping) }
            let found = try reader.read(next, into: buffer.bytes)
            let isSound = found.identity.tree == .properties && found.identity.writer == version
                && found.identity.first == UInt64(nodes.count) && found.identity.count <= geometry.blockSize - NodeLayout.headerSize
                && bytes.count + found.identity.count <= 2 * maximumSize && found.identity.count > 0
            guard isSound else { throw .corrupt(.node, position: found.position, .identity) }
            bytes += Array(UnsafeRawBufferPointer(buffer.bytes).part(NodeLayout.headerSize..<NodeLayout.headerSize + found.identity.count))
            nodes.append(next)
            next = found.identity.next
        }
        guard let properties = decode(bytes) else { throw .corrupt(.node, position: first.address.value, .mapping) }
        return (properties, nodes)
    }
}

extension PoolState {
    mutating func setProperty(_ version: Version, _ name: String, _ value: [UInt8]?, time: UInt64) {
        version.properties[name] = value
        version.noteChange(at: time)
        if name == Self.reservedProperty { takeReservedRanges(version) }
        touchProperties(version)
        markDirty(version)
    }

    /// The next checkpoint writes the version's properties anew.
    mutating func touchProperties(_ version: Version) {
        version.hasDirtyProperties = true
        dirtyBlocks += PropertyChain.blocks(bytes: PropertyChain.encode(version.properties).count, geometry: geometry)
    }

    /// Blocks that an object's properties take when they are written anew.
    func propertyBlocks(_ object: UInt64) -> Int {
        PropertyChain.blocks(bytes: PropertyChain.encode(objects[object]?.properties ?? [:]).count, geometry: geometry)
    }

    /// Blocks that those take which a snapshot or a clone of it inherits.
    func inheritedBlocks(_ object: UInt64) -> Int {
        let inherited = Self.inherited(objects[object]?.properties ?? [:])
        return PropertyChain.blocks(bytes: PropertyChain.encode(inherited).count, geometry: geometry)
    }

    private static func inherited(_ properties: [String: [UInt8]]) -> [String: [UInt8]] {
        properties.filter { $0.key.hasPrefix("user.") && !$0.key.hasPrefix("user.volfs.") }
    }

    /// What a version that begins as another has of its properties: what users set, and nothing that limits or labels it, as
    /// what a mount calls user.volfs does.
    mutating func inheritProperties(_ version: Version, from other: Version) {
        version.properties = Self.inherited(other.properties)
        if !version.properties.isEmpty { touchProperties(version) }
    }

    /// The version has none any more: it is being freed.
    mutating func dropProperties(_ version: Version) {
        for node in version.propertyNodes { releaseNode(node) }
        (version.propertyNodes, version.properties, version.hasDirtyProperties) = ([], [:], false)
        version.record.properties = .none
    }
}
