internal import CBytes

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `bytes`, continuing from `seed`. Any thread.
public func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
    guard let base = bytes.baseAddress else { return seed }
    return volfs_crc32c(seed, base, bytes.count)
}

/// The same, from tables alone: the reference for tests.
package func crc32cPortable(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    guard let base = bytes.baseAddress else { return 0 }
    return volfs_crc32c_portable(0, base, bytes.count)
}

/// True if every byte is zero.
public func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    return volfs_is_zero(base, bytes.count)
}

extension UnsafeRawBufferPointer {
    /// The little-endian integer at `offset` bytes. Checked in release builds, as `loadUnaligned` is not.
    @inlinable
    public func integer<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as _: T.Type = T.self) -> T {
        precondition(offset >= 0 && offset <= count - MemoryLayout<T>.size, "field outside its structure")
        return T(littleEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// `range` of these bytes as a buffer of its own.
    @inlinable
    public func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[range])
    }
}

extension UnsafeMutableRawBufferPointer {
    /// The little-endian integer at `offset` bytes. Checked in release builds.
    @inlinable
    public func integer<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: T.Type = T.self) -> T {
        UnsafeRawBufferPointer(self).integer(at: offset, as: type)
    }

    /// Stores `value` little-endian at `offset` bytes. Checked in release builds.
    @inlinable
    public func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
        precondition(offset >= 0 && offset <= count - MemoryLayout<T>.size, "field outside its structure")
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
    }

    /// `range` of these bytes as a buffer of its own.
    @inlinable
    public func part(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(rebasing: self[range])
    }

    /// Sets every byte to zero.
    @inlinable
    public func clear() {
        guard let base = baseAddress, count > 0 else { return }
        base.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    }
}
