/// I/O memory, aligned to `alignment` bytes and zeroed, freed with its owner.
public struct AlignedBuffer: ~Copyable, @unchecked Sendable {
    // Sendable: the memory has one owner, this value.
    public static let alignment = 4096
    public let bytes: UnsafeMutableRawBufferPointer

    public init(count: Int) {
        precondition(count > 0, "an empty buffer has no address")
        bytes = .allocate(byteCount: count, alignment: Self.alignment)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit { bytes.deallocate() }
}
