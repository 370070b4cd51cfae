internal import BlockStorage

/// One change of the pool. Its index in the log, the LSN, is not stored: records count up from the frame's first.
///
/// Every record begins with eight bytes and is padded to a multiple of eight:
///
///     offset  size  field
///          0     1  type
///          1     1  layout     1
///          2     1  flags      bit 0: the next record belongs to the same atomic group
///          3     1  reserved
///          4     2  length     of the record in bytes
///          6     2  reserved
///
/// Records that make a version carry every number it gets, so that replaying them is deterministic.
enum JournalRecord: Equatable, Sendable {
    /// Blocks of `version` from logical block `first` now lie in `runs`, with these checksums.
    case write(version: UInt64, generation: UInt32, first: UInt64, runs: [BlockRun], checksums: [UInt32])
    /// Blocks of `version` from logical block `first` on are now also those in `runs`, which are in use already. The layout is
    /// that of a write.
    case share(version: UInt64, generation: UInt32, first: UInt64, runs: [BlockRun], checksums: [UInt32])
    /// Blocks `first ..< first + count` read as zero.
    case hole(version: UInt64, generation: UInt32, first: UInt64, count: UInt64)
    case create(Creation, size: UInt64)
    /// The volume whose live version is `source` gets an immutable version `creation.id`, which takes over the source's
    /// generation; the source goes on with `creation.generation`.
    case snapshot(source: UInt64, Creation)
    /// A new volume begins as `source`. If that is a live version, a hidden snapshot `hidden` of it is made first, and
    /// the source goes on with generation `sourceGeneration`; else both are 0.
    case clone(source: UInt64, hidden: UInt64, sourceGeneration: UInt32, Creation)
    case delete(version: UInt64, time: UInt64)
    /// A new live version `creation.id`, cloned from `snapshot`, takes the place of `head`, which is deleted.
    case rollback(head: UInt64, snapshot: UInt64, Creation)
    case resize(version: UInt64, size: UInt64, time: UInt64)
    case rename(version: UInt64, name: String, time: UInt64)
    /// Two volumes exchange their names.
    case swap(UInt64, UInt64, time: UInt64)
    case attributes(version: UInt64, Attributes, modified: UInt64, changed: UInt64)
    /// A property is set, or with nil removed.
    case property(version: UInt64, name: String, value: [UInt8]?, time: UInt64)
    /// What a clone was made from is remembered no more.
    case forgetOrigin(version: UInt64, time: UInt64)

    /// When it was made, in nanoseconds since 1970. Records of data do not have that.
    var time: UInt64? {
        switch self {
        case .write, .share, .hole: nil
        case .create(let creation, _), .snapshot(_, let creation), .clone(_, _, _, let creation), .rollback(_, _, let creation): creation.time
        case .delete(_, let time), .forgetOrigin(_, let time), .resize(_, _, let time), .rename(_, _, let time), .swap(_, _, let time),
            .property(_, _, _, let time), .attributes(_, _, _, let time): time
        }
    }

    /// What a new version is given.
    struct Creation: Equatable, Sendable {
        var id: UInt64
        var generation: UInt32
        var time: UInt64
        var uuid: UUIDBytes
        var attributes: Attributes
        var name: String
    }

    static let headerSize = 8
    static let lengthOffset = 4
    static let continues: UInt8 = 1
    static let layout: UInt8 = 1
    /// No record that makes a version is longer.
    static let creationSize = headerSize + 112 + 256
    static let writeHeaderSize = headerSize + 32

    private enum Kind: UInt8 {
        case write = 1, hole = 2, create = 3, snapshot = 4, clone = 5, delete = 6, rollback = 7, resize = 8, rename = 9
        case attributes = 10, swap = 11, property = 12, forgetOrigin = 13, share = 14
    }

    /// Bytes a write record of that many runs and blocks takes.
    static func writeSize(runs: Int, blocks: Int) -> Int { (writeHeaderSize + 8 * runs + 4 * blocks + 7) & ~7 }

    /// As `encode` of a `write`, whose arrays need not be made for it.
    static func encodeWrite(
        version: UInt64, generation: UInt32, first: UInt64, runs: ArraySlice<BlockRun>, checksums: ArraySlice<UInt32>,
        continues: Bool, into out: inout RecordWriter
    ) {
        out.begin(Kind.write.rawValue, flags: continues ? Self.continues : 0)
        put(version, generation, first, runs, checksums, into: &out)
    }

