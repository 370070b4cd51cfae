internal import BlockStorage
internal import CFuse
internal import CLinux
internal import Glibc
internal import LinuxIO
internal import Synchronization
internal import VolumeFS

/// A mounted libfuse session and the threads that serve it.
///
/// Sendable: libfuse allows its receive, process and reply calls from any number of threads.
final class FuseSession: @unchecked Sendable {
    private let session: OpaquePointer
    private let context: Unmanaged<FuseContext>
    private let log: Log
    private let isLeaving = Atomic(false)

    /// The kernel's first request.
    let initial: [UInt8]

    /// Mounts, or goes on with what `options` has of another daemon. Throws `.system(.mount, …)` if libfuse or the kernel refuses,
    /// or if what was agreed on with the kernel cannot be kept.
    init(files: VolumeFileSystem, options: MountOptions) throws(PoolError) {
        let context = FuseContext(files: files, options: options)
        log = options.log
        let session = try Self.make(options, context)
        self.session = session
        context.begin(session)
        do throws(PoolError) {
            initial = try Self.mount(session, options)
            try Self.agree(session, context, options.kept == nil ? initial : KernelOffer(initial).repeated)
        } catch {
            fuse_session_unmount(session)
            fuse_session_destroy(session)
            throw error
        }
        self.context = Unmanaged.passRetained(context)
    }

    /// Returns the kernel's first request.
    private static func mount(_ session: OpaquePointer, _ options: MountOptions) throws(PoolError) -> [UInt8] {
        // libfuse takes this for a descriptor that somebody has opened and mounted with.
        let place = options.kept.map { "/dev/fd/\($0.descriptor)" } ?? options.mountpoint
        guard fuse_session_mount(session, place) == 0 else { throw .system(.mount, errno: errno == 0 ? ENODEV : errno) }
        return options.kept?.record.initial ?? receiveInitial(session)
    }

    private static func make(_ options: MountOptions, _ context: FuseContext) throws(PoolError) -> OpaquePointer {
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
        var operations = makeOperations()
        let count = Int32(pointers.count)
        let created = pointers.withUnsafeMutableBufferPointer { buffer in
            var arguments = fuse_args(argc: count, argv: buffer.baseAddress, allocated: 0)
            return volfs_session_new(&arguments, &operations, Unmanaged.passUnretained(context).toOpaque())
        }
        guard let created else { throw .system(.mount, errno: EINVAL) }
        return created
    }

    /// What the kernel sends first, once the mount is there.
    private static func receiveInitial(_ session: OpaquePointer) -> [UInt8] {
        var buffer = fuse_buf()
        defer { free(buffer.mem) }
        while true {
            let count = fuse_session_receive_buf(session, &buffer)
            if count > 0 { return Array(UnsafeRawBufferPointer(start: buffer.mem, count: Int(count))) }
            if count != -EINTR && count != -EAGAIN { return [] }
        }
    }

    /// Has libfuse answer the kernel's first request.
    private static func agree(_ session: OpaquePointer, _ context: FuseContext, _ request: [UInt8]) throws(PoolError) {
        guard KernelOffer(request).isInitial else { throw .system(.mount, errno: EPROTO) }
        var copy = request
        copy.withUnsafeMutableBytes { bytes in
            var buffer = fuse_buf()
            buffer.mem = bytes.baseAddress
            buffer.size = bytes.count
            fuse_session_process_buf(session, &buffer)
        }
        guard fuse_session_exited(session) == 0, context.agreement != nil else { throw .system(.mount, errno: EPROTO) }
    }

    var descriptor: Int32 { fuse_session_fd(session) }
    /// What was agreed on with the kernel.
    var agreement: FuseContext.Agreement? { context.takeUnretainedValue().agreement }

    /// From now on who opens and what is begun is noted in `kept`.
    func note(in kept: KeptMount) { context.takeUnretainedValue().keep(kept) }

    /// Requests that are left to the daemon after this one.
    var leftCount: Int { context.takeUnretainedValue().leftCount }

    /// Has the kernel send again what another daemon has received and not answered. Returns an errno, or 0.
    func askAgain() -> Int32 {
        var notice = fuse_out_header(len: UInt32(MemoryLayout<fuse_out_header>.size), error: KernelOffer.resendNotice, unique: 0)
        return write(descriptor, &notice, MemoryLayout<fuse_out_header>.size) < 0 ? errno : 0
    }

    /// Makes `serve` return in threads that come by; those that wait for a request need an interruption. libfuse's own flag would
    /// have it drop a request that comes before the interruption does.
    func leave() { isLeaving.store(true, ordering: .sequentiallyConsistent) }

    /// Serves requests on this thread until the mount is gone, or `ended`, which is called after each request, returns true.
    func serve(began: () -> Void, ended: () -> Bool) {
        var buffer = fuse_buf()
        if context.takeUnretainedValue().kept != nil { buffer.mem = Self.touchedMemory() }
        defer { free(buffer.mem) }
        while fuse_session_exited(session) == 0 && !isLeaving.load(ordering: .sequentiallyConsistent) {
            let count = receive(&buffer)
            switch count {
            case 1...:
                began()
                process(&buffer, Int(count))
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

    /// Bytes of the next request; 0 or a negative errno if there is none.
    private func receive(_ buffer: inout fuse_buf) -> Int32 {
        guard let resent = context.takeUnretainedValue().kept?.resent, !resent.isOver else { return fuse_session_receive_buf(session, &buffer) }
        var count = -EINTR
        resent.take {
            // It may have been said while this thread waited for its turn.
            if isLeaving.load(ordering: .sequentiallyConsistent) { return nil }
            count = fuse_session_receive_buf(session, &buffer)
            return count > 0 ? KernelOffer.kind(UnsafeRawBufferPointer(start: buffer.mem, count: Int(count))) : nil
        }
        return count
    }

    /// Memory for the largest request and its header, as libfuse would allocate it. The kernel ends a request with EIO if it copies
    /// it for a thread that is being killed to a page that is not there yet; so all pages are.
    private static func touchedMemory() -> UnsafeMutableRawPointer? {
        let size = FuseContext.maximumTransfer + 64 << 10
        guard let memory = malloc(size) else { return nil }
        // What is nothing but zeros could be had without a page.
        memset(memory, 1, size)
        return memory
    }

    private func process(_ buffer: inout fuse_buf, _ count: Int) {
        KernelOffer.adapt(UnsafeMutableRawBufferPointer(start: buffer.mem, count: count))
        let header = UnsafeRawBufferPointer(start: buffer.mem, count: count), number: UInt64 = header.integer(at: KernelOffer.unique)
        volfs_begin_request(number & ~KernelOffer.resentBit)
        guard KernelOffer.kind(header) == .resent, let kept = context.takeUnretainedValue().kept else { return fuse_session_process_buf(session, &buffer) }
        defer { if !kept.resent.isOver { kept.resent.done() } }
        let resent = number & ~KernelOffer.resentBit
        guard kept.tried.begin(resent) else { return giveUp(number) }
        fuse_session_process_buf(session, &buffer)
        kept.tried.end(resent)
    }

    /// Several daemons in a row have ended over a request.
    private func giveUp(_ number: UInt64) {
        log.write(.error, "a request that was sent again and again is given up", ["number": "\(number & ~KernelOffer.resentBit)"])
        var reply = fuse_out_header(len: UInt32(MemoryLayout<fuse_out_header>.size), error: -EIO, unique: number)
        _ = write(descriptor, &reply, MemoryLayout<fuse_out_header>.size)
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
