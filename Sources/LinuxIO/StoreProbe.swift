public import BlockStorage
internal import Glibc

/// Tells whether a service manager keeps what it is given: a pipe of which it has one end. A manager that keeps nothing closes
/// it, which the other end sees. A manager that does keeps it until this process ends, and then sees that nobody reads it.
public struct StoreProbe: ~Copyable, Sendable {
    private let reader: FileDescriptor

    /// To be sent after what is to be kept, so that there was room for that.
    public init(name: String) throws(PoolError) {
        var ends: [Int32] = [0, 0]
        _ = try systemCall(.open) { pipe(&ends) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        reader = FileDescriptor(owning: ends[0])
        DescriptorStore.keep(ends[1], as: name)
        close(ends[1])
    }

    /// False if the manager has refused, or there is none.
    public var isKept: Bool {
        var wanted = pollfd(fd: reader.raw, events: 0, revents: 0)
        return poll(&wanted, 1, 0) == 0
    }
}
