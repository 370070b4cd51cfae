public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Who has what open, through whichever door.
extension VolumeFileSystem {
    /// Counts a client of another door, as an NBD server in this process has them, among the users of a volume or a snapshot:
    /// in `.ctl/vol/VOL/users`, in the property `open`, and for whatever is refused as long as something is open. To be ended by
    /// `leave`, once. Throws `.readOnly` or why not for writing to what cannot be written, `.isOpen` for what is being deleted,
    /// `.notFound`. Any thread may call.
    public func enter(
        _ object: UInt64, process: Int32, command: String, writes: Bool, kind: VolumeUser.Kind
    ) throws(PoolError) -> UInt64 {
        try refuseIfStopping()
        let user = VolumeUser(process: process, command: command, writes: writes, kind: kind, since: options.now())
        // Noted before anything else: from then on the object cannot be deleted.
        let handle = try open.withLock { table throws(PoolError) in
            if table.ending.contains(object) { throw .refused(.isOpen(object: object)) }
            guard table.handles < MemoryBound.handles else { throw .outOfMemory(limit: UInt64(MemoryBound.program)) }
            table.handles += 1
            defer { table.next += 1 }
            table.files[object, default: [:]][table.next] = user
            return table.next
        }
        // From now on things may become due without a request that says so.
        requests.noteActivity()
        do throws(PoolError) {
            let info = try pool.info(object)
            if writes {
                try refuseChange(of: info)
                open.withLock { table in if table.toldSizes[object] == nil { table.toldSizes[object] = try? pool.size(object).bytes } }
            }
            return handle
        } catch {
            leave(object, handle)
            throw error
        }
    }

    /// Ends what `enter` began.
    public func leave(_ object: UInt64, _ handle: UInt64) {
        let isWriter = open.withLock { table in
            let user = table.files[object]?.removeValue(forKey: handle)
            if user != nil { table.handles -= 1 }
            table.synchronous.remove(handle)
            if table.files[object]?.isEmpty == true { table.files[object] = nil }
            return user?.writes == true
        }
        if isWriter { tellSize(object) }
    }

    /// A volume becomes larger with each write beyond its end; told is what it has when one of its writers closes it.
    private func tellSize(_ object: UInt64) {
        let new: UInt64? = open.withLock { table in
            // Who resizes it tells what it has then.
            if table.resizing[object] != nil { return nil }
            let told = table.toldSizes[object], size = try? pool.size(object).bytes
            table.toldSizes[object] = table.isWritten(object) ? size : nil
            return told == nil || told == size ? nil : size
        }
        if let new, let info = try? pool.info(object) { events.publish("volume-resized", info.name, [("size", .size(new))]) }
    }

    /// Makes a volume `size` bytes large by a request for that, and tells it, once.
    func resize(_ info: ObjectInfo, to size: UInt64) throws(PoolError) {
        let id = info.id
        open.withLock { $0.resizing[id, default: 0] += 1 }
        do throws(PoolError) {
            try pool.resize(id, to: size)
        } catch {
            open.withLock { $0.endResizing(id) }
            tellSize(id)
            throw error
        }
        let new = open.withLock { table in
            table.endResizing(id)
            // A write behind its end may have come since.
            let new = (try? pool.size(id).bytes) ?? size
            if table.toldSizes[id] != nil { table.toldSizes[id] = table.isWritten(id) ? new : nil }
            return new
        }
        events.publish("volume-resized", info.name, [("size", .size(new))])
    }

    /// Throws why the bytes, size or attributes of an object cannot be changed.
    func refuseChange(of info: ObjectInfo) throws(PoolError) {
        if info.isSnapshot || options.isReadOnly { throw .readOnly }
        try refuseIfInTrash(info)
        if pool.isSuspended { throw .refused(.poolIsSuspended) }
        if try limits(of: info.id).isReadOnly { throw .refused(.volumeIsReadOnly) }
    }

    /// Names of open volumes and snapshots with those that opened them.
    public var users: [(name: String, user: VolumeUser)] {
        let files = open.withLock { $0.files }
        return files.flatMap { id, handles -> [(name: String, user: VolumeUser)] in
            let name = (try? pool.info(id))?.fullName ?? "?"
            return handles.values.map { (name: name, user: $0) }
        }
    }

    /// But not the handle that `besides` is.
    func users(of object: UInt64, besides handle: UInt64? = nil) -> [VolumeUser] {
        open.withLock { $0.files[object] ?? [:] }.filter { $0.key != handle }.sorted { $0.key < $1.key }.map(\.value)
    }

    func openCount(_ object: UInt64) -> Int { open.withLock { $0.files[object]?.count ?? 0 } }

    /// Runs `body`, which ends the objects, once nobody has any of them open; meanwhile nobody can open them. close(2) returns
    /// before the last release reaches us, so what seems open is given two seconds.
    func whileClosed(_ objects: [UInt64], _ body: () throws(PoolError) -> Void) throws(PoolError) {
        for attempt in 0..<200 {
            if attempt > 0 { options.pause(10) }
            let isClosed = open.withLock { table in
                guard objects.allSatisfy({ table.files[$0] == nil && !table.ending.contains($0) }) else { return false }
                table.ending.formUnion(objects)
                return true
            }
            guard isClosed else { continue }
            defer { open.withLock { $0.ending.subtract(objects) } }
            return try body()
        }
        throw .refused(.isOpen(object: objects.first { openCount($0) > 0 } ?? objects[0]))
    }

    /// Returns when at most `others` handles of the object are open.
    func waitUntilClosed(_ id: UInt64, others: Int) throws(PoolError) {
        for _ in 0..<200 {
            if openCount(id) <= others { return }
            options.pause(10)
        }
        throw .refused(.isOpen(object: id))
    }
}
