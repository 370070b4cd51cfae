internal import BlockStorage
internal import PoolEngine

/// An object of a pool that is open here.
final class PoolStream: ByteStream {
    private let pool: Pool
    private let id: UInt64
    private let name: String
    /// What the pool is called to who reads a failure.
    private let source: String

    init(pool: Pool, id: UInt64, name: String, source: String) {
        self.source = source
        self.pool = pool
        self.id = id
        self.name = name
    }

    var size: UInt64? { get throws(Failure) { try run { () throws(PoolError) in try pool.size(id).bytes } } }
    var isSeekable: Bool { true }

    /// A snapshot is as private as its volume.
    var mode: UInt32? { get throws(Failure) { try run { () throws(PoolError) in try pool.info(id).volumeAttributes.mode } } }

    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        try run { () throws(PoolError) in
            let size = try pool.size(id).bytes
            guard offset < size else { return 0 }
            let count = Int(min(UInt64(bytes.count), size - offset))
            try pool.read(id, at: offset, into: bytes.part(0..<count))
            return count
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
        try run { () throws(PoolError) in
            do throws(PoolError) {
                try pool.write(id, at: offset, bytes, growing: true)
            } catch .outOfSpace {
                // There is no thread here that frees what was deleted: by the mount before, too.
                try pool.finishReaping()
                try pool.write(id, at: offset, bytes, growing: true)
            }
            _ = try pool.maintain()
        }
    }

    func extent(at offset: UInt64) throws(Failure) -> Extent? {
        try run { () throws(PoolError) in
            let size = try pool.size(id).bytes
            guard offset < size else { return nil }
            return try pool.extent(id, at: offset) ?? Extent(isData: false, end: size)
        }
    }

    /// Shares the blocks.
    func take(from other: any ByteStream, at offset: UInt64, count: UInt64) throws(Failure) -> UInt64? {
        guard let other = other as? PoolStream, other.pool === pool else { return nil }
        return try run { () throws(PoolError) in
            let done = try pool.share(from: other.id, at: offset, to: id, at: offset, count: count)
            _ = try pool.maintain()
            return done
        }
    }

    func resize(to size: UInt64) throws(Failure) { try run { () throws(PoolError) in try pool.resize(id, to: size) } }

    func finish() throws(Failure) { try run { () throws(PoolError) in try pool.flush(id) } }

    private func run<Result>(_ body: () throws(PoolError) -> Result) throws(Failure) -> Result {
        do throws(PoolError) { return try body() } catch { throw Failure(error, object: name, pool: source) }
    }
}
