public import BlockStorage

/// Making, naming, finding and ending volumes and snapshots.
extension Pool {
    // MARK: Looking

    /// Throws `.notFound`.
    public func info(_ object: UInt64) throws(PoolError) -> ObjectInfo {
        try state.withLock { state throws(PoolError) in state.info(try state.version(of: object)) }
    }

    /// An object's size in bytes, and whether it is a snapshot: what a request needs to know. Throws `.notFound`.
    public func size(_ object: UInt64) throws(PoolError) -> (bytes: UInt64, isSnapshot: Bool) {
        try state.withLock { state throws(PoolError) in
            let record = try state.version(of: object).record
            return (record.size, record.state == .snapshot)
        }
    }

    /// The id of the volume, or with `snapshot` of that snapshot of it. Throws `.notFound`.
    public func find(_ volume: String, snapshot: String? = nil) throws(PoolError) -> UInt64 {
        try state.withLock { state throws(PoolError) in
            guard !ObjectName.isAside(volume), let id = state.volumeNames[volume] else { throw .notFound }
            guard let snapshot else { return id }
            guard let found = state.snapshotNames[id]?[snapshot] else { throw .notFound }
            return found
        }
    }

    /// The id of a volume's snapshot of that name, whatever the volume is called now. Throws `.notFound`.
    public func find(snapshot: String, of volume: UInt64) throws(PoolError) -> UInt64 {
        try state.withLock { state throws(PoolError) in
            guard let found = state.snapshotNames[volume]?[snapshot] else { throw .notFound }
            return found
        }
    }

    /// All volumes, by name, but those that are set aside.
    public func volumes() -> [ObjectInfo] { volumes(aside: false) }

    func volumes(aside: Bool) -> [ObjectInfo] {
        state.withLock { state in
            state.volumeNames.filter { ObjectName.isAside($0.key) == aside }.values.compactMap { state.objects[$0] }.map { state.info($0) }
                .sorted { $0.name < $1.name }
        }
    }

    /// A volume's snapshots, oldest first.
    public func snapshots(of volume: UInt64) -> [ObjectInfo] {
        state.withLock { state in
            (state.snapshotNames[volume] ?? [:]).values.compactMap { state.objects[$0] }.map { state.info($0) }
                .sorted { ($0.created, $0.id) < ($1.created, $1.id) }
        }
    }

    /// Bytes of the device that the pool uses.
    public var deviceSize: UInt64 { state.withLock { $0.superblock.size } }

    public var uuid: UUIDBytes { state.withLock { $0.superblock.uuid } }

    public func usage() -> PoolUsage {
        let storage = device.storage
        return state.withLock { state in
            let unit = UInt64(state.geometry.blockSize)
            let free = state.available(.growing) + state.space.quarantinedCount + state.space.heldCount
            // What the host can still give, and what it has given for blocks that are not in use.
            let unused = (storage?.allocated ?? 0) - min(storage?.allocated ?? 0, state.geometry.firstZoneOffset + UInt64(state.space.liveCount) * unit)
            let limit = storage.map { ($0.free + unused) / unit * unit } ?? .max
            return PoolUsage(
                blockSize: state.geometry.blockSize, capacity: UInt64(state.space.blockCount) * unit,
                allocated: UInt64(state.space.liveCount) * unit,
                available: min(limit, UInt64(min(free, state.space.blockCount - state.space.liveCount)) * unit),
                quarantined: UInt64(state.space.quarantinedCount) * unit,
                promised: UInt64(state.heldPromises) * unit, reserve: UInt64(state.reserveBlocks) * unit)
        }
    }

