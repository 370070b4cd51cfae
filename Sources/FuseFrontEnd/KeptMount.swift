internal import BlockStorage
internal import Glibc
package import LinuxIO
internal import Synchronization

/// A mount that outlives its daemon: a service manager keeps its descriptor and what the next daemon needs to know, and that one
/// goes on where this one stopped. Any thread may call.
///
/// The memory that is kept has a `MountRecord`, a page of words that change, a table of open files and one of requests that must
/// not be done twice:
///
///     offset  size  field
///      12288     8  generation  daemons that have served the mount before
///      12296     8  answered    1 once nothing is under way any more
///      12304     8  used        slots of the table of open files that were ever used
///      12352  1024  tried       what is carried out once more
///      16384        open files, 64 bytes each
///                   requests, 64 bytes each
package final class KeptMount: Sendable {
    package let record: MountRecord
    package let handles: HandleTable
    let requests: RequestTable
    let tried: TriedRequests
    let resent: ResentRequests
    /// Whether the next daemon can have again what this one has not answered.
    let repeats: Bool
    private let memory: MemoryFile
    private let device: Mutex<Int32>
    private let probe = Mutex<StoreProbe?>(nil)

    private static let names = (device: "volfs-fuse", memory: "volfs-mount", probe: "volfs-probe")
    private enum Offset { static let generation = MountRecord.size, answered = 12296, used = 12304, tried = 12352, handles = 16384 }

    /// What keeps a descriptor from being taken over.
    package enum Obstacle: Error, Equatable, Sendable {
        case record(MountRecord.Problem)
        /// One of the descriptors is missing, or is not what it should be.
        case incomplete
    }

    /// A mount of our own, from `session` on.
    init(_ session: FuseSession, _ record: MountRecord) throws(PoolError) {
        let size = Offset.handles + Int(record.slots) * OpenHandle.size + Int(record.intents) * BegunRequest.size
        memory = try MemoryFile(name: "volfs", size: size)
        record.encode(into: memory.bytes)
        self.record = record
        do throws(MountRecord.Problem) {
            (handles, requests) = try Self.tables(memory.bytes, record)
        } catch {
            preconditionFailure("zeroed memory is damaged")
        }
        tried = Self.tried(memory.bytes)
        repeats = KernelOffer(record.initial).resends
        // There was no daemon before.
        resent = ResentRequests(isOver: true) {}
        device = Mutex(session.descriptor)
        set(Offset.answered, 1)
    }

    /// What another daemon has left, or nil if there is nothing, only of a mount that is gone, or of one whose daemon was killed
    /// on a kernel that cannot say what was under way: that one is detached, and what is open there fails.
    package init?(_ store: DescriptorStore) throws(Obstacle) {
        let device = store.take(Self.names.device), memory = store.take(Self.names.memory)
        _ = store.take(Self.names.probe)
        guard let device else {
            if memory != nil { Self.forgetAll() }
            return nil
        }
        guard device.isFuse else { throw .incomplete }
        guard device.isConnected else {
            Self.forgetAll()
            return nil
        }
        guard let memory else { throw .incomplete }
        do throws(PoolError) {
            self.memory = try MemoryFile(memory)
        } catch {
            throw .incomplete
        }
        do throws(MountRecord.Problem) {
            record = try MountRecord(decoding: UnsafeRawBufferPointer(self.memory.bytes))
            (handles, requests) = try Self.tables(self.memory.bytes, record)
        } catch {
            throw .record(error)
        }
        tried = Self.tried(self.memory.bytes)
        repeats = KernelOffer(record.initial).resends
        resent = ResentRequests(isOver: false) { [handles, requests, tried] in
            requests.forgetInherited()
            tried.forgetAll()
            handles.forgetOpeners()
        }
        self.device = Mutex(device.take())
        if !wasAnswered && !repeats {
            if MountInfo.top(at: record.mountpoint)?.device == record.device { umount2(record.mountpoint, Int32(MNT_DETACH)) }
            Self.forgetAll()
            close(descriptor)
            return nil
        }
    }

    private static func tables(
        _ bytes: UnsafeMutableRawBufferPointer, _ record: MountRecord
    ) throws(MountRecord.Problem) -> (HandleTable, RequestTable) {
        let middle = Offset.handles + Int(record.slots) * OpenHandle.size, end = middle + Int(record.intents) * BegunRequest.size
        guard bytes.count >= end else { throw .contents }
        return (
            try HandleTable(slots: bytes.part(Offset.handles..<middle), used: bytes.part(Offset.used..<Offset.used + 8)),
            try RequestTable(bytes.part(middle..<end))
        )
    }

    private static func tried(_ bytes: UnsafeMutableRawBufferPointer) -> TriedRequests {
        TriedRequests(bytes.part(Offset.tried..<Offset.tried + TriedRequests.tableSize))
    }

    // MARK: The words that change

    private func word(_ offset: Int) -> UInt64 { memory.bytes.integer(at: offset) }
    private func set(_ offset: Int, _ value: UInt64) { SharedWord.publish(value, at: memory.bytes.part(offset..<offset + 8)) }

    /// Daemons before this one.
    package var generation: UInt64 { word(Offset.generation) }
    /// Nothing was under way when the last one ended.
    package var wasAnswered: Bool { word(Offset.answered) == 1 }

    /// From now on this process is the daemon.
    func begin() {
        set(Offset.generation, generation &+ 1)
        set(Offset.answered, 0)
    }

    /// Nothing is under way, and no request will be taken any more.
    func noteAnswered() { set(Offset.answered, 1) }

    // MARK: The service manager

    /// The descriptor of the mount: for whoever serves it now, who closes it.
    var descriptor: Int32 { device.withLock { $0 } }

    /// Has the service manager keep everything.
    func keep() {
        // Killed in between, a descriptor of which nothing is known would be in the way of the next daemon.
        DescriptorStore.keep(memory.raw, as: Self.names.memory)
        DescriptorStore.keep(descriptor, as: Self.names.device)
        probe.withLock { $0 = try? StoreProbe(name: Self.names.probe) }
    }

    /// Whether a service manager does.
    var isKept: Bool { probe.withLock { $0?.isKept ?? false } }

    /// The mount ends with this daemon.
    func forget() {
        probe.withLock { $0 = nil }
        Self.forgetAll()
    }

    private static func forgetAll() {
        for name in [names.probe, names.memory, names.device] { DescriptorStore.forget(name) }
    }
}
