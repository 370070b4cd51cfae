internal import BlockStorage
internal import CFuse
internal import Glibc
internal import PoolEngine
internal import VolumeFS

// From the file system's values to libfuse's replies.

/// With a size of 0 the caller only asks how many there are.
func replyBytes(_ request: fuse_req_t?, _ bytes: [UInt8], _ size: Int) {
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

func replyEntry(_ request: fuse_req_t?, _ attributes: FileAttributes) {
    var entry = fuse_entry_param()
    entry.ino = fuse_ino_t(attributes.inode)
    entry.attr = status(attributes)
    // No timeout for names, and for attributes only where they stay: a name or a size that `.ctl` changed is seen at once,
    // through whichever path it is looked at.
    entry.attr_timeout = attributeTime(request, attributes)
    fuse_reply_entry(request, &entry)
}

func replyAttributes(_ request: fuse_req_t?, _ attributes: FileAttributes) {
    var status = status(attributes)
    fuse_reply_attr(request, &status, attributeTime(request, attributes))
}

/// Seconds for which the kernel need not ask for attributes. A snapshot's size is fixed, so reading what is in the page cache asks
/// us nothing; owner and mode are its volume's, and the kernel is told when those change, but for an inode that it is only just
/// getting to know: that one asks again soon.
func attributeTime(_ request: fuse_req_t?, _ attributes: FileAttributes) -> Double {
    attributes.isImmutable ? context(request).attributeSeconds : 0
}

func status(_ attributes: FileAttributes) -> stat {
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
func type(_ kind: Inode.Kind) -> UInt32 {
    switch kind {
    case .file: 0o100000
    case .directory: 0o040000
    case .link: 0o120000
    }
}

func time(_ nanoseconds: UInt64) -> timespec {
    timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
}

/// f_bsize becomes a loop device's discard granularity, so it is the unit of allocation.
func statusOfPool(_ files: VolumeFileSystem) -> statvfs {
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
func directory(
    _ request: fuse_req_t?, _ info: UnsafeMutablePointer<fuse_file_info>?, _ number: fuse_ino_t, _ files: VolumeFileSystem
) throws(PoolError) -> OpenDirectory {
    let directories = context(request).directories, handle = info?.pointee.fh ?? 0
    if let directory = directories[handle] { return directory }
    guard let directory = directories[try directories.open(try files.list(try inode(number)), as: handle)] else { throw .notFound }
    return directory
}

/// Puts entries from ordinal `start` on into `buffer` while they fit, `.` and `..` first. Returns the bytes used.
func fill(
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