    public func statistics() -> PoolStatistics {
        state.withLock { state in
            let c = state.counters
            return PoolStatistics(
                reads: c.reads, writes: c.writes, flushes: c.flushes, discards: c.discards, readBytes: c.readBytes,
                writtenBytes: c.writtenBytes, discardedBytes: c.discardedBytes, checkpoints: c.checkpoints,
                punchedBytes: c.punchedBytes, checksumErrors: c.checksumErrors, sharedBytes: c.sharedBytes,
                shareTableSize: state.shares.size, nodesFromCopy: c.nodesFromCopy,
                epoch: state.superblock.epoch,
                volumes: state.volumeNames.keys.count { !ObjectName.isAside($0) }, snapshots: state.objects.count - state.volumeNames.count,
                hidden: state.hidden.count,
                waiting: state.hidden.count { (state.versions[$0]?.children.count ?? 0) > 1 },
                cachedNodes: state.cache.count, dirtyBlocks: state.dirtyBlocks, fragmentation: state.space.fragmentation, journalUsedFrames: state.journal.usedFrames + state.journal.reserved,
                journalFrames: state.journal.frames, suspension: state.suspension, isStoring: state.isStoring, isReadOnly: state.isReadOnly)
        }
    }

    // MARK: Making

    /// A new volume of `size` bytes, all hole. Durable on return. Throws `.exists`, `.invalid(.name)`, `.tooLarge`.
    @discardableResult
    public func createVolume(_ name: String, size: UInt64, attributes: Attributes) throws(PoolError) -> UInt64 {
        try ObjectName.checkVolume(name)
        try checkSize(size)
        return try change(.administrative, versions: 1, creating: 1) { state, environment throws(PoolError) in
            if state.volumeNames[name] != nil { throw .exists }
            let creation = state.creation(name, attributes, environment)
            return (creation.id, [.create(creation, size: size)])
        }
    }

    /// An immutable view of the volume as it is now: it has every write that returned before the call. Durable on
    /// return. Costs the same whatever the volume holds and however many snapshots there are.
    @discardableResult
    public func createSnapshot(_ name: String, of volume: UInt64) throws(PoolError) -> UInt64 {
        try ObjectName.checkNewSnapshot(name)
        return try change(.administrative, versions: 2, creating: 1, extra: { $0.inheritedBlocks(volume) }, promise: { $0.promiseIncrease(volume) }) { state, environment throws(PoolError) in
            let source = try state.writableVersion(of: volume)
            if ObjectName.isAside(source.record.name) { throw .notFound }
            if state.snapshotNames[volume]?[name] != nil { throw .exists }
            var attributes = source.record.attributes
            attributes.mode &= ~0o222
            let creation = state.creation(name, attributes, environment)
            return (creation.id, [.snapshot(source: source.id, creation)])
        }
    }

    /// A new volume that begins as `source`, a snapshot or a volume as it is now, and shares its blocks. Durable on
    /// return; costs the same for any source.
    @discardableResult
    public func createClone(_ name: String, of source: UInt64, attributes: Attributes) throws(PoolError) -> UInt64 {
        try ObjectName.checkVolume(name)
        // A volume as it is now becomes a hidden snapshot first.
        let numbers = (try? info(source).isSnapshot) == true ? 1 : 2
        return try change(.administrative, versions: 3, creating: numbers, extra: { $0.inheritedBlocks(source) }, promise: { $0.promiseIncrease(source) }) { state, environment throws(PoolError) in
            let origin = try state.version(of: source)
            if state.volumeNames[name] != nil { throw .exists }
            let isLive = origin.record.state == .volume
            let hidden = isLive ? state.takeID() : 0
            let generation = isLive ? state.takeGeneration() : 0
            let creation = state.creation(name, attributes, environment)
            return (creation.id, [.clone(source: origin.id, hidden: hidden, sourceGeneration: generation, creation)])
        }
    }

    /// Snapshots of several volumes at one moment, all or none. Durable on return.
    public func createSnapshots(_ name: String, of volumes: [UInt64]) throws(PoolError) {
        try ObjectName.checkNewSnapshot(name)
        guard let first = volumes.first else { throw .notFound }
        guard Set(volumes).count == volumes.count else { throw .exists }
        let inherited = { (state: inout PoolState) in volumes.reduce(0) { $0 + state.inheritedBlocks($1) } }
        let promised = { (state: inout PoolState) in volumes.reduce(0) { $0 + state.promiseIncrease($1) } }
        _ = try change(.administrative, versions: 2 * volumes.count, creating: volumes.count, extra: inherited, promise: promised) { state, environment throws(PoolError) in
            var records: [JournalRecord] = []
            for volume in volumes {
                let source = try state.writableVersion(of: volume)
                if ObjectName.isAside(source.record.name) { throw .notFound }
                if state.snapshotNames[volume]?[name] != nil { throw .exists }
                var attributes = source.record.attributes
                attributes.mode &= ~0o222
                records.append(.snapshot(source: source.id, state.creation(name, attributes, environment)))
            }
            return (first, records)
        }
    }

