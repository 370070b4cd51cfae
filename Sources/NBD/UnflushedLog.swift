internal import BlockStorage
internal import NBDProtocol

/// One change that a server may still lose: its bytes are kept until a flush has covered it.
final class UnflushedChange: @unchecked Sendable {
    // Sendable: the memory does not change after `init`; the numbers are used under the client's lock.
    let command: Command
    let offset: UInt64
    let length: UInt64
    /// What is written; empty for zeroes and trims.
    let bytes: UnsafeRawBufferPointer
    /// Which change it was, counted from 1.
    var number: UInt64 = 0
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

    var range: Range<UInt64> { offset..<offset + length }
    func overlaps(_ other: UnflushedChange) -> Bool { range.overlaps(other.range) }

    /// The bytes for a part of the range.
    func bytes(of part: Range<UInt64>) -> UnsafeRawBufferPointer {
        bytes.isEmpty ? bytes : UnsafeRawBufferPointer(rebasing: bytes[Int(part.lowerBound - offset)..<Int(part.upperBound - offset)])
    }

    /// Bytes of memory, about.
    var size: Int { Self.size(of: bytes.count) }
    static func size(of count: Int) -> Int { count + 160 }
}

/// What was changed since the last flush, in the order in which it was asked for.
struct UnflushedLog: Sendable {
    private(set) var changes: [UnflushedChange] = []
    private var size = 0
    private var reserved = 0
    private var numbers: UInt64 = 0
    private var answers: UInt64 = 0
    /// Where changes have failed that may be made in part, and the last change that had begun by then.
    private var doubts: [(range: Range<UInt64>, number: UInt64)] = []
    private static let mostDoubts = 64

    /// The last answer there was: a flush that is sent now covers all up to it.
    var lastAnswer: UInt64 { answers }

    /// Bytes that are kept, with those of changes that are about to come.
    var total: Int { size + reserved }

    /// Sets memory aside for a change of `count` bytes, if there is as much: false if it would be more than `limit`.
    mutating func reserve(_ count: Int, limit: Int) -> Bool {
        let size = UnflushedChange.size(of: count)
        guard total + size <= limit else { return false }
        reserved += size
        return true
    }

    mutating func release(_ size: Int) { reserved -= size }

    mutating func append(_ change: UnflushedChange) {
        numbers += 1
        change.number = numbers
        changes.append(change)
        size += change.size
    }

    mutating func didAnswer(_ change: UnflushedChange) {
        answers += 1
        change.answered = answers
        guard change.command != .trim else { return }
        doubts.removeAll { $0.number < change.number && change.offset <= $0.range.lowerBound && $0.range.upperBound <= change.offset + change.length }
    }

    /// Takes out one that has failed: nobody counts on it. What is there now nobody knows, until it is overwritten.
    mutating func remove(_ change: UnflushedChange) {
        var range = change.range
        // Too much doubt costs a witness at most, too little a pool.
        if doubts.count == Self.mostDoubts, let last = doubts.popLast()?.range {
            range = min(range.lowerBound, last.lowerBound)..<max(range.upperBound, last.upperBound)
        }
        doubts.append((range, numbers))
        guard let index = changes.lastIndex(where: { $0 === change }) else { return }
        changes.remove(at: index)
        size -= change.size
    }

    /// A flush has succeeded. Returns the last write it covered, if nothing else in the log has touched the same bytes, nor a change
    /// that has failed.
    mutating func didFlush(upTo answer: UInt64) -> UnflushedChange? {
        let last = changes.last { $0.command == .write && $0.answered != 0 && $0.answered <= answer }
        let isAlone = last.map { last in
            !changes.contains { $0 !== last && $0.overlaps(last) } && !doubts.contains { $0.range.overlaps(last.range) }
        } ?? false
        changes.removeAll { $0.answered != 0 && $0.answered <= answer }
        size = changes.reduce(0) { $0 + $1.size }
        return isAlone ? last : nil
    }

    /// What has to be written again, in its order: of each change the parts that none which came later and was answered has changed as
    /// well. The server may have those, and whoever stops in the middle must not have put older bytes there for good.
    func toRepeat() -> [(change: UnflushedChange, parts: [Range<UInt64>])] {
        var covered = CoveredRanges(), all: [(UnflushedChange, [Range<UInt64>])] = []
        for change in changes.reversed() {
            all.append((change, covered.rest(of: change.range)))
            // A server may leave out a trim, and have lost what came before it.
            if change.answered != 0 && change.command != .trim { covered.insert(change.range) }
        }
        return all.reversed()
    }

    mutating func removeAll() {
        changes = []
        size = 0
    }
}
