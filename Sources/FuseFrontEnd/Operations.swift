internal import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

// What libfuse calls, on our threads. Each callback decodes, makes one call of `VolumeFileSystem`, and replies exactly
// once, as its last act, with no lock held.

/// `userdata` is the session's `FuseContext`, which outlives the threads.
func makeOperations() -> fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    operations.`init` = { userdata, connection in configure(connection, userdata) }
    operations.lookup = { request, parent, name in
        serve(request, "lookup", name, kind: .lookup, logs: false) { files, _ throws(PoolError) in
            // Who found an inode by its number, as an NFS server does, looks up these two.
            switch string(name) {
            case ".": replyEntry(request, try files.attributes(try inode(parent)))
            case "..": replyEntry(request, try files.attributes(try files.parent(of: try inode(parent))))
            case let name: replyEntry(request, try files.attributes(try files.lookup(try inode(parent), name)))
            }
        }
    }
    operations.getattr = { request, number, _ in
        serve(request, "stat", nil, kind: .attributes, logs: false) { files, _ throws(PoolError) in
            replyAttributes(request, try files.attributes(try inode(number)))
        }
    }
    operations.setattr = { request, number, wanted, valid, info in
        serve(request, "setattr", nil, number) { files, _ throws(PoolError) in
            let changes = attributeChanges(wanted, valid, now: { wallClock() })
            let inode = try inode(number)
            let attributes = try files.setAttributes(inode, changes, hasHandle: info != nil)
            if changes.mode != nil || changes.uid != nil || changes.gid != nil { context(request).forgetAttributes(files.snapshots(of: inode)) }
            replyAttributes(request, attributes)
        }
    }
    operations.readlink = { request, number in
        serve(request, "readlink", nil, kind: .lookup, logs: false) { files, _ throws(PoolError) in
            fuse_reply_readlink(request, try files.readLink(try inode(number)))
        }
    }
    addNameOperations(&operations)
    addFileOperations(&operations)
    addDirectoryOperations(&operations)
    addAttributeOperations(&operations)
    operations.statfs = { request, _ in
        serve(request, "statfs", nil, kind: .attributes, logs: false) { files, _ throws(PoolError) in
            var status = statusOfPool(files)
            fuse_reply_statfs(request, &status)
        }
    }
    return operations
}

private func addNameOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.mkdir = { request, parent, name, _ in
        serveOnce(request, "mkdir", name, parent) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name)
            let made = try once.run(about: { 0 }, found: { begun in files.made(parent, name, since: begun.started)?.number }) { () throws(PoolError) in
                try files.makeDirectory(parent, name, by: caller).number
            }
            replyEntry(request, try files.attributes(try inode(fuse_ino_t(made))))
        }
    }
    operations.rmdir = { request, parent, name in
        serveOnce(request, "rmdir", name, parent) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name)
            _ = try once.run(
                about: { files.number(parent, name) }, found: { begun in files.isRemoved(parent, name, begun.object) ? 0 : nil }
            ) { () throws(PoolError) in
                try files.removeDirectory(parent, name, by: caller)
                return 0
            }
            fuse_reply_err(request, 0)
        }
    }
    operations.unlink = { request, parent, name in
        serveOnce(request, "unlink", name, parent) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name)
            _ = try once.run(
                about: { files.number(parent, name) }, found: { begun in files.isRemoved(parent, name, begun.object) ? 0 : nil }
            ) { () throws(PoolError) in
                try files.unlink(parent, name, by: caller)
                return 0
            }
            fuse_reply_err(request, 0)
        }
    }
    operations.symlink = { request, target, parent, name in
        serveOnce(request, "symlink", name, parent, other: target) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name), target = string(target)
            let made = try once.run(about: { 0 }, found: { begun in files.made(parent, name, since: begun.started)?.number }) { () throws(PoolError) in
                try files.makeLink(parent, name, target: target, by: caller).number
            }
            replyEntry(request, try files.attributes(try inode(fuse_ino_t(made))))
        }
    }
    operations.rename = { request, parent, name, newParent, newName, flags in
        serveOnce(request, "rename", name, parent, other: newName) { files, once, caller throws(PoolError) in
            // RENAME_NOREPLACE is what we always do.
            let exchange: UInt32 = 2
            if flags & ~(exchange | 1) != 0 { throw .invalid(.destination) }
            let parent = try inode(parent), name = string(name), newParent = try inode(newParent), newName = string(newName)
            _ = try once.run(
                about: { files.number(parent, name) }, found: { begun in files.isRenamed(newParent, newName, begun.object) ? 0 : nil }
            ) { () throws(PoolError) in
                if flags & exchange != 0 {
                    try files.exchange(parent, name, newParent, newName)
                } else {
                    try files.rename(parent, name, to: newParent, newName, by: caller)
                }
                return 0
            }
            fuse_reply_err(request, 0)
        }
    }
    operations.mknod = { request, parent, name, _, _ in
        serve(request, "mknod", name, parent) { _, _ throws(PoolError) in throw .notPermitted }
    }
    operations.link = { request, _, parent, name in
        serve(request, "link", name, parent) { _, _ throws(PoolError) in throw .notPermitted }
    }
}

