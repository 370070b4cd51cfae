internal import BlockStorage
internal import NBD
internal import NBDProtocol
internal import Synchronization

/// An export "disk" larger than memory, all zero, that notes what is zeroed.
final class HugeExports: ExportProvider, Export {
    let zeroed = Mutex<[Range<UInt64>]>([])
    private let size: UInt64

    init(size: UInt64) { self.size = size }

    private var description: ExportDescription {
        ExportDescription(name: "disk", text: "huge", size: size, isReadOnly: false, preferredBlockSize: 4096)
    }

    func list() -> [ExportDescription] { [description] }
    func contexts(of name: String) -> [String] { [] }
    func describe(_ name: String) throws(OptionRefusal) -> ExportDescription { description }
    func open(_ name: String, by peer: Peer) throws(OptionRefusal) -> (description: ExportDescription, export: any Export) { (description, self) }
    func settle() {}
    func close() {}
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) { bytes.clear() }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {}
    func flush() throws(PoolError) {}
    func discard(at offset: UInt64, count: UInt64) throws(PoolError) {}
    func zero(at offset: UInt64, count: UInt64, keepsSpace: Bool, isFast: Bool) throws(PoolError) { zeroed.withLock { $0.append(offset..<offset + count) } }
    func prefetch(at offset: UInt64, count: UInt64) throws(PoolError) {}
    func extents(_ context: String, at offset: UInt64, count: UInt64, _ body: (UInt64, UInt32) -> Bool) throws(PoolError) { _ = body(count, 3) }
}
