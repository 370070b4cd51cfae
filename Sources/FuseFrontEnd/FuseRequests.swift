internal import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import VolumeFS

// From libfuse's requests to the file system's values.

func context(_ request: fuse_req_t?) -> FuseContext {
    // Never nil: the session passes userdata before a thread serves it.
    Unmanaged<FuseContext>.fromOpaque(fuse_req_userdata(request)!).takeUnretainedValue()
}

/// Answers `request` exactly once: either `body` replies as its last act, or what it throws is the reply; but for what is left to the
/// next daemon. A refusal is noted under the name it was asked for.
func serve(
    _ request: fuse_req_t?, _ operation: StaticString, _ name: UnsafePointer<CChar>?, _ number: fuse_ino_t = 0,
    other: UnsafePointer<CChar>? = nil, kind: RequestMetrics.Kind = .change, range: Range<UInt64>? = nil, handle: UInt64? = nil, logs: Bool = true,
    _ body: (VolumeFileSystem, Caller) throws(PoolError) -> Void
) {
    let files = context(request).files
    let who = fuse_req_ctx(request)
    let caller = Caller(process: who?.pointee.pid ?? 0, uid: who?.pointee.uid ?? 0, gid: who?.pointee.gid ?? 0)
    let start = monotonicClock()
    defer { files.requests.served(kind, nanoseconds: monotonicClock() &- start) }
    do throws(PoolError) {
        try body(files, caller)
    } catch {
        // The kernel asks the next daemon for it.
        if error == .refused(.isHandedOver), context(request).kept?.repeats == true { return context(request).noteLeft() }
        if !isMiss(kind, error.errno) { files.requests.refused(errno: error.errno) }
        if logs || isMisnamed(error) {
            let what = RefusedRequest(
                operation, Inode(number: UInt64(number)), name.map { String(cString: $0) }, other: other.map { String(cString: $0) }, range: range,
                handle: handle)
            let (object, line) = files.refused(what, by: caller, error)
            let log = context(request).log
            log.write(.debug, "refused", ["operation": "\(operation)", "object": object, "reason": line])
            // What cannot be read is for the log of every level.
            if case .corrupt = error { log.write(.error, "damage", ["operation": "\(operation)", "object": object, "reason": line]) }
        }
        fuse_reply_err(request, error.errno)
    }
}

/// Who looks for a name or an attribute that is not there has an answer, and nothing went wrong.
private func isMiss(_ kind: RequestMetrics.Kind, _ errno: Int32) -> Bool {
    kind == .lookup && errno == ENOENT || kind == .attributes && errno == ENODATA
}

/// Of the names that are looked up, a difference that there cannot be.
private func isMisnamed(_ error: PoolError) -> Bool {
    switch error {
    case .refused(.headIsTwo), .refused(.differenceIsTwo), .refused(.differenceOfOthers): true
    default: false
    }
}

func range(_ offset: off_t, _ count: Int) -> Range<UInt64> { UInt64(offset)..<UInt64(offset) + UInt64(count) }

/// As `serve`, for what must not be done twice.
func serveOnce(
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

func inode(_ number: fuse_ino_t) throws(PoolError) -> Inode {
    guard let inode = Inode(number: UInt64(number)) else { throw .notFound }
    return inode
}

/// libfuse's strings are never nil where a name is due.
func string(_ name: UnsafePointer<CChar>?) -> String { name.map { String(cString: $0) } ?? "" }

func openRequest(_ info: UnsafeMutablePointer<fuse_file_info>?) -> OpenRequest {
    let flags = info?.pointee.flags ?? 0
    return OpenRequest(
        writes: flags & O_ACCMODE != O_RDONLY, truncates: flags & O_TRUNC != 0, isSynchronous: flags & (O_SYNC | O_DSYNC) != 0)
}

func attributeChanges(
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
