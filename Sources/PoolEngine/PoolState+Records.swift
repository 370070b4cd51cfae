internal import BlockStorage

/// Taking over what the disk says of versions. Nothing of it is believed that another record contradicts.
extension PoolState {
    /// Fills the tables from the catalog's records. Throws `.corrupt` for one that cannot be right. Only a repair can do
    /// with snapshots of a volume that is not there.
    mutating func takeOver(_ records: [VersionRecord], isRepair: Bool = false) throws(PoolError) {
        var byID: [UInt64: VersionRecord] = [:]
        for record in records { byID[record.id] = record }
        for record in records {
            guard isSound(record, parent: byID[record.parent]) else { throw .corrupt(.version, position: record.id, .mapping) }
            let version = Version(record: record, parentGeneration: byID[record.parent]?.generation ?? 0)
            // Where a write noted the time of the bytes only, that of the change is not to fall behind it. One that is set aside keeps
            // the time when that was done.
            if record.state == .volume, record.modified <= superblock.written, !ObjectName.isAside(record.name) {
                version.record.changed = max(record.changed, record.modified)
            }
            insert(version)
        }
        for version in versions.values { versions[version.record.parent]?.children.insert(version.id) }
        let walked = records.filter { $0.reapCursor > 0 }
        // Each name and each generation once, snapshots only of volumes that are there, one walk of the reaper at most.
        let isConsistent = objects.count + hidden.count == versions.count && volumeNames.count + snapshotCount == objects.count
            && Set(records.map(\.generation)).count == records.count && (isRepair || snapshotNames.keys.allSatisfy { objects[$0] != nil })
            && walked.count <= 1
        guard isConsistent else { throw .corrupt(.version, position: 0, .mapping) }
        dirtyVersions = []
        dirtyBlocks = 0
        victim = walked.first.flatMap { versions[$0.id] }
    }

    private var snapshotCount: Int { snapshotNames.values.reduce(0) { $0 + $1.count } }

    private func isSound(_ record: VersionRecord, parent: VersionRecord?) -> Bool {
        guard record.parent == 0 || parent != nil, record.id < nextID, record.generation < nextGeneration,
            record.volume > 0, record.volume < nextID, record.reapCursor == 0 || record.state == .hidden,
            isSound(size: record.size, level: record.level), record.referenced <= span(record.level),
            record.rootMapped <= geometry.fanout, isSound(record.name, record.state),
            record.root.isNone || space.map.isSound(record.root, isLeaf: record.level == 0),
            record.properties.isNone || record.state != .hidden
        else { return false }
        guard let parent else { return true }
        return parent.generation < record.generation && parent.level <= record.level && parent.state != .volume
    }

    private func isSound(size: UInt64, level: Int) -> Bool {
        size <= geometry.maximumVolumeSize && geometry.blocks(covering: size) <= span(level)
    }

    private func isSound(_ name: String, _ state: VersionRecord.State) -> Bool {
        switch state {
        case .volume: (try? ObjectName.checkStored(name)) != nil
        case .snapshot: (try? ObjectName.checkSnapshot(name)) != nil
        case .hidden: true
        }
    }

    // MARK: The journal's records

    static let maximumID: UInt64 = 1 << 48
    static let maximumGeneration = UInt32.max - 8

    /// Throws `.corrupt(.journal)` if an administrative record cannot have been made in this state.
    func validate(_ record: JournalRecord) throws(PoolError) {
        let isPossible: Bool =
            switch record {
            case .create(let creation, let size): isNew(creation, .volume) && size <= geometry.maximumVolumeSize
            case .snapshot(let source, let creation):
                versions[source]?.record.state == .volume && isNew(creation, .snapshot, of: versions[source])
            case .clone(let source, let hidden, let generation, let creation):
                isCloneSound(versions[source], hidden, generation, creation)
            case .delete(let version, _): versions[version].map { !$0.isHidden } ?? false
            case .rollback(let head, let snapshot, let creation): isRollbackSound(versions[head], versions[snapshot], creation)
            case .resize(let version, let size, _):
                versions[version]?.record.state == .volume && size <= geometry.maximumVolumeSize
            case .rename(let version, let name, _):
                versions[version].map { !$0.isHidden && isSound(name, $0.record.state) && isFree(name, like: $0) } ?? false
            case .attributes(let version, _, _, _), .forgetOrigin(let version, _): versions[version]?.record.state == .volume
            case .swap(let first, let second, _):
                first != second && [first, second].allSatisfy { versions[$0]?.record.state == .volume }
            case .property(let version, let name, let value, _):
                versions[version].map { !$0.isHidden } ?? false && name.utf8.count <= 255 && value?.count ?? 0 <= PropertyChain.maximumSize / 8
            case .write, .share, .hole: true
            }
        if !isPossible { throw .corrupt(.journal, position: nextID, .mapping) }
    }

    private func isNew(_ creation: JournalRecord.Creation, _ state: VersionRecord.State, of source: Version? = nil) -> Bool {
        let isFree = source.map { snapshotNames[$0.record.volume]?[creation.name] == nil } ?? (volumeNames[creation.name] == nil)
        return isNew(creation.id, creation.generation) && isSound(creation.name, state) && isFree
    }

    private func isNew(_ id: UInt64, _ generation: UInt32) -> Bool {
        id >= nextID && id < Self.maximumID && generation >= nextGeneration && generation < Self.maximumGeneration
    }

    private func isFree(_ name: String, like version: Version) -> Bool {
        version.record.state == .volume
            ? volumeNames[name] == nil : snapshotNames[version.record.volume]?[name] == nil
    }

    private func isCloneSound(
        _ source: Version?, _ hidden: UInt64, _ generation: UInt32, _ creation: JournalRecord.Creation
    ) -> Bool {
        guard let source, !source.isHidden, isNew(creation, .volume) else { return false }
        guard source.record.state == .volume else { return hidden == 0 }
        return isNew(hidden, generation) && hidden != creation.id && generation != creation.generation
    }

    private func isRollbackSound(_ head: Version?, _ snapshot: Version?, _ creation: JournalRecord.Creation) -> Bool {
        guard let head, let snapshot else { return false }
        return head.record.state == .volume && snapshot.record.state == .snapshot
            && snapshot.record.volume == head.record.volume && isNew(creation.id, creation.generation)
            && creation.name == head.record.name
    }
}