private func addFileOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.create = { request, parent, name, mode, info in
        serveOnce(request, "create", name, parent, kind: .open) { files, once, caller throws(PoolError) in
            var wanted = openRequest(info), file: OpenFile?
            let parent = try inode(parent), name = string(name)
            forgetOpen(request)
            let made = try once.run(about: { 0 }, found: { begun in files.made(parent, name, since: begun.started)?.number }) { () throws(PoolError) in
                let made = try files.create(parent, name, mode: mode, wanted, by: caller)
                file = made.file
                return made.inode.number
            }
            let volume = try inode(fuse_ino_t(made))
            // Another daemon has made it, and cut nothing off.
            wanted.truncates = false
            let opened = if let file { file } else { try files.open(volume, wanted, by: caller) }
            var status = status(try files.attributes(volume))
            try noteOpen(request, volume, opened)
            volfs_reply_create_volume(request, opened.handle, &status)
        }
    }
    operations.open = { request, number, info in
        serve(request, "open", nil, number, kind: .open) { files, caller throws(PoolError) in
            forgetOpen(request)
            let file = try files.open(try inode(number), openRequest(info), by: caller)
            try noteOpen(request, try inode(number), file)
            if file.isVolume {
                volfs_reply_open_volume(request, file.handle)
                return
            }
            info?.pointee.fh = file.handle
            if file.isStream { volfs_open_stream(info) } else { volfs_open_flags(info, file.isImmutable ? 0 : 1, file.isImmutable ? 1 : 0) }
            fuse_reply_open(request, info)
        }
    }
    operations.release = { request, number, info in
        serve(request, "release", nil, kind: .other, logs: false) { files, _ throws(PoolError) in
            let handle = info?.pointee.fh ?? 0
            context(request).kept?.handles.remove(handle)
            files.release(try inode(number), handle: handle)
            fuse_reply_err(request, 0)
        }
    }
    operations.read = { request, number, count, offset, info in
        if UInt64(number) == eventsNumber { return readEvents(request, count, info) }
        serve(request, "read", nil, number, kind: .read, range: range(offset, count)) { files, _ throws(PoolError) in
            let handle = info?.pointee.fh ?? 0
            try context(request).withBuffer(count) { buffer throws(PoolError) in
                let wanted = buffer.part(0..<min(count, buffer.count))
                let done = try files.read(try inode(number), handle: handle, at: UInt64(offset), into: wanted)
                fuse_reply_buf(request, buffer.baseAddress, done)
            }
        }
    }
    operations.write = { request, number, bytes, count, offset, info in
        serve(request, "write", nil, number, kind: .write, range: range(offset, count)) { files, _ throws(PoolError) in
            // The kernel leaves it to us to make writes of a file opened with O_SYNC or O_DSYNC durable.
            let isSynchronous = (info?.pointee.flags ?? 0) & (O_SYNC | O_DSYNC) != 0
            let inode = try inode(number), bytes = UnsafeRawBufferPointer(start: bytes, count: count)
            if case .volumeRollback = inode { return try rollBack(request, inode, bytes) }
            try files.write(inode, handle: info?.pointee.fh ?? 0, at: UInt64(offset), bytes, isSynchronous: isSynchronous)
            fuse_reply_write(request, count)
        }
    }
    operations.copy_file_range = { request, source, offset, _, destination, target, info, count, flags in
        serve(request, "copy", nil, destination, kind: .copy) { files, _ throws(PoolError) in
            do throws(PoolError) {
                if flags != 0 { throw .invalid(.value) }
                // The kernel drops the pages it has of what was copied over, by the answer's count.
                let done = try files.copy(
                    from: try inode(source), at: UInt64(offset), to: try inode(destination), handle: info?.pointee.fh ?? 0,
                    at: UInt64(target), count: UInt64(count), isCancelled: { fuse_req_interrupted(request) != 0 })
                fuse_reply_write(request, Int(done))
            } catch .cancelled {
                // A signal, and no refusal.
                fuse_reply_err(request, EINTR)
            } catch .notSupported {
                // A file of the control directory: the kernel copies it by reading and writing.
                fuse_reply_err(request, EOPNOTSUPP)
            }
        }
    }
    operations.fsync = { request, number, _, _ in
        serve(request, "fsync", nil, number, kind: .sync) { files, _ throws(PoolError) in
            try files.sync(try inode(number))
            fuse_reply_err(request, 0)
        }
    }
    operations.fallocate = { request, number, mode, offset, count, _ in
        serve(request, "fallocate", nil, number, kind: .allocate) { files, _ throws(PoolError) in
            try files.allocate(try inode(number), mode: mode, at: UInt64(offset), count: UInt64(count))
            fuse_reply_err(request, 0)
        }
    }
    operations.lseek = { request, number, offset, whence, _ in
        serve(request, "lseek", nil, kind: .other, logs: false) { files, _ throws(PoolError) in
            guard whence == seekData || whence == seekHole else { throw .invalid(.value) }
            let found = try files.seek(
                try inode(number), data: whence == seekData, from: UInt64(max(0, offset)),
                noneIs: .system(.pread, errno: ENXIO))
            fuse_reply_lseek(request, off_t(found))
        }
    }
}

