public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Open files and their bytes.
extension VolumeFileSystem {
    /// Opens a file. Throws `.readOnly` for writing to a snapshot.
    public func open(_ inode: Inode, _ request: OpenRequest, by caller: Caller) throws(PoolError) -> OpenFile {
        // What a control file says can be read to the end, and so what the mount waits for.
        if inode.isContents || inode == .events || request.writes || request.truncates { try refuseIfStopping() }
        guard case .file(let id) = inode else { return try openText(inode, request) }
        let command = options.commandName(caller.process)
        let handle = try enter(
            id, process: caller.process, command: command, writes: request.writes || request.truncates, kind: .fuse)
        if request.isSynchronous { open.withLock { _ = $0.synchronous.insert(handle) } }
        do throws(PoolError) {
            let info = try pool.info(id)
            if request.truncates && info.size > 0 {
                try refuse(.shrink, of: id)
                try waitUntilClosed(id, others: 1)
                try resize(info, to: 0)
            }
            let user = open.withLock { $0.files[id]?[handle] }
            return OpenFile(
                handle: handle, isImmutable: info.isSnapshot, isVolume: !info.isSnapshot, user: user, isSynchronous: request.isSynchronous)
        } catch {
            release(inode, handle: handle)
            throw error
        }
    }

    private func openText(_ inode: Inode, _ request: OpenRequest) throws(PoolError) -> OpenFile {
        if inode == .events { return try openEvents(request) }
        if inode == .unique { return try openQuestion() }
        if case .property(let pair) = inode, request.writes, Settable(rawValue: Self.propertyName(pair & 255)) == nil {
            throw .refused(.computedProperty)
        }
        if inode.takesWords, request.writes {
            return open.withLock { table in
                defer { table.next += 1 }
                return OpenFile(handle: table.next, isImmutable: false)
            }
        }
        if request.writes || request.truncates { throw .notPermitted }
        return OpenFile(handle: try keepText(of: inode), isImmutable: false)
    }

    /// Makes the text that an open control file has until it is released. `known` is a handle that it has already.
    func keepText(of inode: Inode, as known: UInt64? = nil) throws(PoolError) -> UInt64 {
        var diff: DiffText?
        switch inode {
        case .diff(let pair): diff = try DiffText(pool, from: pair >> 28, to: pair & (1 << 28 - 1), isJSON: false)
        case .diffJSON(let pair): diff = try DiffText(pool, from: pair >> 28, to: pair & (1 << 28 - 1), isJSON: true)
        default: break
        }
        let text = diff == nil ? Array(try contents(of: inode).utf8) : [], size = diff == nil ? text.count : DiffText.memory
        return try open.withLock { table throws(PoolError) in
            guard table.textBytes + size <= MemoryBound.texts, table.handles < MemoryBound.handles else {
                throw .outOfMemory(limit: UInt64(MemoryBound.texts))
            }
            if let known, table.texts[known] != nil || table.diffs[known] != nil { return known }
            table.textBytes += size
            table.handles += 1
            let handle = known ?? table.next
            if known == nil { table.next += 1 }
            if let diff { table.diffs[handle] = diff } else { table.texts[handle] = text }
            return handle
        }
    }

    public func release(_ inode: Inode, handle: UInt64) {
        if case .file(let id) = inode { return leave(id, handle) }
        if inode == .events { return events.remove(handle) }
        open.withLock { table in
            if table.diffs.removeValue(forKey: handle) != nil {
                table.textBytes -= DiffText.memory
            } else if table.questions.removeValue(forKey: handle) != nil {
                table.textBytes -= SpaceQuestion.limit
            } else {
                guard let text = table.texts.removeValue(forKey: handle) else { return }
                table.textBytes -= text.count
            }
            table.handles -= 1
        }
    }

    /// Makes a volume of size 0 and opens it.
    public func create(
        _ parent: Inode, _ name: String, mode: UInt32, _ request: OpenRequest, by caller: Caller
    ) throws(PoolError) -> (inode: Inode, file: OpenFile) {
        switch parent {
        case .propertyDirectory(let id), .aliasPropertyDirectory(let id): throw try noPropertyFile(id, name)
        case .poolPropertyDirectory where Self.absence(of: name) != nil: throw .refused(.unknownProperty)
        default: break
        }
        guard parent == .root, !name.contains("@") else { throw .notPermitted }
        try refuseIfReadOnly()
        let id = try pool.createVolume(name, size: 0, attributes: newAttributes(mode, caller))
        if options.makesFixed {
            do throws(PoolError) {
                try pool.setProperty(id, "user.volfs.fixed", Array("on".utf8))
            } catch {
                try? pool.delete(id)
                throw error
            }
        }
        touchVolumes(try pool.info(id))
        events.publish("volume-created", name, [("size", .size(0))])
        return (.file(id), try open(.file(id), request, by: caller))
    }