    /// Puts the volume back to a snapshot of it. Its id stays; newer snapshots stay. What it held otherwise becomes a snapshot
    /// called `keptAs`, or is freed if that is nil. Durable on return.
    public func rollback(_ volume: UInt64, to snapshot: UInt64, keptAs: String? = nil) throws(PoolError) {
        if let keptAs { try ObjectName.checkNewSnapshot(keptAs) }
        _ = try change(.administrative, versions: 4, creating: keptAs == nil ? 1 : 2, extra: { 2 * $0.propertyBlocks(volume) }, promise: { $0.promiseIncrease(volume) }) { state, environment throws(PoolError) in
            let head = try state.writableVersion(of: volume)
            if state.shrinking[volume] != nil { throw .inUse }
            let target = try state.version(of: snapshot)
            guard target.record.state == .snapshot, target.record.volume == volume else { throw .notFound }
            var records: [JournalRecord] = []
            if let keptAs {
                if state.snapshotNames[volume]?[keptAs] != nil { throw .exists }
                var attributes = head.record.attributes
                attributes.mode &= ~0o222
                records.append(.snapshot(source: head.id, state.creation(keptAs, attributes, environment)))
            }
            let creation = state.creation(head.record.name, head.record.attributes, environment)
            records.append(.rollback(head: head.id, snapshot: target.id, creation))
            return (volume, records)
        }
    }

    /// Two volumes exchange their names, at one moment. Durable on return.
    public func swap(_ first: UInt64, _ second: UInt64) throws(PoolError) {
        _ = try change(.freeing, versions: 2) { state, environment throws(PoolError) in
            let versions = (try state.version(of: first), try state.version(of: second))
            guard versions.0.record.state == .volume, versions.1.record.state == .volume else { throw .invalid(.destination) }
            if [versions.0, versions.1].contains(where: { ObjectName.isAside($0.record.name) }) { throw .notFound }
            if first == second { return (first, []) }
            return (first, [.swap(versions.0.id, versions.1.id, time: environment.now())])
        }
    }

    // MARK: Changing

    /// Ends a volume or a snapshot. Its name is free and the deletion durable on return; its blocks are freed in the
    /// background. Always allowed for a snapshot, whatever was cloned from it. Throws `.hasSnapshots` for a volume.
    public func delete(_ object: UInt64) throws(PoolError) { try delete([object]) }

    /// As of one, of several at one moment: all or none.
    public func delete(_ objects: [UInt64]) throws(PoolError) {
        guard let first = objects.first else { return }
        precondition(Set(objects).count == objects.count, "each of them once")
        _ = try change(.freeing, versions: objects.count) { state, environment throws(PoolError) in
            let time = environment.now()
            var records: [JournalRecord] = []
            for object in objects {
                let version = try state.version(of: object)
                if version.record.state == .volume, let count = state.snapshotNames[object]?.count, count > 0 {
                    throw .hasSnapshots(count: count)
                }
                records.append(.delete(version: version.id, time: time))
            }
            return (first, records)
        }
    }

    /// Gives a volume or a snapshot another name. A name that is taken is `.exists`, never replaced.
    public func rename(_ object: UInt64, to name: String) throws(PoolError) {
        let isSnapshot = try info(object).isSnapshot
        if isSnapshot { try ObjectName.checkNewSnapshot(name) } else { try ObjectName.checkVolume(name) }
        try rename(object, isSnapshot: isSnapshot, stored: name)
    }

