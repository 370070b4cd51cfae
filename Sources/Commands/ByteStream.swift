internal import PoolEngine

/// Bytes that are copied from or to: of a volume or a snapshot, through the mount or directly, or of a file or a pipe.
protocol ByteStream: AnyObject {
    /// Bytes that are there; nil of a pipe.
    var size: UInt64? { get throws(Failure) }
    /// False where bytes can only be taken or put one behind the other.
    var isSeekable: Bool { get }
    /// Who may read and write it, for a copy that is to be no less private; nil where that says nothing.
    var mode: UInt32? { get throws(Failure) }
    /// Fills `bytes` as far as there are any, and returns how many there were.
    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure)
    /// The end of the data or hole that `offset` is in; nil at the end.
    func extent(at offset: UInt64) throws(Failure) -> Extent?
    /// Makes this as `other` is from `offset` on, up to `count` bytes, without their passing through here, and returns how many.
    /// 0 where these cannot be done so, nil where none can.
    func take(from other: any ByteStream, at offset: UInt64, count: UInt64) throws(Failure) -> UInt64?
    func resize(to size: UInt64) throws(Failure)
    /// What was written is durable.
    func finish() throws(Failure)
}

extension ByteStream {
    /// What open(2) is given for a copy of it: its owner may write that in any case, and nobody executes it.
    var modeOfCopies: UInt32 { get throws(Failure) { (try mode ?? 0o666) & 0o666 | 0o600 } }

    func take(from other: any ByteStream, at offset: UInt64, count: UInt64) throws(Failure) -> UInt64? { nil }
}