    /// Reads into `bytes` and returns how many there were before the end of the file.
    public func read(
        _ inode: Inode, handle: UInt64, at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) -> Int {
        if inode == .unique { return try answer(handle, into: bytes) }
        guard case .file(let id) = inode else { return try readText(inode, handle, at: offset, into: bytes) }
        return try pool.readAvailable(id, at: offset, into: bytes)
    }

    private func readText(
        _ inode: Inode, _ handle: UInt64, at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) -> Int {
        if isInherited(handle) { try resumeText(inode, handle, at: offset) }
        if let diff = open.withLock({ $0.diffs[handle] }) {
            return try untilHandedOver(walks.texts) { control throws(PoolError) in try diff.read(at: offset, into: bytes, control: control) }
        }
        return open.withLock { table in
            guard let text = table.texts[handle], offset < UInt64(text.count) else { return 0 }
            let part = text[Int(offset)..<min(text.count, Int(offset) + bytes.count)]
            bytes.copyBytes(from: part)
            return part.count
        }
    }

    /// Writes all of `bytes`; a write beyond the end makes the volume larger. With `isSynchronous` it is durable on return.
    public func write(
        _ inode: Inode, handle: UInt64 = 0, at offset: UInt64, _ bytes: UnsafeRawBufferPointer, isSynchronous: Bool = false
    ) throws(PoolError) {
        if inode == .unique { return try ask(handle, bytes) }
        if inode.takesWords {
            if bytes.count > 4096 { throw .refused(.valueTooLarge(limit: 3072)) }
            guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalid(.value) }
            switch inode {
            case .volumeRollback(let volume): return try rollback(volume, text)
            case .property(let pair): return try setProperty(pair >> 8, pair & 255, text)
            default: return try setPoolSize(text)
            }
        }
        guard case .file(let id) = inode else { throw .notPermitted }
        if options.isReadOnly { throw .readOnly }
        try refuseByLimits(id, at: offset, count: bytes.count)
        try pool.write(id, at: offset, bytes, growing: true)
        if isSynchronous || options.isSynchronous { try pool.flush(id) }
    }

    /// Returns when what was written to the file is durable.
    public func sync(_ inode: Inode) throws(PoolError) {
        guard case .file(let id) = inode, !options.isReadOnly else { return }
        if try pool.size(id).isSnapshot { return }
        try pool.flush(id)
    }

    /// fallocate(2). Without flags, or with the size kept, the range is reserved: nothing is written. Punching and zeroing give
    /// blocks back; what is reserved stays so, unless the volume's property unreserve-on-discard says otherwise.
    public func allocate(_ inode: Inode, mode: Int32, at offset: UInt64, count: UInt64) throws(PoolError) {
        guard case .file(let id) = inode else { throw .notPermitted }
        let keepSize: Int32 = 1, punchHole: Int32 = 2, zeroRange: Int32 = 16
        if options.isReadOnly { throw .readOnly }
        let (size, isSnapshot) = try pool.size(id)
        if isSnapshot { throw .readOnly }
        if try limits(of: id).isReadOnly { throw .refused(.volumeIsReadOnly) }
        switch mode {
        case punchHole | keepSize, zeroRange | keepSize, zeroRange: break
        case 0, keepSize: return try reserve(id, at: offset, count: count, keepsSize: mode == keepSize)
        default: throw .notSupported
        }
        // The larger size first: if it is refused, nothing has been zeroed.
        let (end, overflow) = offset.addingReportingOverflow(count)
        if mode == zeroRange, overflow || end > size {
            if try limits(of: id).isFixed { throw .refused(.fixed(size: size)) }
            try pool.resize(id, to: overflow ? .max : end, onlyLarger: true)
        }
        try discard(id, try limits(of: id), at: offset, count: count)
    }

    /// As the volume's properties have it: with the space given back, or kept for the volume as far as there is enough, and what was
    /// reserved before still so or not.
    func discard(_ id: UInt64, _ limits: Limits, at offset: UInt64, count: UInt64) throws(PoolError) {
        if !limits.freesOnDiscard { try reserveMapped(id, at: offset, count: count) }
        try pool.discard(id, at: offset, count: count)
        if limits.unreservesOnDiscard { try pool.unreserve(id, at: offset, count: count) }
    }

    /// Reserves what is mapped in a range. A discard is never refused for want of space, so this ends where there is no more.
    private func reserveMapped(_ id: UInt64, at offset: UInt64, count: UInt64) throws(PoolError) {
        let (sum, overflow) = offset.addingReportingOverflow(count)
        let end = min(overflow ? .max : sum, try pool.size(id).bytes)
        var at = offset
        do throws(PoolError) {
            while at < end, let extent = try pool.extent(id, at: at, upTo: end) {
                let next = min(extent.end, end)
                if extent.isData { try pool.reserve(id, at: at, count: next - at) }
                at = next
            }
        } catch .outOfSpace {}
    }

    /// Reserves a range, unless the mount is told to reserve nothing, and makes the volume as large as that.
    private func reserve(_ id: UInt64, at offset: UInt64, count: UInt64, keepsSize: Bool) throws(PoolError) {
        let limits = try limits(of: id), info = try pool.info(id)
        let (end, overflow) = offset.addingReportingOverflow(count)
        if !keepsSize, limits.isFixed, overflow || end > info.size { throw .refused(.fixed(size: info.size)) }
        if options.reservesOnAllocate {
            if limits.quota != .max, overflow || end > limits.quota { throw .refused(.quota(limit: limits.quota)) }
            try pool.reserve(id, at: offset, count: count)
        }
        if !keepsSize { try enlarge(id, toReach: offset, count) }
    }

    private func enlarge(_ id: UInt64, toReach offset: UInt64, _ count: UInt64) throws(PoolError) {
        let (end, overflow) = offset.addingReportingOverflow(count)
        let size = try pool.size(id).bytes
        guard overflow || end > size else { return }
        if try limits(of: id).isFixed { throw .refused(.fixed(size: size)) }
        try pool.resize(id, to: overflow ? .max : end, onlyLarger: true)
    }

    /// lseek(2) with SEEK_DATA or SEEK_HOLE: where the next data or hole at or after `offset` begins. Throws
    /// `none` if there is none, `.refused(.isHandedOver)`.
    public func seek(_ inode: Inode, data wantsData: Bool, from offset: UInt64, noneIs none: PoolError) throws(PoolError) -> UInt64 {
        guard case .file(let id) = inode else { throw .invalid(.value) }
        let size = try pool.size(id).bytes
        guard offset < size else { throw none }
        let found = try untilHandedOver(walks.seeks) { control throws(PoolError) -> UInt64? in
            var at = offset
            while let extent = try pool.extent(id, at: at, control: control) {
                if extent.isData == wantsData { return at }
                at = extent.end
            }
            return nil
        }
        if let found { return found }
        if wantsData { throw none }
        return size
    }

    /// Changes mode, owner, time or size. `hasHandle` tells that the caller has the file open itself.
    public func setAttributes(_ inode: Inode, _ changes: AttributeChanges, hasHandle: Bool) throws(PoolError) -> FileAttributes {
        // A shell's `>` truncates first.
        if inode.takesWords, changes.size == 0 { return try attributes(inode) }
        guard case .file(let id) = inode else { throw .notPermitted }
        let info = try pool.info(id)
        if info.isSnapshot || options.isReadOnly { throw .readOnly }
        try refuseIfInTrash(info)
        if let size = changes.size, size != info.size {
            try refuseChange(of: info)
            if size < info.size {
                try refuse(.shrink, of: id)
                try waitUntilClosed(id, others: hasHandle ? 1 : 0)
            }
            try resize(info, to: size)
        }
        if changes.mode != nil || changes.uid != nil || changes.gid != nil || changes.modified != nil {
            let old = info.attributes
            try pool.setAttributes(
                id,
                Attributes(
                    mode: changes.mode.map { $0 & 0o7777 } ?? old.mode, uid: changes.uid ?? old.uid,
                    gid: changes.gid ?? old.gid),
                modified: changes.modified)
        }
        return try attributes(inode)
    }

    /// A number written to `.ctl/size`. A smaller one takes as long as moving what lies behind it.
    private func setPoolSize(_ text: String) throws(PoolError) {
        try refuseIfReadOnly()
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let size = UInt64(words[0]) else { throw .refused(.poolSizeIsNoNumber) }
        if size > pool.deviceSize {
            try pool.grow(to: size)
        } else {
            try jobs.during(.shrink) { control throws(PoolError) in try pool.shrink(to: size, control: control) }
        }
        times.touch([.poolSize], options.now())
        events.publish("pool-resized", options.source, [("size", .size(pool.deviceSize))])
    }
}