/// What another daemon has opened for this request is not what it is answered with.
private func forgetOpen(_ request: fuse_req_t?) {
    guard let kept = context(request).kept, let opened = kept.handles.takeInherited(openedBy: volfs_request()) else { return }
    context(request).files.release(.file(opened.object), handle: opened.handle)
}

/// Notes for the next daemon what is open from the reply on.
private func noteOpen(_ request: fuse_req_t?, _ inode: Inode, _ file: OpenFile) throws(PoolError) {
    guard case .file(let object) = inode, let user = file.user, let kept = context(request).kept else { return }
    do throws(PoolError) {
        try kept.handles.add(
            OpenHandle(handle: file.handle, object: object, request: volfs_request(), user: user, isSynchronous: file.isSynchronous))
    } catch {
        context(request).files.release(inode, handle: file.handle)
        throw error
    }
}

/// A second time it would take what was written since the first. So one that was under way when its daemon was killed is not done
/// again.
private func rollBack(_ request: fuse_req_t?, _ inode: Inode, _ bytes: UnsafeRawBufferPointer) throws(PoolError) {
    var once = OnceOnly(context(request).kept, number: volfs_request())
    defer { once.end() }
    _ = try once.run(about: { 0 }, found: { _ throws(PoolError) in throw .system(.pread, errno: ECONNABORTED) }) { () throws(PoolError) in
        try context(request).files.write(inode, at: 0, bytes)
        return 0
    }
    fuse_reply_write(request, bytes.count)
}

