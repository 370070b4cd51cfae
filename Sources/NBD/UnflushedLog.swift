internal import BlockStorage
internal import NBDProtocol

/// One change that a server may still lose: its bytes are kept until a flush has covered it.
final class UnflushedChange: @unchecked Sendable {
    // Sendable: the memory does not change after `init`; `answered` is used under the client's lock.
    let command: Command
    let offset: UInt64
    let length: UInt64
    /// What is written; empty for zeroes and trims.
    let bytes: UnsafeRawBufferPointer
    /// Which answer it was, counted from 1; 0 while there is none.
    var answered: UInt64 = 0

    /// Copies the bytes.
    init(_ command: Command, at offset: UInt64, length: UInt64, _ data: UnsafeRawBufferPointer) {
        self.command = command
        self.offset = offset
        self.length = length
        guard data.count > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: data.count, alignment: 16)
        memory.copyMemory(from: data)
        bytes = UnsafeRawBufferPointer(memory)
    }

    deinit { bytes.deallocate() }

    func overlaps(_ other: UnflushedChange) -> Bool { offset < other.offset + other.length && other.offset < offset + length }

    /// Bytes of memory, about.
    var size: Int { bytes.count + 160 }
}

/// What was changed since the last flush, in the order in which it was asked for.
struct UnflushedLog: Sendable {
    private(set) var changes: [UnflushedChange] = []
    private(set) var size = 0
    private var answers: UInt64 = 0

    /// The last answer there was: a flush that is sent now covers all up to it.
    var lastAnswer: UInt64 { answers }

    mutating func append(_ change: UnflushedChange) {
        changes.append(change)
        size += change.size
    }

    mutating func didAnswer(_ change: UnflushedChange) {
        answers += 1
        change.answered = answers
    }

    /// Takes out one that has failed: nobody counts on it.
    mutating func remove(_ change: UnflushedChange) {
        guard let index = changes.lastIndex(where: { $0 === change }) else { return }
        changes.remove(at: index)
        size -= change.size
    }

    /// A flush has succeeded. Returns the last write it covered, if nothing else in the log has touched the same bytes.
    mutating func didFlush(upTo answer: UInt64) -> UnflushedChange? {
        let last = changes.last { $0.command == .write && $0.answered != 0 && $0.answered <= answer }
        let isAlone = last.map { last in !changes.contains { $0 !== last && $0.overlaps(last) } } ?? false
        changes.removeAll { $0.answered != 0 && $0.answered <= answer }
        size = changes.reduce(0) { $0 + $1.size }
        return isAlone ? last : nil
    }

    mutating func removeAll() {
        changes = []
        size = 0
    }
}
