public import BlockStorage
internal import CLinux
internal import Glibc

/// Lets a thread sleep until another has something for it. What comes before the sleep is not lost; several count as one.
public final class WakeEvent: Sendable {
    private let descriptor: FileDescriptor

    public init() throws(PoolError) {
        descriptor = FileDescriptor(owning: try systemCall(.open) { volfs_wake_descriptor() })
    }

    var raw: Int32 { descriptor.raw }

    /// Ends one sleep, the present or the next one. Any thread may call; it never waits.
    public func wake() {
        var one: UInt64 = 1
        // It fails only where the counter is full, and then the sleeper wakes anyway.
        _ = write(descriptor.raw, &one, 8)
    }

    /// Returns after a `wake`, or after so many milliseconds; nil is for ever. One thread may call.
    public func sleep(milliseconds: Int?) {
        var wanted = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        if poll(&wanted, 1, milliseconds.map { Int32(min($0, 1 << 30)) } ?? -1) > 0 { clear() }
    }

    func clear() {
        var count: UInt64 = 0
        _ = read(descriptor.raw, &count, 8)
    }
}
