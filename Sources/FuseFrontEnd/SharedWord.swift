internal import BlockStorage
internal import CLinux

/// Eight aligned bytes of memory that a process may be killed in the middle of writing.
enum SharedWord {
    /// Stores `value` at the beginning of `bytes`, whole, after everything that was stored before.
    static func publish(_ value: UInt64, at bytes: UnsafeMutableRawBufferPointer) {
        guard let base = bytes.baseAddress, bytes.count >= 8 else { preconditionFailure("no room for a word") }
        volfs_publish(base, value.littleEndian)
    }
}