private let eventsNumber = Inode.events.number

/// A request that is answered later, by another thread. Sendable: libfuse lets any thread reply.
private struct WaitingRequest: @unchecked Sendable {
    let request: fuse_req_t?
}

/// Occupies no thread while nothing happens. An interruption can come at any time from here on, even in the middle of the call
/// that asks to be told of one, where a reply would free the request under libfuse: so it is announced before.
private func readEvents(_ request: fuse_req_t?, _ count: Int, _ info: UnsafeMutablePointer<fuse_file_info>?) {
    let files = context(request).files, token = files.announceEventRead()
    let handle = info?.pointee.fh ?? 0, waits = (info?.pointee.flags ?? 0) & O_NONBLOCK == 0
    fuse_req_interrupt_func(
        request,
        { request, data in context(request).files.interruptEvents(UInt64(UInt(bitPattern: data))) },
        UnsafeMutableRawPointer(bitPattern: UInt(token)))
    let waiting = WaitingRequest(request: request)
    files.readEvents(handle: handle, token: token, count: min(count, FuseContext.maximumTransfer), waits: waits) { answer in
        switch answer {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { raw in
                _ = raw.withMemoryRebound(to: CChar.self) { fuse_reply_buf(waiting.request, $0.baseAddress, $0.count) }
            }
        case .nothing: fuse_reply_err(waiting.request, EAGAIN)
        case .interrupted: fuse_reply_err(waiting.request, EINTR)
        }
    }
}

private func addDirectoryOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.opendir = { request, number, info in
        serve(request, "opendir", nil, kind: .lookup, logs: false) { files, _ throws(PoolError) in
            info?.pointee.fh = try context(request).directories.open(try files.list(try inode(number)))
            fuse_reply_open(request, info)
        }
    }
    operations.readdir = { request, number, size, offset, info in
        serve(request, "readdir", nil, kind: .lookup, logs: false) { files, _ throws(PoolError) in
            let directory = try directory(request, info, number, files)
            try context(request).withBuffer(size) { buffer throws(PoolError) in
                let limit = min(size, buffer.count)
                let used = fill(buffer, limit, request, directory, number: number, from: Int(offset))
                fuse_reply_buf(request, buffer.baseAddress, used)
            }
        }
    }
    operations.releasedir = { request, _, info in
        context(request).directories.close(info?.pointee.fh ?? 0)
        fuse_reply_err(request, 0)
    }
    operations.fsyncdir = { request, _, _, _ in fuse_reply_err(request, 0) }
}

private func addAttributeOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.getxattr = { request, number, name, size in
        // Tools ask for many attributes that nobody has; only what must be ours is worth a line.
        serve(request, "getxattr", name, number, kind: .attributes, logs: string(name).hasPrefix("user.volfs.")) { files, _ throws(PoolError) in
            replyBytes(request, try files.attribute(try inode(number), string(name)), size)
        }
    }
    operations.listxattr = { request, number, size in
        serve(request, "listxattr", nil, kind: .attributes, logs: false) { files, _ throws(PoolError) in
            replyBytes(request, try files.attributeNames(try inode(number)).flatMap { Array($0.utf8) + [0] }, size)
        }
    }
    operations.setxattr = { request, number, name, value, size, flags in
        // Whoever copies a file tries access lists, and goes on without them: that is nothing to tell.
        let isAttempt = name.map { strncmp($0, "system.posix_acl_", 17) == 0 } ?? false
        serveOnce(request, "setxattr", name, number, logs: !isAttempt) { files, once, _ throws(PoolError) in
            let create: Int32 = 1, replace: Int32 = 2
            let bytes = Array(UnsafeRawBufferPointer(start: value, count: size))
            // What is too long for an attribute has an error of its own.
            if bytes.count > 3072 { throw .refused(.valueTooLarge(limit: 3072)) }
            let inode = try inode(number), name = string(name)
            _ = try once.run(about: { 0 }, found: { _ in (try? files.attribute(inode, name)) == bytes ? 0 : nil }) { () throws(PoolError) in
                try files.setAttribute(inode, name, bytes, mustBeNew: flags & create != 0, mustExist: flags & replace != 0)
                return 0
            }
            fuse_reply_err(request, 0)
        }
    }
    operations.removexattr = { request, number, name in
        serveOnce(request, "removexattr", name, number) { files, once, _ throws(PoolError) in
            let inode = try inode(number), name = string(name)
            _ = try once.run(about: { 0 }, found: { _ in (try? files.attribute(inode, name)) == nil ? 0 : nil }) { () throws(PoolError) in
                try files.setAttribute(inode, name, nil)
                return 0
            }
            fuse_reply_err(request, 0)
        }
    }
}

