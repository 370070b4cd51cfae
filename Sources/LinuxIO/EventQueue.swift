public import BlockStorage
internal import CLinux
internal import Glibc

/// Tells which of many descriptors has become readable or writable. Each change is told once, to one of the threads that wait; after
/// `tellOnce` nothing is told but what it asks for, once. Any thread may call anything.
public struct EventQueue: ~Copyable, Sendable {
    private let poll: FileDescriptor
    private let bell: FileDescriptor

    /// What has happened to the descriptor of `key`.
    public struct Event: Sendable {
        public var key: UInt64
        /// Something can be received, or that nothing more comes.
        public var hasInput: Bool
        /// Something can be sent.
        public var takesOutput: Bool
        /// The peer neither sends nor receives: the connection is broken, or closed on both sides.
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

    /// Asks for one event more of a socket that is watched: when something can be received, or sent, or either; at once if it can
    /// already. Its other changes are no longer told. Never waits.
    public func tellOnce(_ socket: borrowing Socket, key: UInt64, input: Bool, output: Bool) {
        // It cannot fail: the socket is watched, and changing that takes no memory.
        let result = volfs_poll_once(poll.raw, socket.descriptor.raw, key, input ? 1 : 0, output ? 1 : 0)
        precondition(result == 0, "a socket that is not watched")
    }

    /// Wakes one of the threads that wait.
    public func ring() { _ = volfs_event_signal(bell.raw) }

    /// The next event, or nil when none came within `milliseconds`; -1 waits for ever.
    public func wait(milliseconds: Int32) -> Event? {
        var key: UInt64 = 0, kind: Int32 = 0
        guard volfs_poll_wait(poll.raw, &key, &kind, milliseconds) == 1 else { return nil }
        return Event(key: key, hasInput: kind & 3 != 0, takesOutput: kind & 5 != 0, isGone: kind & 1 != 0)
    }
}
