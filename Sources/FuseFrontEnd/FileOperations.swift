internal import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

// What libfuse calls about open files and their bytes.

func addFileOperations(_ operations: inout fuse_lowlevel_ops) {
    operations.create = { request, parent, name, mode, info in
        serveOnce(request, "create", name, parent, kind: .open) { files, once, caller throws(PoolError) in
            var wanted = openRequest(info), file: OpenFile?
            let parent = try inode(parent), name = string(name)
            forgetOpen(request)
            let volume = try once.make(files, parent, name) { () throws(PoolError) in
                let made = try files.create(parent, name, mode: mode, wanted, by: caller)
                file = made.file
                return made.inode
            }
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
func forgetOpen(_ request: fuse_req_t?) {
    guard let kept = context(request).kept, let opened = kept.handles.takeInherited(openedBy: volfs_request()) else { return }
    context(request).files.release(.file(opened.object), handle: opened.handle)
}

/// Notes for the next daemon what is open from the reply on.
func noteOpen(_ request: fuse_req_t?, _ inode: Inode, _ file: OpenFile) throws(PoolError) {
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
func rollBack(_ request: fuse_req_t?, _ inode: Inode, _ bytes: UnsafeRawBufferPointer) throws(PoolError) {
    var once = OnceOnly(context(request).kept, number: volfs_request())
    defer { once.end() }
    _ = try once.run(about: { 0 }, found: { _ throws(PoolError) in throw .system(.pread, errno: ECONNABORTED) }) { () throws(PoolError) in
        try context(request).files.write(inode, at: 0, bytes)
        return 0
    }
    fuse_reply_write(request, bytes.count)
}

let eventsNumber = Inode.events.number

/// A request that is answered later, by another thread. Sendable: libfuse lets any thread reply.
private struct WaitingRequest: @unchecked Sendable {
    let request: fuse_req_t?
}

/// Occupies no thread while nothing happens. An interruption can come at any time from here on, even in the middle of the call
/// that asks to be told of one, where a reply would free the request under libfuse: so it is announced before.
func readEvents(_ request: fuse_req_t?, _ count: Int, _ info: UnsafeMutablePointer<fuse_file_info>?) {
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

/// lseek(2)'s SEEK_DATA and SEEK_HOLE, which Glibc's overlay leaves out.
let seekData: Int32 = 3
let seekHole: Int32 = 4
