internal import BlockStorage
internal import Synchronization

/// How often each request was sent again that is being carried out, in memory that outlives the daemon: one that ends every daemon
/// must not do so for ever. Any thread may call.
///
///     offset  size  field
///          0     8  request  the kernel's number; 0 in a slot that is free
///          8     8  count
package final class TriedRequests: @unchecked Sendable {
    // Sendable: the memory is used under the lock.
    private let slots: UnsafeMutableRawBufferPointer
    private let lock = Mutex<Void>(())
    /// Bytes of a slot; how often a request is tried.
    private static let size = 16, limit: UInt64 = 10
    /// Bytes of the whole table, with a slot for each of at most 64 threads.
    package static let tableSize = 64 * size

    /// The memory must outlive the table.
    package init(_ slots: UnsafeMutableRawBufferPointer) { self.slots = slots }

    /// To be called before a request that was sent again is carried out. False if that has been tried too often.
    package func begin(_ request: UInt64) -> Bool {
        lock.withLock { _ in
            guard let slot = slot(request) ?? slot(0) else { return true }
            let count = slot.integer(at: 0, as: UInt64.self) == 0 ? 0 : slot.integer(at: 8, as: UInt64.self)
            guard count < Self.limit else {
                SharedWord.publish(0, at: slot)
                return false
            }
            SharedWord.publish(count + 1, at: slot.part(8..<16))
            SharedWord.publish(request, at: slot)
            return true
        }
    }

    /// It has been carried out, or will be answered by somebody else.
    package func end(_ request: UInt64) { lock.withLock { _ in if let slot = slot(request) { SharedWord.publish(0, at: slot) } } }

    /// No request will be sent again any more, and none that was is being carried out.
    package func forgetAll() {
        lock.withLock { _ in
            for offset in stride(from: 0, to: slots.count, by: Self.size) { SharedWord.publish(0, at: slots.part(offset..<offset + Self.size)) }
        }
    }

    private func slot(_ request: UInt64) -> UnsafeMutableRawBufferPointer? {
        for offset in stride(from: 0, to: slots.count, by: Self.size) where slots.integer(at: offset, as: UInt64.self) == request {
            return slots.part(offset..<offset + Self.size)
        }
        return nil
    }
}
