internal import BlockStorage

extension OpenedPool {
    /// The state of the checkpoint as far as it can be read, with nothing counted as in use yet: for repair.
    func salvage(_ report: inout RepairReport, _ environment: Pool.Environment) throws(PoolError) -> PoolState {
        let journal = Journal(
            geometry: superblock.geometry, pool: superblock.uuid.low, incarnation: superblock.incarnation,
            tail: superblock.journalTail, nextLSN: superblock.journalLSN, durableEpoch: superblock.epoch)
        var state = PoolState(
            superblock: superblock, space: Allocator(map: map), journal: journal,
            cacheNodes: max(64, configuration.cacheSize / superblock.geometry.blockSize), isReadOnly: isReadOnly)
        do throws(PoolError) {
            state.storedWords = isTold ? nil : try storedWords()
        } catch {
            report.findings.append(.space(error, leaked: 0, missing: 0))
        }
        let (records, hasDamage) = try readableRecords(&state, &report)
        try state.takeOver(Self.consistent(records, superblock, &report), isRepair: true)
        do throws(PoolError) {
            try loadShares(&state)
        } catch {
            guard case .corrupt = error else { throw error }
            state.shares = ShareTable(geometry: superblock.geometry)
            state.shares.isDamaged = true
        }
        let reader = NodeReader(device: device, map: map, pool: superblock.uuid.low)
        for version in state.versions.values where !version.record.properties.isNone {
            do throws(PoolError) {
                (version.properties, version.propertyNodes) = try PropertyChain.read(
                    version.record.properties, of: version.id, reader, geometry: superblock.geometry)
            } catch {
                guard case .corrupt = error else { throw error }
                report.findings.append(.lostProperties(version: version.id))
                version.record.properties = .none
                state.markDirty(version)
            }
        }
        state.giveVolumesToSnapshots(&report, environment)
        state.openPromises(isCountedAnew: true)
        if hasDamage { for version in state.versions.values { state.markDirty(version) } }
        return state
    }

    private func storedWords() throws(PoolError) -> [UInt64] {
        var space = Allocator(map: map)
        try loadBitmap(&space)
        try replaySpaceLog(&space)
        return space.liveWords()
    }

    /// The records of every catalog node that can be read, and whether the whole catalog has to be written anew.
    private func readableRecords(
        _ state: inout PoolState, _ report: inout RepairReport
    ) throws(PoolError) -> (records: [VersionRecord], hasDamage: Bool) {
        let buffer = AlignedBuffer(count: superblock.geometry.blockSize)
        let bytes = buffer.bytes
        let reader = NodeReader(device: device, map: map, pool: superblock.uuid.low)
        var findings: [RepairReport.Finding] = []
        var isWhole = true, hasDamage = false
        var catalog = Catalog(geometry: superblock.geometry)
        let records = try catalog.load(root: superblock.catalogRoot, depth: superblock.catalogDepth, map: map) { pointer, use throws(PoolError) in
            do throws(PoolError) {
                let found = try reader.read(pointer, into: bytes)
                try use(UnsafeRawBufferPointer(bytes), found)
                let again = AlignedBuffer(count: superblock.geometry.blockSize)
                if let position = reader.damagedCopy(pointer, buffer: again.bytes) {
                    findings.append(.nodeCopy(position: position))
                    hasDamage = true
                }
            } catch {
                guard case .corrupt = error else { throw error }
                findings.append(.lostCatalogNode(error))
                (isWhole, hasDamage) = (false, true)
            }
        }
        report.findings += findings
        if isWhole { state.catalog = catalog }
        return (records, hasDamage)
    }

    /// The records without those that contradict others. One whose parent is lost is given the next older version of its
    /// family for a parent: it then owns too little rather than too much, and never frees what another version needs.
    private static func consistent(
        _ records: [VersionRecord], _ superblock: Superblock, _ report: inout RepairReport
    ) -> [VersionRecord] {
        var names: Set<String> = [], ids: Set<UInt64> = []
        var result: [VersionRecord] = []
        for record in records.sorted(by: { $0.generation < $1.generation }) {
            let owner = record.state == .volume ? "" : "\(record.volume)"
            let isSound = record.id < superblock.nextID && record.generation < superblock.nextGeneration
                && ids.insert(record.id).inserted && (record.state == .hidden || names.insert("\(owner)@\(record.name)").inserted)
            if isSound { result.append(record) } else { report.findings.append(.badRecord(version: record.id)) }
        }
        for index in result.indices {
            let record = result[index]
            if record.parent == 0 || result[..<index].contains(where: { $0.id == record.parent }) { continue }
            result[index].parent = result[..<index].last { $0.family == record.family && $0.generation < record.generation }?.id ?? 0
        }
        return result
    }
}

extension PoolState {
    /// A volume whose record is lost, but not its snapshots, becomes what the youngest of them is.
    mutating func giveVolumesToSnapshots(_ report: inout RepairReport, _ environment: Pool.Environment) {
        for (volume, names) in snapshotNames.sorted(by: { $0.key < $1.key }) where objects[volume] == nil {
            guard let youngest = names.values.compactMap({ versions[$0] }).max(by: { $0.generation < $1.generation }) else { continue }
            let name = "recovered-\(volume)"
            branch(from: youngest, creation(name, youngest.record.attributes, environment), volume: volume)
            report.findings.append(.lostVolume(name))
        }
    }
}