    private static func put(
        _ version: UInt64, _ generation: UInt32, _ first: UInt64, _ runs: ArraySlice<BlockRun>, _ checksums: ArraySlice<UInt32>,
        into out: inout RecordWriter
    ) {
        out.put(version)
        out.put(generation)
        out.put(UInt16(runs.count))
        out.put(UInt16(checksums.count))
        out.put(first)
        out.put(UInt64(0))
        for run in runs { out.put(run.packed()) }
        for checksum in checksums { out.put(checksum) }
    }

    /// Puts the record's bytes into `out`, all but its length.
    func encode(continues: Bool, into out: inout RecordWriter) {
        out.begin(kind.rawValue, flags: continues ? Self.continues : 0)
        switch self {
        case .write(let version, let generation, let first, let runs, let checksums),
            .share(let version, let generation, let first, let runs, let checksums):
            Self.put(version, generation, first, runs[...], checksums[...], into: &out)
        case .hole(let version, let generation, let first, let count):
            out.put(version)
            out.put(UInt64(generation))
            out.put(first)
            out.put(count)
        case .create(let creation, let size):
            out.put(size)
            out.put(creation)
        case .snapshot(let source, let creation):
            out.put(source)
            out.put(creation)
        case .clone(let source, let hidden, let generation, let creation):
            out.put(source)
            out.put(hidden)
            out.put(UInt64(generation))
            out.put(creation)
        case .delete(let version, let time), .forgetOrigin(let version, let time):
            out.put(version)
            out.put(time)
        case .rollback(let head, let snapshot, let creation):
            out.put(head)
            out.put(snapshot)
            out.put(creation)
        case .resize(let version, let size, let time):
            out.put(version)
            out.put(size)
            out.put(time)
        case .rename(let version, let name, let time):
            out.put(version)
            out.put(time)
            out.put(name)
        case .swap(let first, let second, let time):
            out.put(first)
            out.put(second)
            out.put(time)
        case .property(let version, let name, let value, let time):
            out.put(version)
            out.put(time)
            out.put(UInt64(value == nil ? 0 : 1))
            out.put(UInt64(value?.count ?? 0))
            out.put(value ?? [])
            out.put(name)
        case .attributes(let version, let attributes, let modified, let changed):
            out.put(version)
            out.put(attributes)
            out.put(modified)
            out.put(changed)
        }
    }

    /// The record at the start of `bytes`, its flags and its length; nil if it is not one this format knows.
    static func decode(_ bytes: UnsafeRawBufferPointer) -> (record: JournalRecord, flags: UInt8, length: Int)? {
        guard bytes.count >= headerSize, let kind = Kind(rawValue: bytes[0]), bytes[1] == layout else { return nil }
        let length = Int(bytes.integer(at: 4, as: UInt16.self))
        guard length >= headerSize, length % 8 == 0, length <= bytes.count else { return nil }
        var input = RecordReader(bytes: bytes.part(headerSize..<length))
        guard let record = decode(kind, &input) else { return nil }
        return (record, bytes[2], length)
    }

