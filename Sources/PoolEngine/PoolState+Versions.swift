internal import BlockStorage


/// Applying the records that make, name and end versions. Runtime and replay share these: what was decided is in the
/// record, and nothing here can fail for lack of space.
extension PoolState {
    /// Throws `.corrupt` if a replayed record names a version that is not there.
    mutating func applyAdministrative(_ record: JournalRecord) throws(PoolError) {
        switch record {
        case .create(let creation, let size): create(creation, size: size)
        case .snapshot(let source, let creation):
            snapshot(try known(source), creation, state: .snapshot, nextGeneration: creation.generation)
        case .clone(let source, let hidden, let generation, let creation):
            clone(try known(source), hidden: hidden, sourceGeneration: generation, creation)
        case .delete(let version, let time):
            let version = try known(version)
            version.noteChange(at: time)
            hide(version)
        case .rollback(let head, let snapshot, let creation):
            rollback(try known(head), to: try known(snapshot), creation)
        case .resize(let version, let size, let time):
            let version = try known(version)
            raiseLevel(version, toCover: geometry.blocks(covering: size))
            version.record.size = size
            version.noteData(at: time)
            markDirty(version)
        case .rename(let version, let name, let time): rename(try known(version), to: name, time: time)
        case .swap(let first, let second, let time): swap(try known(first), try known(second), time: time)
        case .attributes(let version, let attributes, let modified, let changed):
            let version = try known(version)
            version.record.attributes = attributes
            version.record.modified = modified
            version.noteChange(at: changed)
            markDirty(version)
        case .property(let version, let name, let value, let time): setProperty(try known(version), name, value, time: time)
        case .forgetOrigin(let version, let time):
            let version = try known(version)
            (version.record.originVolume, version.record.originVersion) = (0, 0)
            version.noteChange(at: time)
            markDirty(version)
        case .write, .share, .hole: preconditionFailure("a record of data")
        }
    }

    private func known(_ id: UInt64) throws(PoolError) -> Version {
        guard let version = versions[id] else { throw .corrupt(.journal, position: id, .mapping) }
        return version
    }

    private mutating func use(_ creation: JournalRecord.Creation) {
        nextID = max(nextID, creation.id + 1)
        nextGeneration = max(nextGeneration, creation.generation + 1)
    }

    private mutating func create(_ creation: JournalRecord.Creation, size: UInt64) {
        use(creation)
        let record = VersionRecord(
            id: creation.id, volume: creation.id, parent: 0, family: creation.id, state: .volume,
            generation: creation.generation, level: geometry.level(covering: geometry.blocks(covering: size)), size: size,
            created: creation.time, attributes: creation.attributes, uuid: creation.uuid, name: creation.name)
        insert(Version(record: record, parentGeneration: 0))
    }

    /// The snapshot takes over the source's generation and place in the version tree; the source becomes its child.
    private mutating func snapshot(
        _ source: Version, _ creation: JournalRecord.Creation, state: VersionRecord.State, nextGeneration: UInt32
    ) {
        use(creation)
        self.nextGeneration = max(self.nextGeneration, nextGeneration + 1)
        let record = derived(from: source.record, creation, state: state)
        let snapshot = Version(record: record, parentGeneration: source.parentGeneration)
        snapshot.root = source.root
        insert(snapshot)
        if state == .snapshot { inheritProperties(snapshot, from: source) }
        source.record.generation = nextGeneration
        source.record.written = 0
        setParent(of: source, to: snapshot.id)
        promiseAll(source)
        markDirty(source)
    }

    private mutating func clone(
        _ source: Version, hidden: UInt64, sourceGeneration: UInt32, _ creation: JournalRecord.Creation
    ) {
        var parent = source
        if hidden != 0 {
            let intermediate = JournalRecord.Creation(
                id: hidden, generation: sourceGeneration, time: creation.time, uuid: creation.uuid,
                attributes: source.record.attributes, name: "")
            snapshot(source, intermediate, state: .hidden, nextGeneration: sourceGeneration)
            parent = versions[hidden]!  // inserted in the line above
        }
        branch(from: parent, creation, volume: creation.id)
        guard let clone = versions[creation.id] else { return }
        inheritProperties(clone, from: source)
        clone.record.originVolume = source.record.volume
        clone.record.originVersion = hidden == 0 ? source.id : 0
    }

    /// What a version that begins as another has of its own.
    private func derived(
        from other: VersionRecord, _ creation: JournalRecord.Creation, state: VersionRecord.State
    ) -> VersionRecord {
        var record = other
        record.id = creation.id
        record.state = state
        record.name = creation.name
        record.uuid = creation.uuid
        record.created = creation.time
        record.modified = creation.time
        record.changed = creation.time
        record.attributes = creation.attributes
        record.properties = .none
        record.reapCursor = 0
        (record.promisedData, record.promisedNodes) = (0, 0)
        return record
    }

    /// A new live version that begins as `parent`.
    mutating func branch(from parent: Version, _ creation: JournalRecord.Creation, volume: UInt64) {
        use(creation)
        var record = derived(from: parent.record, creation, state: .volume)
        record.volume = volume
        record.parent = parent.id
        record.generation = creation.generation
        record.written = 0
        let version = Version(record: record, parentGeneration: parent.generation)
        version.root = parent.root
        insert(version)
    }

    private mutating func rollback(_ head: Version, to snapshot: Version, _ creation: JournalRecord.Creation) {
        // They are the volume's, not what it holds.
        let properties = head.properties
        hide(head)
        branch(from: snapshot, creation, volume: head.record.volume)
        guard let version = versions[creation.id] else { return }
        version.properties = properties
        if !properties.isEmpty { touchProperties(version) }
        takeReservedRanges(version)
        promiseAll(version)
        version.record.originVolume = head.record.originVolume
        version.record.originVersion = head.record.originVersion
        version.record.created = head.record.created
        version.record.changed = head.record.changed
        version.noteChange(at: creation.time)
        version.requests = head.requests
    }

    private mutating func swap(_ first: Version, _ second: Version, time: UInt64) {
        (first.record.name, second.record.name) = (second.record.name, first.record.name)
        for version in [first, second] {
            volumeNames[version.record.name] = version.record.volume
            version.noteChange(at: time)
            markDirty(version)
        }
    }

    private mutating func rename(_ version: Version, to name: String, time: UInt64) {
        switch version.record.state {
        case .volume:
            volumeNames[version.record.name] = nil
            volumeNames[name] = version.record.volume
        case .snapshot:
            snapshotNames[version.record.volume]?[version.record.name] = nil
            snapshotNames[version.record.volume, default: [:]][name] = version.id
        case .hidden: return
        }
        version.record.name = name
        version.noteChange(at: time)
        markDirty(version)
    }
}