    func rename(_ object: UInt64, isSnapshot: Bool, stored name: String) throws(PoolError) {
        _ = try change(.freeing, versions: 1) { state, environment throws(PoolError) in
            let version = try state.version(of: object)
            let isTaken = isSnapshot
                ? state.snapshotNames[version.record.volume]?[name] != nil : state.volumeNames[name] != nil
            if isTaken { throw .exists }
            if ObjectName.isAside(name), let count = state.snapshotNames[object]?.count, count > 0 { throw .hasSnapshots(count: count) }
            return (object, [.rename(version: version.id, name: name, time: environment.now())])
        }
    }

    /// A clone's `origin` is nil from now on; nothing else changes, and its blocks stay shared. Durable on return.
    public func forgetOrigin(of volume: UInt64) throws(PoolError) {
        _ = try change(.freeing, versions: 1) { state, environment throws(PoolError) in
            let version = try state.writableVersion(of: volume)
            let records: [JournalRecord] = version.record.originVolume == 0 ? [] : [.forgetOrigin(version: version.id, time: environment.now())]
            return (volume, records)
        }
    }

    /// Sets mode, owner and times. Durable on return.
    public func setAttributes(
        _ object: UInt64, _ attributes: Attributes, modified: UInt64? = nil
    ) throws(PoolError) {
        _ = try change(.freeing, versions: 1) { state, environment throws(PoolError) in
            let version = try state.writableVersion(of: object)
            return (
                object,
                [
                    .attributes(
                        version: version.id, attributes, modified: modified ?? version.record.modified,
                        changed: environment.now())
                ]
            )
        }
    }

    /// Changes a volume's size in bytes. What is cut off is freed, and reads as zero if the volume grows again. Durable
    /// on return. Throws `.tooLarge` beyond the format's largest volume, `.inUse` while another call makes it smaller.
    ///
    /// With `onlyLarger` a volume that has become as large meanwhile stays as it is: for what makes room for itself beside writers
    /// who do so too.
    public func resize(_ volume: UInt64, to size: UInt64, onlyLarger: Bool = false) throws(PoolError) {
        try checkSize(size)
        while try !resizeOnce(volume, to: size, onlyLarger: onlyLarger) {}
    }

    /// False if somebody else made the volume larger than `size` meanwhile.
    private func resizeOnce(_ volume: UInt64, to size: UInt64, onlyLarger: Bool) throws(PoolError) -> Bool {
        let old = try state.withLock { state throws(PoolError) -> UInt64 in
            let old = try state.writableVersion(of: volume).record.size
            if onlyLarger && size <= old { return old }
            if state.shrinking[volume] != nil { throw .inUse }
            if size < old { state.shrinking[volume] = size }
            return old
        }
        if onlyLarger && size <= old { return true }
        defer { if size < old { state.withLock { $0.shrinking[volume] = nil } } }
        if size < old { try discardRange(volume, from: size, to: old, size: old) }
        // Once the end is cut off the new size must follow, so that takes the last space if need be.
        let tier: PoolState.Tier = size < old ? .freeing : .administrative
        var isDone = true
        _ = try change(tier, versions: 1, extra: { 2 * Geometry.maximumLevel + $0.propertyBlocks(volume) }) { state, environment throws(PoolError) in
            let version = try state.writableVersion(of: volume), now = environment.now()
            isDone = version.record.size == old || version.record.size <= size
            if !isDone { return (volume, []) }
            let resize = JournalRecord.resize(version: version.id, size: size, time: now)
            // What is cut off is not reserved any more.
            let blocks = state.geometry.blocks(covering: size)
            let kept = size < old ? version.reserved.removing(blocks..<UInt64.max, limit: .max) : version.reserved
            if kept == version.reserved { return (volume, [resize]) }
            let value = kept.isEmpty ? nil : kept.encoded
            return (volume, [resize, .property(version: version.id, name: PoolState.reservedProperty, value: value, time: now)])
        }
        return isDone
    }

    private func checkSize(_ size: UInt64) throws(PoolError) {
        guard size <= geometry.maximumVolumeSize else { throw .tooLarge(size: size, limit: geometry.maximumVolumeSize) }
    }

