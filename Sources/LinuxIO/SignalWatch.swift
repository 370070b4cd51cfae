public import BlockStorage
internal import CLinux
internal import Glibc

/// Waits for blocked signals, for a wake-up, and for changes of the mount table at once, and takes no processor time meanwhile.
public final class SignalWatch: Sendable {
    public enum Event: Equatable, Sendable {
        case signal(Int32)
        /// Something was mounted, moved or unmounted.
        case mounts
        /// A wake-up, or the end of the time.
        case other
    }

    private let signals: FileDescriptor
    private let mounts: FileDescriptor
    private let wakeEvent: WakeEvent

    /// Takes the `signals`, which every thread must have blocked.
    public init(_ signals: [Int32], wakeEvent: WakeEvent) throws(PoolError) {
        self.wakeEvent = wakeEvent
        self.signals = FileDescriptor(owning: try systemCall(.open) { volfs_signal_descriptor(signals, Int32(signals.count)) })
        mounts = try FileDescriptor(opening: "/proc/self/mountinfo", flags: O_RDONLY)
    }

    /// The next event, or `.other` after so many milliseconds; nil is for ever. The mount table counts only with `mounts`; what
    /// changed since it was last waited for does. One thread may call.
    public func next(mounts watchesMounts: Bool, milliseconds: Int?) -> Event {
        // A descriptor below 0 is passed over: the mount table's reports its changes whatever is asked of it.
        var wanted = [
            pollfd(fd: signals.raw, events: Int16(POLLIN), revents: 0), pollfd(fd: wakeEvent.raw, events: Int16(POLLIN), revents: 0),
            pollfd(fd: watchesMounts ? mounts.raw : -1, events: Int16(POLLPRI), revents: 0),
        ]
        guard poll(&wanted, 3, milliseconds.map { Int32(min($0, 1 << 30)) } ?? -1) > 0 else { return .other }
        if wanted[1].revents != 0 { wakeEvent.clear() }
        if wanted[0].revents != 0 {
            let number = volfs_next_signal(signals.raw)
            if number > 0 { return .signal(number) }
        }
        return wanted[2].revents != 0 ? .mounts : .other
    }
}
