public import BlockStorage
internal import Synchronization

extension Pool {
    /// Tells all metadata as lines of text, from which `restore` can make it again: the pool, its zones, every version, and
    /// every node once, with what each of its entries maps. For a pool that nobody uses meanwhile. Makes a checkpoint if
    /// anything has changed since the last, so a pool opened for reading must have been closed: else `.readOnly`. Throws for
    /// a node that cannot be read.
    public func dump(_ line: (String) -> Void) throws(PoolError) {
        // Nodes that are only in memory have no address to be told by.
        if state.withLock({ $0.hasChanges }) { try checkpoint() }
        let (superblock, versions) = state.withLock { ($0.superblock, $0.versions.values.sorted { $0.id < $1.id }) }
        let g = geometry
        line("volfs-dump 1")
        line(
            "pool uuid=\(superblock.uuid.text) epoch=\(superblock.epoch) size=\(superblock.size) created=\(superblock.created) "
                + "autogrow=\(superblock.autogrow) next_id=\(state.withLock { $0.nextID }) next_generation=\(state.withLock { $0.nextGeneration })")
        line(
            "geometry block=\(g.blockSize) fanout=\(g.fanout) segment=\(g.segmentBlocks) slots=\(g.ringSlots) stride=\(g.ringStride) "
                + "journal=\(g.journalFrames) space_log=\(g.spaceLogFrames)")
        for zone in map.zones { line("zone offset=\(zone.header.offset) segments=\(zone.header.segments)") }
        var told: Set<BlockAddress> = []
        for version in versions {
            try dump(version.root, level: version.level, first: 0, above: version.isHidden ? version.record.reapCursor : 0, &told, line)
            line(Self.line(of: version))
            for (name, value) in version.properties.sorted(by: { $0.key < $1.key }) {
                line("property \(version.id) \(Self.digits(Array(name.utf8))) \(Self.digits(value))")
            }
        }
        line("end")
    }

    private static func line(of version: Version) -> String {
        let r = version.record, a = r.attributes
        let root = version.root.isHole ? "hole:\(version.root.generation)" : "\(version.root.address.value)"
        return "version id=\(r.id) volume=\(r.volume) parent=\(r.parent) family=\(r.family) state=\(r.state) generation=\(r.generation) "
            + "level=\(r.level) size=\(r.size) referenced=\(r.referenced) cursor=\(r.reapCursor) created=\(r.created) "
            + "modified=\(r.modified) changed=\(r.changed) mode=\(a.mode) uid=\(a.uid) gid=\(a.gid) "
            + "origin_version=\(r.originVersion) origin_volume=\(r.originVolume) uuid=\(r.uuid.text) root=\(root) name=\(r.name)"
    }

    private static func digits(_ bytes: [UInt8]) -> String {
        "x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Children before parents.
    private func dump(
        _ reference: NodeReference, level: Int, first: UInt64, above cursor: UInt64, _ told: inout Set<BlockAddress>,
        _ line: (String) -> Void
    ) throws(PoolError) {
        if reference.isHole || first + geometry.span(level: level) <= cursor || told.contains(reference.address) { return }
        let node = try withNodes { state, missing throws(PoolError) -> Node? in
            state.resolve(reference, level: level, block: first, missing: &missing)
        }
        told.insert(reference.address)
        if level > 0 {
            for slot in 0..<geometry.fanout {
                let child = state.withLock { $0.child(of: node, slot) }
                try dump(child, level: level - 1, first: first + UInt64(slot) * geometry.span(level: level - 1), above: cursor, &told, line)
            }
        }
        line("node \(reference.address.value) level=\(level) first=\(first) family=\(node.family) writer=\(node.writer) generation=\(node.generation)")
        var slot = 0
        while slot < geometry.fanout {
            var entry = node.entry(slot, geometry.fanout)
            // Below the cursor of a version being freed there is nothing any more. No other version has such a node.
            if level > 0, first + UInt64(slot + 1) * geometry.span(level: level - 1) <= cursor { entry = .hole(entry.generation) }
            var end = slot + 1
            if entry.address == .none {
                while end < geometry.fanout, node.entry(end, geometry.fanout) == entry { end += 1 }
                line("\(slot)-\(end - 1) \(entry.isPoisoned ? "lost" : "hole") \(entry.generation)")
            } else if level > 0 {
                line("\(slot) node \(entry.address.value)")
            } else {
                line("\(slot) data \(entry.address.value) \(entry.generation) \(String(entry.checksum, radix: 16))")
            }
            slot = end
        }
    }

    /// Lays a pool out again over `device` with the metadata that a dump tells: for one whose own metadata is lost. The data
    /// must be where it was. What the device has of a pool is overwritten except its data blocks, once the whole dump was
    /// found sound; with `isDryRun` not even then. Durable on return. Throws `.malformed` with the line that is wrong,
    /// `.truncated` if the device is smaller than the pool was, and with `needsData` `.dataIsElsewhere` if none of some blocks that the
    /// dump names is there, having written nothing.
    public static func restore(
        _ device: any BlockDevice, from lines: some Sequence<Substring>, configuration: Configuration = Configuration(),
        environment: Environment, needsData: Bool = false, isDryRun: Bool = false
    ) throws(PoolError) {
        var reader = DumpReader(device: device)
        for line in lines { try reader.take(line) }
        let restored = try reader.finish(environment)
        if needsData, try !reader.findsData() { throw .refused(.dataIsElsewhere) }
        if isDryRun { return }
        try format(device, restored.superblock, restored.headers)
        let opened = try OpenedPool(device: device, configuration: configuration, isReadOnly: false)
        let pool = Pool(
            opened, device: device, configuration: configuration, environment: environment, state: try opened.makeState())
        try pool.state.withLock { state throws(PoolError) in try restored.fill(&state) }
        try pool.checkpoint(.recovery)
        try pool.close()
    }
}
