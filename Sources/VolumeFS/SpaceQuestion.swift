internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// One who has `.ctl/unique` open: names are written to it, and what deleting all of them gives back is read from it.
struct SpaceQuestion: Sendable {
    /// Names may come in several writes, cut anywhere.
    private(set) var words: [UInt8] = []
    private var answer: [UInt8]?

    /// Bytes of names that one question may have.
    static let limit = 1 << 20

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if answer != nil { (words, answer) = ([], nil) }
        words += bytes
    }

    mutating func settle(_ text: String) { answer = Array(text.utf8) }

    /// The next bytes of the answer; nil if it has not been worked out.
    mutating func take(into bytes: UnsafeMutableRawBufferPointer) -> Int? {
        guard let text = answer else { return words.isEmpty ? 0 : nil }
        let part = text.prefix(bytes.count)
        bytes.copyBytes(from: part)
        answer = Array(text.dropFirst(part.count))
        return part.count
    }
}

extension VolumeFileSystem {
    func openQuestion() throws(PoolError) -> OpenFile {
        try open.withLock { table throws(PoolError) in
            guard table.textBytes + SpaceQuestion.limit <= MemoryBound.texts, table.handles < MemoryBound.handles else {
                throw .outOfMemory(limit: UInt64(MemoryBound.texts))
            }
            table.textBytes += SpaceQuestion.limit
            table.handles += 1
            defer { table.next += 1 }
            table.questions[table.next] = SpaceQuestion()
            return OpenFile(handle: table.next, isImmutable: false, isStream: true)
        }
    }

    func ask(_ handle: UInt64, _ bytes: UnsafeRawBufferPointer) throws(PoolError) {
        try refuseForgotten(handle)
        try open.withLock { table throws(PoolError) in
            guard let count = table.questions[handle]?.words.count, count + bytes.count <= SpaceQuestion.limit else {
                throw .refused(.valueTooLarge(limit: UInt64(SpaceQuestion.limit)))
            }
            table.questions[handle]?.append(bytes)
        }
    }

    /// The first read works the answer out.
    func answer(_ handle: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(PoolError) -> Int {
        try refuseForgotten(handle)
        if let count = open.withLock({ $0.questions[handle]?.take(into: bytes) }) { return count }
        // A set, as the same may be named any number of times; and one name at a time, as a list of slices takes more memory than the names.
        var objects: Set<UInt64> = [], name: [UInt8] = []
        for byte in (open.withLock { $0.questions[handle]?.words } ?? []) + [0x20] {
            guard byte == 0x20 || (0x09...0x0d).contains(byte) else {
                name.append(byte)
                continue
            }
            if !name.isEmpty { objects.insert(try find(String(decoding: name, as: UTF8.self))) }
            name.removeAll(keepingCapacity: true)
        }
        let named = Array(objects)
        let text = "\(try untilHandedOver(walks.figures) { control throws(PoolError) in try pool.freed(byDeleting: named, control: control) })\n"
        return open.withLock { table in
            table.questions[handle]?.settle(text)
            return table.questions[handle]?.take(into: bytes) ?? 0
        }
    }
}
