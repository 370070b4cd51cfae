internal import BlockStorage
internal import NBD
internal import NBDProtocol
internal import TestSupport

/// A simulated disk as the export "disk": a server that begins anew with its durable image has lost the rest.
final class DiskExports: ExportProvider, Export {
    let disk: SimulatedDisk
    private let flushes: Bool

    /// Without `flushes` it only says that it has.
    init(_ disk: SimulatedDisk, flushes: Bool = true) {
        self.disk = disk
        self.flushes = flushes
    }

    private var description: ExportDescription {
        ExportDescription(name: "disk", text: "simulated", size: (try? disk.size) ?? 0, isReadOnly: false, preferredBlockSize: 4096)
    }

    func list() -> [ExportDescription] { [description] }
    func contexts(of name: String) -> [String] { [] }

    func describe(_ name: String) throws(OptionRefusal) -> ExportDescription {
        guard name == "disk" else { throw OptionRefusal(.unknown, "no such export") }
        return description
    }

    func open(_ name: String, by peer: Peer) throws(OptionRefusal) -> (description: ExportDescription, export: any Export) {
        (try describe(name), self)
    }

    func settle() {}
    func close() {}
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) { try disk.read(into: bytes, at: offset) }
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) { try disk.write(bytes, at: offset) }
    func flush() throws(PoolError) { if flushes { try disk.flush() } }
    func discard(at offset: UInt64, count: UInt64) throws(PoolError) { try disk.discard(at: offset, count: count) }
    func zero(at offset: UInt64, count: UInt64, keepsSpace: Bool, isFast: Bool) throws(PoolError) { try disk.discard(at: offset, count: count) }
    func prefetch(at offset: UInt64, count: UInt64) throws(PoolError) {}
    func extents(_ context: String, at offset: UInt64, count: UInt64, _ body: (UInt64, UInt32) -> Bool) throws(PoolError) { _ = body(count, 0) }
}
