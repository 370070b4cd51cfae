internal import BlockStorage

/// An `AlignedBuffer` that copyable values can hold.
final class AlignedBufferBox: Sendable {
    let buffer: AlignedBuffer
    init(count: Int) { buffer = AlignedBuffer(count: count) }
}
