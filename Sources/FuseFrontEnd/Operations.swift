internal import BlockStorage
internal import CFuse
internal import Glibc
internal import LinuxIO
internal import VolumeFS

// What libfuse calls, on our threads. Each callback decodes, makes one call of `VolumeFileSystem`, and replies exactly
// once, as its last act, with no lock held.

/// `userdata` is the session's `FuseContext`, which outlives the threads.
func makeOperations() -> fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    operations.`init` = { userdata, connection in configure(connection, userdata) }
    operations.lookup = { request, parent, name in
        serve(request, "lookup", name, parent, kind: .lookup, logs: false) { files, _ throws(PoolError) in
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
        serve(request, "setattr", nil, number, handle: info?.pointee.fh) { files, _ throws(PoolError) in
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
            let made = try once.make(files, parent, name) { () throws(PoolError) in try files.makeDirectory(parent, name, by: caller) }
            replyEntry(request, try files.attributes(made))
        }
    }
    operations.rmdir = { request, parent, name in
        serveOnce(request, "rmdir", name, parent) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name)
            try once.remove(files, parent, name) { () throws(PoolError) in try files.removeDirectory(parent, name, by: caller) }
            fuse_reply_err(request, 0)
        }
    }
    operations.unlink = { request, parent, name in
        serveOnce(request, "unlink", name, parent) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name)
            try once.remove(files, parent, name) { () throws(PoolError) in try files.unlink(parent, name, by: caller) }
            fuse_reply_err(request, 0)
        }
    }
    operations.symlink = { request, target, parent, name in
        serveOnce(request, "symlink", name, parent, other: target) { files, once, caller throws(PoolError) in
            let parent = try inode(parent), name = string(name), target = string(target)
            let made = try once.make(files, parent, name) { () throws(PoolError) in
                try files.makeLink(parent, name, target: target, by: caller)
            }
            replyEntry(request, try files.attributes(made))
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