/// With a size of 0 the caller only asks how many there are.
private func replyBytes(_ request: fuse_req_t?, _ bytes: [UInt8], _ size: Int) {
    if size == 0 {
        fuse_reply_xattr(request, bytes.count)
    } else if bytes.count > size {
        fuse_reply_err(request, ERANGE)
    } else {
        bytes.withUnsafeBytes { raw in
            _ = raw.withMemoryRebound(to: CChar.self) { fuse_reply_buf(request, $0.baseAddress, $0.count) }
        }
    }
}

/// lseek(2)'s SEEK_DATA and SEEK_HOLE, which Glibc's overlay leaves out.
private let seekData: Int32 = 3
private let seekHole: Int32 = 4

// MARK: Decoding

private func context(_ request: fuse_req_t?) -> FuseContext {
    // Never nil: the session passes userdata before a thread serves it.
    Unmanaged<FuseContext>.fromOpaque(fuse_req_userdata(request)!).takeUnretainedValue()
}

/// Answers `request` exactly once: either `body` replies as its last act, or what it throws is the reply. A refusal is
/// noted under the name it was asked for.
private func serve(
    _ request: fuse_req_t?, _ operation: StaticString, _ name: UnsafePointer<CChar>?, _ number: fuse_ino_t = 0,
    other: UnsafePointer<CChar>? = nil, kind: RequestMetrics.Kind = .change, range: Range<UInt64>? = nil, logs: Bool = true, _ body: (VolumeFileSystem, Caller) throws(PoolError) -> Void
) {
    let files = context(request).files
    let who = fuse_req_ctx(request)
    let caller = Caller(process: who?.pointee.pid ?? 0, uid: who?.pointee.uid ?? 0, gid: who?.pointee.gid ?? 0)
    let start = monotonicClock()
    defer { files.requests.served(kind, nanoseconds: monotonicClock() &- start) }
    do throws(PoolError) {
        try body(files, caller)
    } catch {
        files.requests.refused(errno: error.errno)
        if logs {
            let what = RefusedRequest(
                operation, Inode(number: UInt64(number)), name.map { String(cString: $0) }, other: other.map { String(cString: $0) }, range: range)
            let (object, line) = files.refused(what, by: caller, error)
            let log = context(request).log
            log.write(.debug, "refused", ["operation": "\(operation)", "object": object, "reason": line])
            // What cannot be read is for the log of every level.
            if case .corrupt = error { log.write(.error, "damage", ["operation": "\(operation)", "object": object, "reason": line]) }
        }
        fuse_reply_err(request, error.errno)
    }
}

private func range(_ offset: off_t, _ count: Int) -> Range<UInt64> { UInt64(offset)..<UInt64(offset) + UInt64(count) }

/// As `serve`, for what must not be done twice.
private func serveOnce(
    _ request: fuse_req_t?, _ operation: StaticString, _ name: UnsafePointer<CChar>?, _ number: fuse_ino_t,
    other: UnsafePointer<CChar>? = nil, kind: RequestMetrics.Kind = .change, logs: Bool = true,
    _ body: (VolumeFileSystem, inout OnceOnly, Caller) throws(PoolError) -> Void
) {
    serve(request, operation, name, number, other: other, kind: kind, logs: logs) { files, caller throws(PoolError) in
        var once = OnceOnly(context(request).kept, number: volfs_request())
        defer { once.end() }
        try body(files, &once, caller)
    }
}

