internal import BlockStorage

/// Puts a record's fields behind one another, straight into the block that will be written.
struct RecordWriter {
    private let room: UnsafeMutableRawBufferPointer
    private var length = 0
    /// False if the record is longer than its room: then what is in there is of no use.
    private(set) var fits = true

    init(_ room: UnsafeMutableRawBufferPointer) { self.room = room }

    mutating func begin(_ kind: UInt8, flags: UInt8) {
        put(kind)
        put(JournalRecord.layout)
        put(flags)
        put(UInt8(0))
        put(UInt32(0))
    }

    mutating func put<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
        guard let at = take(MemoryLayout<T>.size) else { return }
        room.store(value, at: at)
    }

    mutating func put(_ value: [UInt8]) {
        guard let at = take(value.count) else { return }
        room.part(at..<at + value.count).copyBytes(from: value)
    }

    mutating func put(_ name: String) {
        let count = name.utf8.count
        put(UInt64(count))
        guard let at = take(count) else { return }
        room.part(at..<at + count).copyBytes(from: name.utf8)
    }

    mutating func put(_ attributes: Attributes) {
        put(attributes.mode)
        put(attributes.uid)
        put(attributes.gid)
        put(UInt32(0))
    }

    mutating func put(_ creation: JournalRecord.Creation) {
        put(creation.id)
        put(UInt64(creation.generation))
        put(creation.time)
        put(creation.uuid.high)
        put(creation.uuid.low)
        put(creation.attributes)
        put(creation.name)
    }

    /// Pads to eight bytes, fills in the length and returns it. Nil if the record does not fit.
    consuming func finish() -> Int? {
        while fits && length % 8 != 0 { put(UInt8(0)) }
        guard fits else { return nil }
        precondition(length < 1 << 16, "a record's length has 16 bits")
        room.store(UInt16(length), at: JournalRecord.lengthOffset)
        return length
    }

    /// Where the next `count` bytes go; nil if they do not fit.
    private mutating func take(_ count: Int) -> Int? {
        guard fits, count <= room.count - length else {
            fits = false
            return nil
        }
        defer { length += count }
        return length
    }
}
