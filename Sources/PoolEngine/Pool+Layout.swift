package import BlockStorage

extension Pool {
    /// Where everything of the last checkpoint is on the device, in bytes. For tests, which damage it.
    package struct Layout: Sendable {
        package var blockSize = 0
        /// Both copies of the newest superblock.
        package var superblocks: [UInt64] = []
        package var zoneHeaders: [UInt64] = []
        /// Of the slot that counts.
        package var bitmapPages: [UInt64] = []
        package var spaceLogFrames: [UInt64] = []
        /// From the tail on, a whole ring.
        package var journalFrames: [UInt64] = []
        package var catalogLeaves: [Pair] = []
        package var catalogNodes: [Pair] = []
        package var shareNodes: [Pair] = []
        package var propertyNodes: [Pair] = []
        package var interiorNodes: [Pair] = []
        package var leaves: [UInt64] = []
        package var dataBlocks: [UInt64] = []
        /// Segments that a look for what is to be given back to the host goes over.
        package var segmentsToLookAt = 0

        package struct Pair: Sendable {
            package var node: UInt64
            package var copy: UInt64
        }
    }

    /// Valid for a pool that nobody uses meanwhile, and that has just been opened or closed.
    package func layout() throws(PoolError) -> Layout {
        let g = geometry
        let superblock = state.withLock { $0.superblock }
        var layout = Layout()
        layout.blockSize = g.blockSize
        let slot = superblock.epoch % UInt64(g.ringSlots) * UInt64(g.ringStride)
        layout.superblocks = g.ringOffsets.map { $0 + slot }
        layout.zoneHeaders = map.zones.map(\.header.offset)
        layout.bitmapPages = (0..<Int(superblock.bitmapRegions)).map { map.pageOffset(region: $0, slot: superblock.bitmapSlot) }
        layout.spaceLogFrames = (superblock.spaceTail..<superblock.spaceHead).map {
            g.spaceLogOffset + $0 % UInt64(g.spaceLogFrames) * UInt64(g.blockSize)
        }
        layout.journalFrames = (0..<UInt64(g.journalFrames)).map {
            g.journalOffset + (superblock.journalTail + $0) % UInt64(g.journalFrames) * UInt64(g.blockSize)
        }
        let survey = Survey(reader: NodeReader(device: device, map: map, pool: poolID), geometry: g)
        let (roots, levels) = state.withLock { state in
            let roots = state.versions.values.sorted { $0.id < $1.id }.map { ($0.record.root, $0.level, $0.record.family) }
            return (roots, state.catalog.tree.levels.map { $0.sorted { $0.key < $1.key }.map(\.value) })
        }
        for (root, level, family) in roots { try survey.walk(root, level: level, first: 0, family: family) }
        func pair(_ node: NodePointer) -> Layout.Pair { Layout.Pair(node: map.offset(of: node.address), copy: map.offset(of: node.copy)) }
        layout.catalogLeaves = (levels.first ?? []).map(pair)
        layout.catalogNodes = levels.dropFirst().flatMap { $0 }.map(pair)
        layout.shareNodes = state.withLock { $0.shares.tree.levels }.flatMap { $0.sorted { $0.key < $1.key }.map(\.value) }.map(pair)
        layout.propertyNodes = state.withLock { $0.versions.values.flatMap(\.propertyNodes) }.map(pair)
        layout.interiorNodes = survey.nodes.filter { $0.level > 0 }.map { pair($0.pointer) }
        layout.leaves = survey.nodes.filter { $0.level == 0 }.map { map.offset(of: $0.pointer.address) }
        let nodes = Set(survey.nodes.flatMap { [$0.pointer.address, $0.pointer.copy] })
        layout.dataBlocks = survey.reached.subtracting(nodes).sorted().map { map.offset(of: $0) }
        layout.segmentsToLookAt = state.withLock { $0.space.punchEnd }
        return layout
    }
}
