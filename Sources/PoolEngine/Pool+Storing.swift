internal import BlockStorage
internal import Synchronization

/// Writing what a frozen state consists of. Nothing of it is in use before the superblock that names it.
extension Pool {
    func writeNodes(_ frozen: Frozen, _ batch: UnsafeMutableRawBufferPointer) throws(PoolError) {
        let blockSize = geometry.blockSize
        var index = 0
        while index < frozen.nodes.count {
            var count = 1
            while index + count < frozen.nodes.count, count < CheckpointBuffers.batchBlocks,
                map.isContiguous(frozen.nodes[index + count - 1].address, frozen.nodes[index + count].address)
            { count += 1 }
            for offset in 0..<count {
                frozen.nodes[index + offset].writeImage(
                    to: batch.part(offset * blockSize..<(offset + 1) * blockSize), pool: poolID,
                    epoch: frozen.superblock.epoch, fanout: geometry.fanout)
            }
            try device.write(
                UnsafeRawBufferPointer(batch.part(0..<count * blockSize)), at: map.offset(of: frozen.nodes[index].address))
            for offset in 0..<count where frozen.nodes[index + offset].distance != 0 {
                let image = UnsafeRawBufferPointer(batch.part(offset * blockSize..<(offset + 1) * blockSize))
                try device.write(image, at: map.offset(of: frozen.nodes[index + offset].pointer.copy))
            }
            index += count
        }
    }

    /// Last node first: each knows the checksum of the one behind it. Their records learn the first one's.
    func writeProperties(_ frozen: inout Frozen, _ block: UnsafeMutableRawBufferPointer) throws(PoolError) {
        for var chain in frozen.chains.values {
            var next = NodePointer.none
            for index in chain.chunks.indices.reversed() {
                block.clear()
                block.part(NodeLayout.headerSize..<NodeLayout.headerSize + chain.chunks[index].count).copyBytes(from: chain.chunks[index])
                let place = chain.places[index]
                let checksum = NodeLayout.seal(
                    block,
                    as: NodeLayout.Identity(
                        address: place.address, pool: poolID, level: 0, tree: .properties, count: chain.chunks[index].count, family: 0,
                        writer: chain.version, generation: 0, epoch: frozen.superblock.epoch, first: UInt64(index), next: next))
                next = NodePointer(address: place.address, generation: 0, checksum: checksum, distance: place.distance)
                chain.places[index] = next
                for copy in [next.address, next.copy] where copy != .none {
                    try device.write(UnsafeRawBufferPointer(block), at: map.offset(of: copy))
                }
            }
            frozen.chains[chain.version] = chain
        }
    }

    /// The catalog in memory is only changed under the lock; the checksums come from here.
    func writeCatalog(_ frozen: inout Frozen, _ block: UnsafeMutableRawBufferPointer) throws(PoolError) {
        let epoch = frozen.superblock.epoch
        for node in frozen.catalog {
            if node.level == 0 {
                let records = (frozen.records[node.index] ?? []).map { captured in
                    var record = captured.record
                    switch captured.root {
                    case .hole(let generation):
                        record.root = NodePointer(address: .none, generation: generation, checksum: 0)
                    case .disk(let pointer, let mapped): (record.root, record.rootMapped) = (pointer, mapped)
                    case .memory(let node): (record.root, record.rootMapped) = (node.pointer, node.level == 0 ? node.count : 0)
                    }
                    if let chain = frozen.chains[record.id] { record.properties = chain.places.first ?? .none }
                    return record
                }
                state.withLock { state in
                    let checksum = state.catalog.composeLeaf(
                        node, records: records, into: block, pool: state.poolID, epoch: epoch)
                    state.catalog.tree.setChecksum(checksum, of: node)
                }
            } else {
                state.withLock { state in
                    let checksum = state.catalog.tree.composeInterior(node, into: block, pool: state.poolID, epoch: epoch)
                    state.catalog.tree.setChecksum(checksum, of: node)
                }
            }
            try write(block, at: node)
        }
        frozen.superblock.catalogRoot = state.withLock { $0.catalog.tree.root }
    }

    func writeShares(_ frozen: inout Frozen, _ block: UnsafeMutableRawBufferPointer) throws(PoolError) {
        let epoch = frozen.superblock.epoch
        for node in frozen.shares {
            let page = node.level == 0 ? frozen.sharePages[node.index] : nil
            state.withLock { state in
                let checksum: UInt32
                if let page {
                    checksum = ShareTable.compose(page, node, state.shares.tree, into: block, pool: state.poolID, epoch: epoch)
                } else {
                    checksum = state.shares.tree.composeInterior(node, into: block, pool: state.poolID, epoch: epoch)
                }
                state.shares.tree.setChecksum(checksum, of: node)
            }
            try write(block, at: node)
        }
        frozen.superblock.reflinkRoot = state.withLock { $0.shares.tree.root }
    }

    /// Writes a node and its copy.
    private func write(_ block: UnsafeMutableRawBufferPointer, at node: PageTree.Planned) throws(PoolError) {
        try device.write(UnsafeRawBufferPointer(block), at: map.offset(of: node.address))
        if node.distance != 0 { try device.write(UnsafeRawBufferPointer(block), at: map.offset(of: node.copy)) }
    }

    func writePages(
        _ words: [UInt64], _ superblock: Superblock, _ block: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        let perRegion = geometry.regionBlocks / 64
        for region in 0..<Int(superblock.bitmapRegions) {
            block.clear()
            var count = 0
            for index in 0..<perRegion {
                let word = words[region * perRegion + index]
                block.store(word, at: BitmapPage.headerSize + 8 * index)
                count += word.nonzeroBitCount
            }
            BitmapPage.seal(block, pool: poolID, region: UInt64(region), epoch: superblock.epoch, count: count)
            try device.write(
                UnsafeRawBufferPointer(block), at: map.pageOffset(region: region, slot: superblock.bitmapSlot))
        }
    }

    func writeSpaceLog(_ frozen: Frozen, _ block: UnsafeMutableRawBufferPointer) throws(PoolError) {
        let capacity = SpaceLogFrame.capacity(blockSize: geometry.blockSize)
        let frames = UInt64((frozen.delta.count + capacity - 1) / capacity)
        for frame in 0..<frames {
            let sequence = frozen.superblock.spaceHead - frames + frame
            let start = Int(frame) * capacity
            SpaceLogFrame.encode(
                frozen.delta[start..<min(start + capacity, frozen.delta.count)], into: block, pool: poolID,
                sequence: sequence, epoch: frozen.superblock.epoch)
            let slot = sequence % UInt64(geometry.spaceLogFrames)
            try device.write(UnsafeRawBufferPointer(block), at: geometry.spaceLogOffset + slot * UInt64(geometry.blockSize))
        }
    }
}
