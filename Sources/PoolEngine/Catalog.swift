internal import BlockStorage

/// The tree of version records on disk: which block holds which records. The records themselves are in memory, as
/// `Version`s, so a leaf is always written whole from there and never read again after opening.
///
/// Leaf n holds the records of ids n * recordsPerLeaf and up. A pool without versions has no catalog at all.
struct Catalog {
    let recordsPerLeaf: Int
    var tree: PageTree

    init(geometry g: Geometry) {
        recordsPerLeaf = (g.blockSize - NodeLayout.headerSize) / VersionRecord.size
        tree = PageTree(kind: .catalog, geometry: g, idsPerLeaf: UInt64(recordsPerLeaf))
    }

    func leafIndex(of id: UInt64) -> UInt64 { tree.leafIndex(of: id) }

    /// Blocks that writing one changed record takes, at the most, where ids up to `maximum` exist.
    func pathBlocks(upTo maximum: UInt64) -> Int { tree.pathBlocks(upTo: leafIndex(of: maximum)) }

    /// Fills in a planned leaf and seals it.
    func composeLeaf(
        _ node: PageTree.Planned, records: [VersionRecord], into block: UnsafeMutableRawBufferPointer, pool: UInt64, epoch: UInt64
    ) -> UInt32 {
        block.clear()
        for record in records {
            let slot = Int(record.id % UInt64(recordsPerLeaf))
            let start = NodeLayout.headerSize + slot * VersionRecord.size
            record.encode(into: block.part(start..<start + VersionRecord.size))
        }
        return tree.seal(node, block, count: records.count, pool: pool, epoch: epoch)
    }

    /// Reads the whole catalog. `read` returns the verified block that a pointer names.
    mutating func load(root: NodePointer, depth: Int, map: ZoneMap, read: PageTree.Read) throws(PoolError) -> [VersionRecord] {
        var records: [VersionRecord] = []
        let perLeaf = recordsPerLeaf
        try tree.load(root: root, depth: depth, map: map, read: read) { block, index, count, position throws(PoolError) in
            records += try Self.decodeLeaf(block, index: index, perLeaf: perLeaf, count: count, position: position)
        }
        return records
    }

    private static func decodeLeaf(
        _ block: UnsafeRawBufferPointer, index: UInt64, perLeaf: Int, count: Int, position: UInt64
    ) throws(PoolError) -> [VersionRecord] {
        var records: [VersionRecord] = []
        for slot in 0..<perLeaf {
            let start = NodeLayout.headerSize + slot * VersionRecord.size
            let bytes = block.part(start..<start + VersionRecord.size)
            if isZero(bytes) { continue }
            let record = try VersionRecord(decoding: bytes, position: position + UInt64(start))
            guard record.id == index * UInt64(perLeaf) + UInt64(slot) else {
                throw .corrupt(.version, position: position + UInt64(start), .identity)
            }
            records.append(record)
        }
        guard records.count == count else { throw .corrupt(.node, position: position, .mapping) }
        return records
    }
}
