package import BlockStorage
internal import Synchronization

/// Which volumes and snapshots are open, in memory that outlives the daemon, which may be killed at any moment. Any thread may
/// call.
package final class HandleTable: @unchecked Sendable {
    // Sendable: a slot is written by whoever took its number out of the state, under its lock.
    private let slots: UnsafeMutableRawBufferPointer
    /// The word that says how many slots were ever used: no page behind them is touched.
    private let used: UnsafeMutableRawBufferPointer

    private struct State {
        /// Numbers of slots that were used, and of the first that never was.
        var free: [Int] = []
        var next = 0
        /// Of handles.
        var taken: [UInt64: Int] = [:]
        /// Handles of another daemon, by the requests that opened them.
        var openedBy: [UInt64: OpenHandle] = [:]
    }
    private let state: Mutex<State>

    /// What the table holds already is taken over. Throws if that cannot be right. The memory must outlive the table.
    package init(slots: UnsafeMutableRawBufferPointer, used: UnsafeMutableRawBufferPointer) throws(MountRecord.Problem) {
        (self.slots, self.used) = (slots, used)
        var state = State(), handles: [OpenHandle] = []
        let count: UInt64 = used.integer(at: 0)
        guard count <= UInt64(slots.count / OpenHandle.size) else { throw .contents }
        state.next = Int(count)
        for index in (0..<state.next).reversed() {
            guard let handle = try OpenHandle(decoding: UnsafeRawBufferPointer(Self.slot(slots, index))) else {
                state.free.append(index)
                continue
            }
            guard state.taken.updateValue(index, forKey: handle.handle) == nil else { throw .contents }
            handles.append(handle)
            state.openedBy[handle.request] = handle
        }
        inherited = handles
        self.state = Mutex(state)
    }

    /// What it held at first.
    package let inherited: [OpenHandle]

    /// Throws `.outOfMemory` if there is no room.
    package func add(_ handle: OpenHandle) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            var index = state.next
            if let free = state.free.popLast() {
                index = free
            } else {
                guard index < slots.count / OpenHandle.size else { throw .outOfMemory(limit: UInt64(slots.count)) }
                state.next += 1
                SharedWord.publish(UInt64(state.next), at: used)
            }
            state.taken[handle.handle] = index
            handle.encode(into: Self.slot(slots, index))
        }
    }

    /// The handle that another daemon has given for a request whose answer was lost, and removes it.
    package func takeInherited(openedBy request: UInt64) -> OpenHandle? {
        guard let opened = state.withLock({ $0.openedBy.removeValue(forKey: request) }) else { return nil }
        remove(opened.handle)
        return opened
    }

    /// No request will be sent again any more.
    package func forgetOpeners() { state.withLock { $0.openedBy.removeAll() } }

    package func remove(_ handle: UInt64) {
        state.withLock { state in
            guard let index = state.taken.removeValue(forKey: handle) else { return }
            SharedWord.publish(0, at: Self.slot(slots, index))
            state.free.append(index)
        }
    }

    private static func slot(_ slots: UnsafeMutableRawBufferPointer, _ index: Int) -> UnsafeMutableRawBufferPointer {
        slots.part(index * OpenHandle.size..<(index + 1) * OpenHandle.size)
    }
}