    /// Makes administrative records, all or none, applies them, and returns when they are durable. `versions` is how many
    /// version records they change, each of which costs the next checkpoint a path of the catalog, and `creating` how many numbers
    /// of new versions they take at the most; `extra` tells the blocks that they cost besides, and `promise` those that a volume with reserved ranges is promised: never out of what is held back for
    /// other purposes. Both may be more by the time the records are made: then it is tried again.
    func change(
        _ tier: PoolState.Tier, versions: Int, creating: Int = 0, extra: (inout PoolState) throws(PoolError) -> Int = { _ in 0 },
        promise: (inout PoolState) throws(PoolError) -> Int = { _ in 0 },
        _ body: (inout PoolState, Environment) throws(PoolError) -> (UInt64, [JournalRecord])
    ) throws(PoolError) -> UInt64 {
        while true {
            let needed = try admit(0) { state, _ throws(PoolError) -> Int? in
                if state.isReadOnly { throw .readOnly }
                if state.isSuspended { throw .suspended }
                // No number is ever used twice: a pool makes 2^48 versions in its life, in 2^32 generations.
                if creating > 0, !state.hasNumbers(creating) { throw .refused(.noNumbersLeft) }
                let promised = try promise(&state)
                let needed = versions * (state.catalogPathBlocks + 2) + (try extra(&state)) + promised
                return needed <= state.available(promised > 0 ? .growing : tier) ? needed : -needed
            }
            defer { state.withLock { $0.reservedBlocks -= needed } }
            let bytes = max(geometry.blockSize - JournalFrame.headerSize, versions * JournalRecord.creationSize)
            let frames = try reserveJournal(bytes: bytes)
            let made = try state.withLock { state throws(PoolError) -> (object: UInt64, lsn: UInt64)? in
                defer { state.journal.endReservation(frames) }
                // Others may have taken the last numbers meanwhile.
                guard creating == 0 || state.hasNumbers(creating) else { return nil }
                guard versions * (state.catalogPathBlocks + 2) + (try extra(&state)) + (try promise(&state)) <= needed else { return nil }
                let (object, records) = try body(&state, environment)
                let lsn = state.append(records, version: nil)
                // Nothing to do is nothing new to make durable either.
                if lsn > 0 { state.objects[object]?.lastLSN = lsn }
                return (object, lsn)
            }
            guard let made else { continue }
            try writeJournal(upTo: made.lsn)
            try flush(upTo: made.lsn)
            return made.object
        }
    }
}

extension PoolState {
    mutating func creation(
        _ name: String, _ attributes: Attributes, _ environment: Pool.Environment
    ) -> JournalRecord.Creation {
        JournalRecord.Creation(
            id: takeID(), generation: takeGeneration(), time: environment.now(),
            uuid: UUIDBytes(randomHigh: environment.random(), randomLow: environment.random()), attributes: attributes,
            name: name)
    }

    func info(_ version: Version) -> ObjectInfo {
        let record = version.record
        let isSnapshot = record.state == .snapshot, volume = objects[record.volume]?.record
        return ObjectInfo(
            id: version.objectID, isSnapshot: isSnapshot, volume: record.volume, name: record.name,
            volumeName: volume?.name ?? record.name, size: record.size,
            referenced: record.referenced * UInt64(geometry.blockSize), reserved: version.reserved.count * UInt64(geometry.blockSize),
            created: record.created, modified: record.modified,
            changed: record.changed, attributes: record.attributes, volumeAttributes: volume?.attributes ?? record.attributes, uuid: record.uuid, generation: record.generation,
            origin: origin(of: record), snapshotCount: isSnapshot ? 0 : snapshotNames[record.volume]?.count ?? 0)
    }

    /// What versions are called; those without a name are left out.
    func names(of versions: [UInt64]) -> [UInt64: String] {
        var names: [UInt64: String] = [:]
        for id in versions { if let version = self.versions[id], !version.isHidden { names[id] = info(version).fullName } }
        return names
    }

    private func origin(of record: VersionRecord) -> String? {
        guard record.state == .volume, record.originVolume != 0, let volume = objects[record.originVolume],
            !ObjectName.isAside(volume.record.name)
        else { return nil }
        if record.originVersion == 0 { return volume.record.name }
        guard let snapshot = objects[record.originVersion] else { return nil }
        return "\(volume.record.name)@\(snapshot.record.name)"
    }
}
