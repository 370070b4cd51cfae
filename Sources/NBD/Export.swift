public import BlockStorage
public import NBDProtocol

/// What one connection reads and writes. Offsets and counts are bytes and lie within the size it was opened with. Any thread
/// may call, several at once; `close` comes once and last.
public protocol Export: AnyObject, Sendable {
    /// Fills `bytes` from `offset`.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError)
    /// Writes all of `bytes`, or nothing. It is answered after `settle`.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError)
    /// Makes several writes, each by itself as `write`. Returns what became of each, nil if it was made.
    func write(_ pieces: [WritePiece]) -> [PoolError?]
    /// Returns when everything written before the call survives the end of the process.
    func settle() throws(PoolError)
    /// Returns when everything that any connection had written before the call is durable.
    func flush() throws(PoolError)
    /// The client has no use for the range any more.
    func discard(at offset: UInt64, count: UInt64) throws(PoolError)
    /// Makes the range zero. With `keepsSpace` later writes to it need no space that could be missing. With `isFast` it throws
    /// `.notSupported`, having changed nothing, unless that is quicker than writing zeros.
    func zero(at offset: UInt64, count: UInt64, keepsSpace: Bool, isFast: Bool) throws(PoolError)
    /// The range will be read soon.
    func prefetch(at offset: UInt64, count: UInt64) throws(PoolError)
    /// What a metadata context says of the range: calls `body` with the length of each extent and its flags, in order, until
    /// the range is covered or `body` returns false.
    func extents(
        _ context: String, at offset: UInt64, count: UInt64, _ body: (_ length: UInt64, _ flags: UInt32) -> Bool
    ) throws(PoolError)
    func close()
}

extension Export {
    public func write(_ pieces: [WritePiece]) -> [PoolError?] {
        pieces.map { piece in
            do throws(PoolError) {
                try write(piece.bytes, at: piece.offset)
                return nil
            } catch {
                return error
            }
        }
    }
}

/// Where a server finds its exports. Any thread may call.
public protocol ExportProvider: AnyObject, Sendable {
    func list() -> [ExportDescription]
    /// "" asks for the default.
    func describe(_ name: String) throws(OptionRefusal) -> ExportDescription
    func contexts(of name: String) -> [String]
    /// Opens an export for a connection, which counts as its user until it closes it.
    func open(_ name: String, by peer: Peer) throws(OptionRefusal) -> (description: ExportDescription, export: any Export)
}

/// Who is at the other end of a connection.
public struct Peer: Sendable {
    /// 0 where that is not known: the connection came over the network.
    public var process: Int32
    public var uid: UInt32
    /// Where it is, for one that came over the network; else empty.
    public var address: String

    public init(process: Int32, uid: UInt32, address: String) {
        self.process = process
        self.uid = uid
        self.address = address
    }
}