private func inode(_ number: fuse_ino_t) throws(PoolError) -> Inode {
    guard let inode = Inode(number: UInt64(number)) else { throw .notFound }
    return inode
}

/// libfuse's strings are never nil where a name is due.
private func string(_ name: UnsafePointer<CChar>?) -> String { name.map { String(cString: $0) } ?? "" }

private func openRequest(_ info: UnsafeMutablePointer<fuse_file_info>?) -> OpenRequest {
    let flags = info?.pointee.flags ?? 0
    return OpenRequest(
        writes: flags & O_ACCMODE != O_RDONLY, truncates: flags & O_TRUNC != 0, isSynchronous: flags & (O_SYNC | O_DSYNC) != 0)
}

private func attributeChanges(
    _ wanted: UnsafeMutablePointer<stat>?, _ valid: Int32, now: () -> UInt64
) -> AttributeChanges {
    var changes = AttributeChanges()
    guard let wanted = wanted?.pointee else { return changes }
    if valid & FUSE_SET_ATTR_MODE != 0 { changes.mode = wanted.st_mode & 0o7777 }
    if valid & FUSE_SET_ATTR_UID != 0 { changes.uid = wanted.st_uid }
    if valid & FUSE_SET_ATTR_GID != 0 { changes.gid = wanted.st_gid }
    if valid & FUSE_SET_ATTR_SIZE != 0 { changes.size = UInt64(max(0, wanted.st_size)) }
    if valid & FUSE_SET_ATTR_MTIME_NOW != 0 {
        changes.modified = now()
    } else if valid & FUSE_SET_ATTR_MTIME != 0 {
        changes.modified = UInt64(min(max(0, wanted.st_mtim.tv_sec), 1 << 33)) * 1_000_000_000 + UInt64(wanted.st_mtim.tv_nsec)
    }
    return changes
}

// MARK: Replying

private func replyEntry(_ request: fuse_req_t?, _ attributes: FileAttributes) {
    var entry = fuse_entry_param()
    entry.ino = fuse_ino_t(attributes.inode)
    entry.attr = status(attributes)
    // No timeout for names, and for attributes only where they stay: a name or a size that `.ctl` changed is seen at once,
    // through whichever path it is looked at.
    entry.attr_timeout = attributeTime(attributes)
    fuse_reply_entry(request, &entry)
}

private func replyAttributes(_ request: fuse_req_t?, _ attributes: FileAttributes) {
    var status = status(attributes)
    fuse_reply_attr(request, &status, attributeTime(attributes))
}

/// Seconds for which the kernel need not ask for attributes. A snapshot's are fixed, but for the time of its renaming, which the
/// next look at its name brings, and for its volume's owner and mode, of which the kernel is told: so reading what is in the page
/// cache asks us nothing.
private func attributeTime(_ attributes: FileAttributes) -> Double { attributes.isImmutable ? 3600 : 0 }

private func status(_ attributes: FileAttributes) -> stat {
    var status = stat()
    status.st_ino = UInt(attributes.inode)
    status.st_mode = type(attributes.kind) | attributes.mode
    // Of a directory too: it says that nothing follows from the number about directories in it.
    status.st_nlink = 1
    status.st_uid = attributes.uid
    status.st_gid = attributes.gid
    status.st_size = off_t(attributes.size)
    status.st_blocks = Int(attributes.allocated / 512)
    status.st_blksize = 128 << 10
    status.st_mtim = time(attributes.modified)
    status.st_atim = status.st_mtim
    status.st_ctim = time(attributes.changed)
    return status
}

/// st_mode's type bits.
private func type(_ kind: Inode.Kind) -> UInt32 {
    switch kind {
    case .file: 0o100000
    case .directory: 0o040000
    case .link: 0o120000
    }
}