    private static func decode(_ kind: Kind, _ input: inout RecordReader) -> JournalRecord? {
        switch kind {
        case .write, .share:
            guard let version = input.u64(), let generation = input.u32(), let runCount = input.u16(),
                let count = input.u16(), let first = input.u64(), input.u64() != nil
            else { return nil }
            var runs: [BlockRun] = [], checksums: [UInt32] = []
            for _ in 0..<runCount {
                guard let word = input.u64() else { return nil }
                runs.append(BlockRun.unpack(word).run)
            }
            for _ in 0..<count {
                guard let checksum = input.u32() else { return nil }
                checksums.append(checksum)
            }
            guard runs.reduce(0, { $0 + $1.count }) == Int(count), count > 0 else { return nil }
            if kind == .share { return .share(version: version, generation: generation, first: first, runs: runs, checksums: checksums) }
            return .write(version: version, generation: generation, first: first, runs: runs, checksums: checksums)
        case .hole:
            guard let version = input.u64(), let generation = input.u64(), let first = input.u64(), let count = input.u64(),
                let generation = UInt32(exactly: generation)
            else { return nil }
            return .hole(version: version, generation: generation, first: first, count: count)
        case .create:
            guard let size = input.u64(), let creation = input.creation() else { return nil }
            return .create(creation, size: size)
        case .snapshot:
            guard let source = input.u64(), let creation = input.creation() else { return nil }
            return .snapshot(source: source, creation)
        case .clone:
            guard let source = input.u64(), let hidden = input.u64(), let generation = input.u64(),
                let generation = UInt32(exactly: generation), let creation = input.creation()
            else { return nil }
            return .clone(source: source, hidden: hidden, sourceGeneration: generation, creation)
        case .delete:
            guard let version = input.u64(), let time = input.u64() else { return nil }
            return .delete(version: version, time: time)
        case .forgetOrigin:
            guard let version = input.u64(), let time = input.u64() else { return nil }
            return .forgetOrigin(version: version, time: time)
        case .rollback:
            guard let head = input.u64(), let snapshot = input.u64(), let creation = input.creation() else { return nil }
            return .rollback(head: head, snapshot: snapshot, creation)
        case .resize:
            guard let version = input.u64(), let size = input.u64(), let time = input.u64() else { return nil }
            return .resize(version: version, size: size, time: time)
        case .rename:
            guard let version = input.u64(), let time = input.u64(), let name = input.string() else { return nil }
            return .rename(version: version, name: name, time: time)
        case .swap:
            guard let first = input.u64(), let second = input.u64(), let time = input.u64() else { return nil }
            return .swap(first, second, time: time)
        case .property:
            guard let version = input.u64(), let time = input.u64(), let hasValue = input.u64(), let value = input.value(),
                let name = input.string()
            else { return nil }
            return .property(version: version, name: name, value: hasValue == 0 ? nil : value, time: time)
        case .attributes:
            guard let version = input.u64(), let attributes = input.attributes(), let modified = input.u64(),
                let changed = input.u64()
            else { return nil }
            return .attributes(version: version, attributes, modified: modified, changed: changed)
        }
    }

    private var kind: Kind {
        switch self {
        case .write: .write
        case .share: .share
        case .hole: .hole
        case .create: .create
        case .snapshot: .snapshot
        case .clone: .clone
        case .delete: .delete
        case .rollback: .rollback
        case .resize: .resize
        case .rename: .rename
        case .swap: .swap
        case .property: .property
        case .attributes: .attributes
        case .forgetOrigin: .forgetOrigin
        }
    }
}

/// Takes a record's fields from bytes that nobody vouches for.
private struct RecordReader {
    let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private mutating func take<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) -> T? {
        guard offset + MemoryLayout<T>.size <= bytes.count else { return nil }
        defer { offset += MemoryLayout<T>.size }
        return bytes.integer(at: offset)
    }

    mutating func u16() -> UInt16? { take(UInt16.self) }
    mutating func u32() -> UInt32? { take(UInt32.self) }
    mutating func u64() -> UInt64? { take(UInt64.self) }

    /// A count and so many bytes.
    mutating func value() -> [UInt8]? {
        guard let count = u64(), count <= UInt64(bytes.count), offset + Int(count) <= bytes.count else { return nil }
        defer { offset += Int(count) }
        return Array(bytes.part(offset..<offset + Int(count)))
    }

    mutating func string() -> String? {
        guard let count = u64(), count <= 255, offset + Int(count) <= bytes.count else { return nil }
        defer { offset += Int(count) }
        return String(validating: bytes.part(offset..<offset + Int(count)), as: UTF8.self)
    }

    mutating func attributes() -> Attributes? {
        guard let mode = u32(), let uid = u32(), let gid = u32(), u32() != nil else { return nil }
        return Attributes(mode: mode & 0o7777, uid: uid, gid: gid)
    }

    mutating func creation() -> JournalRecord.Creation? {
        guard let id = u64(), let generation = u64(), let generation = UInt32(exactly: generation), let time = u64(),
            let high = u64(), let low = u64(), let attributes = attributes(), let name = string()
        else { return nil }
        var uuid = UUIDBytes(randomHigh: 0, randomLow: 0)
        uuid.high = high
        uuid.low = low
        return .init(id: id, generation: generation, time: time, uuid: uuid, attributes: attributes, name: name)
    }
}
