internal import BlockStorage
internal import CFuse
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// A mounted libfuse session and the threads that serve it.
///
/// Sendable: libfuse allows its receive, process and reply calls from any number of threads.
final class FuseSession: @unchecked Sendable {
    private let session: OpaquePointer
    private let context: Unmanaged<FuseContext>
    private let log: Log

    /// Mounts. Throws `.system(.mount, …)` if libfuse or the kernel refuses.
    init(files: VolumeFileSystem, options: MountOptions) throws(PoolError) {
        var mountOptions = [
            "fsname=\(Self.escaped(options.source))", "subtype=volfs", "default_permissions", "noatime",
            options.isReadOnly ? "ro" : "rw",
        ] + options.kernelOptions.map(Self.escaped)
        if options.access != .owner { mountOptions.append(options.access == .root ? "allow_root" : "allow_other") }
        if options.maximumRead > 0 { mountOptions.append("max_read=\(options.maximumRead)") }
        var words = ["volfs", "-o", mountOptions.joined(separator: ",")]
        if options.debugs { words.append("-d") }
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        let context = Unmanaged.passRetained(FuseContext(files: files, options: options))
        self.context = context
        log = options.log
        var operations = makeOperations()
        let count = Int32(pointers.count)
        let created = pointers.withUnsafeMutableBufferPointer { buffer in
            var arguments = fuse_args(argc: count, argv: buffer.baseAddress, allocated: 0)
            return volfs_session_new(&arguments, &operations, context.toOpaque())
        }
        guard let created else {
            context.release()
            throw .system(.mount, errno: EINVAL)
        }
        session = created
        context.takeUnretainedValue().begin(created)
        guard fuse_session_mount(session, options.mountpoint) == 0 else {
            let problem = errno
            fuse_session_destroy(session)
            context.release()
            throw .system(.mount, errno: problem == 0 ? ENODEV : problem)
        }
    }

    /// Serves requests on this thread until the mount is gone, or `ended`, which is called after each request, returns true.
    func serve(began: () -> Void, ended: () -> Bool) {
        var buffer = fuse_buf()
        defer { free(buffer.mem) }
        while fuse_session_exited(session) == 0 {
            let count = fuse_session_receive_buf(session, &buffer)
            switch count {
            case 1...:
                began()
                fuse_session_process_buf(session, &buffer)
                if ended() { return }
            case 0, -ENODEV, -ECONNABORTED: return
            case -EINTR, -EAGAIN: continue
            default:
                // Out of memory, say. To give up would end the mount under everything that uses it.
                log.write(.error, "cannot receive requests; trying again", ["reason": String(cString: strerror(-Int32(count)))])
                pause(milliseconds: 100)
            }
        }
    }

    /// Ends a session that no thread serves any more.
    func close() {
        fuse_session_unmount(session)
        fuse_session_destroy(session)
        context.release()
    }

    /// A comma would end the option; libfuse unescapes a backslash.
    private static func escaped(_ path: String) -> String {
        var result = ""
        for character in path {
            if character == "," || character == "\\" { result.append("\\") }
            result.append(character)
        }
        return result
    }
}
