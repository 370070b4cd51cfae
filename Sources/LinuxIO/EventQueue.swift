public import BlockStorage
internal import CLinux
internal import Glibc

/// Tells which of many descriptors has become readable or writable. Edge-triggered: each change is told once, to one of the
/// threads that wait. Any thread may call anything.
public struct EventQueue: ~Copyable, Sendable {
    private let poll: FileDescriptor
    private let bell: FileDescriptor

    /// What has happened to the descriptor of `key`.
    public struct Event: Sendable {
        public var key: UInt64
        /// The peer sends no more.
        public var hasEnded: Bool
        /// Nor does it receive: the connection is broken, or closed on both sides.
        public var isGone: Bool
    }

    /// `bellKey` is the key of `ring()`.
    public init(bellKey: UInt64) throws(PoolError) {
        let poll = FileDescriptor(owning: try systemCall(.poll) { volfs_poll_create() })
        let bell = FileDescriptor(owning: try systemCall(.poll) { volfs_event_create() })
        let (queue, raw) = (poll.raw, bell.raw)
        _ = try systemCall(.poll) { volfs_poll_add(queue, raw, bellKey) }
        self.poll = poll
        self.bell = bell
    }

    /// Watches a socket for as long as it is open.
    public func watch(_ socket: borrowing Socket, key: UInt64) throws(PoolError) {
        let (queue, raw) = (poll.raw, socket.descriptor.raw)
        _ = try systemCall(.poll) { volfs_poll_add(queue, raw, key) }
    }

    /// Wakes one of the threads that wait.
    public func ring() { _ = volfs_event_signal(bell.raw) }

    /// The next event, or nil when none came within `milliseconds`; -1 waits for ever.
    public func wait(milliseconds: Int32) -> Event? {
        var key: UInt64 = 0, hasEnded: Int32 = 0
        guard volfs_poll_wait(poll.raw, &key, &hasEnded, milliseconds) == 1 else { return nil }
        return Event(key: key, hasEnded: hasEnded != 0, isGone: hasEnded == 2)
    }
}