private func time(_ nanoseconds: UInt64) -> timespec {
    timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
}

/// f_bsize becomes a loop device's discard granularity, so it is the unit of allocation.
private func statusOfPool(_ files: VolumeFileSystem) -> statvfs {
    let usage = files.usage
    let unit = UInt(usage.blockSize)
    var status = statvfs()
    status.f_bsize = unit
    status.f_frsize = unit
    status.f_blocks = UInt(usage.capacity) / unit
    status.f_bfree = UInt(usage.free) / unit
    status.f_bavail = UInt(usage.available) / unit
    status.f_namemax = 255
    return status
}

/// What an opendir has read; after another daemon's, as it is now.
private func directory(
    _ request: fuse_req_t?, _ info: UnsafeMutablePointer<fuse_file_info>?, _ number: fuse_ino_t, _ files: VolumeFileSystem
) throws(PoolError) -> OpenDirectory {
    let directories = context(request).directories, handle = info?.pointee.fh ?? 0
    if let directory = directories[handle] { return directory }
    guard let directory = directories[try directories.open(try files.list(try inode(number)), as: handle)] else { throw .notFound }
    return directory
}

/// Puts entries from ordinal `start` on into `buffer` while they fit, `.` and `..` first. Returns the bytes used.
private func fill(
    _ buffer: UnsafeMutableRawBufferPointer, _ limit: Int, _ request: fuse_req_t?, _ directory: OpenDirectory,
    number: fuse_ino_t, from start: Int
) -> Int {
    var used = 0
    var ordinal = start
    // Another daemon may have listed more.
    while ordinal >= 0, ordinal < directory.entries.count + 2 {
        var status = stat()
        var name = ordinal == 0 ? "." : ".."
        status.st_ino = UInt(number)
        status.st_mode = type(.directory)
        if ordinal >= 2 {
            let entry = directory.entries[ordinal - 2]
            name = entry.name
            status.st_ino = UInt(entry.inode.number)
            status.st_mode = type(entry.inode.kind)
        }
        let rest = buffer.part(used..<limit)
        let needed = fuse_add_direntry(
            request, rest.baseAddress?.assumingMemoryBound(to: CChar.self), rest.count, name, &status, off_t(ordinal + 1))
        if needed > rest.count { break }
        used += needed
        ordinal += 1
    }
    return used
}

private func configure(_ connection: UnsafeMutablePointer<fuse_conn_info>?, _ userdata: UnsafeMutableRawPointer?) {
    guard let connection, let userdata else { return }
    let context = Unmanaged<FuseContext>.fromOpaque(userdata).takeUnretainedValue()
    let maximumRead = context.maximumRead
    // The mount has it as an option too: libfuse wants both to be the same.
    if maximumRead > 0 { connection.pointee.max_read = maximumRead }
    connection.pointee.max_write = UInt32(FuseContext.maximumTransfer)
    connection.pointee.max_background = 64
    connection.pointee.congestion_threshold = 48
    // Numbers of inodes mean the same for ever, so they can be looked up by who was given them.
    connection.pointee.want |= connection.pointee.capable & UInt32(FUSE_CAP_EXPORT_SUPPORT)
    // The bytes are needed in memory for their checksums: splicing would only add system calls.
    connection.pointee.want &= ~UInt32(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE)
    if let inherited = context.inherited {
        // The kernel keeps to what it agreed on with another daemon, whose libfuse may have been another.
        if inherited.capabilities & ~connection.pointee.capable != 0 || inherited.maximumWrite > UInt32(FuseContext.maximumTransfer) { return }
        connection.pointee.want = inherited.capabilities
        connection.pointee.max_write = inherited.maximumWrite
        connection.pointee.max_readahead = inherited.readAhead
    }
    context.agreement = FuseContext.Agreement(
        maximumWrite: connection.pointee.max_write, readAhead: connection.pointee.max_readahead, capabilities: connection.pointee.want)
}
