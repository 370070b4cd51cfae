internal import CLinux
internal import Glibc
internal import Synchronization

/// Descriptors that a service manager keeps for a daemon and gives to the next one (sd_pid_notify_with_fds(3),
/// sd_listen_fds_with_names(3)). Any thread may call.
public final class DescriptorStore: Sendable {
    /// By name; closed with their owner.
    private let descriptors: Mutex<[String: Int32]>

    private init(_ descriptors: [String: Int32]) { self.descriptors = Mutex(descriptors) }

    deinit { for descriptor in descriptors.withLock({ $0.values }) { close(descriptor) } }

    /// What a daemon before this one has left. To be called once, before anything else is opened: what is received is closed in
    /// programs that we start, and those do not hear of it.
    public static func received() -> DescriptorStore {
        defer { for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) } }
        func variable(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }
        guard variable("LISTEN_PID") == "\(getpid())", let count = Int32(variable("LISTEN_FDS")), (1...1024).contains(count) else {
            return DescriptorStore([:])
        }
        let names = variable("LISTEN_FDNAMES").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        var found: [String: Int32] = [:]
        for index in 0..<count {
            let descriptor = 3 + index
            guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else { continue }
            let name = Int(index) < names.count ? names[Int(index)] : ""
            // Of several of a name the first is the one that was kept first.
            if found[name] == nil { found[name] = descriptor } else { close(descriptor) }
        }
        return DescriptorStore(found)
    }

    public var names: [String] { descriptors.withLock { $0.keys.sorted() } }

    /// The descriptor of that name, once.
    public func take(_ name: String) -> FileDescriptor? {
        descriptors.withLock { $0.removeValue(forKey: name) }.map { FileDescriptor(owning: $0) }
    }

    /// Has the manager keep a copy. Whether it does is not told.
    package static func keep(_ descriptor: Int32, as name: String) { ServiceManager.send("FDSTORE=1\nFDNAME=\(name)", with: descriptor) }

    /// Has the manager close all that it keeps under a name.
    public static func forget(_ name: String) { ServiceManager.notify("FDSTOREREMOVE=1\nFDNAME=\(name)") }
}
