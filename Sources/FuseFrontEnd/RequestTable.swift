internal import BlockStorage
internal import Synchronization

/// Requests that must not be done twice and have no answer yet, in memory that outlives the daemon. Any thread may call.
package final class RequestTable: @unchecked Sendable {
    // Sendable: a slot is written by whoever took its number out of the state.
    private let slots: UnsafeMutableRawBufferPointer

    private struct State {
        /// Numbers of slots, the next one last.
        var free: [Int] = []
        /// Of another daemon, by the kernel's number, until they are asked for again.
        var inherited: [UInt64: (slot: Int, request: BegunRequest)] = [:]
    }
    private let state: Mutex<State>

    /// What the table holds already is taken over. Throws if that cannot be right. The memory must outlive the table.
    package init(_ slots: UnsafeMutableRawBufferPointer) throws(MountRecord.Problem) {
        self.slots = slots
        var state = State()
        for index in (0..<slots.count / BegunRequest.size).reversed() {
            if let request = try BegunRequest(decoding: UnsafeRawBufferPointer(Self.slot(slots, index))) {
                state.inherited[request.request] = (index, request)
            } else {
                state.free.append(index)
            }
        }
        self.state = Mutex(state)
    }

    /// A slot for a request that is about to be carried out; nil if there is none, and then nobody will know of it.
    package func begin(_ request: BegunRequest) -> Int? {
        guard let index = state.withLock({ $0.free.popLast() }) else { return nil }
        request.encode(into: Self.slot(slots, index))
        return index
    }

    /// It has been carried out, or refused, and what it made is durable.
    package func finish(_ index: Int, _ result: BegunRequest.Result) { BegunRequest.encode(result, into: Self.slot(slots, index)) }

    /// It has its answer.
    package func end(_ index: Int) {
        SharedWord.publish(0, at: Self.slot(slots, index))
        state.withLock { $0.free.append(index) }
    }

    /// What another daemon did of a request that is sent again. The caller ends it.
    package func inherited(_ request: UInt64) -> (slot: Int, request: BegunRequest)? { state.withLock { $0.inherited.removeValue(forKey: request) } }

    /// No request will be sent again any more: what is left of other daemons had its answer, or nobody waits for one.
    package func forgetInherited() {
        let slots = state.withLock { state in
            defer { state.inherited.removeAll() }
            return state.inherited.values.map(\.slot)
        }
        for slot in slots { end(slot) }
    }

    private static func slot(_ slots: UnsafeMutableRawBufferPointer, _ index: Int) -> UnsafeMutableRawBufferPointer {
        slots.part(index * BegunRequest.size..<(index + 1) * BegunRequest.size)
    }
}
