internal import BlockStorage

// The wire is big-endian; what BlockStorage has for the disk is little-endian.
extension UnsafeRawBufferPointer {
    /// The big-endian integer at `offset` bytes. Checked in release builds.
    @inlinable
    package func network<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as _: T.Type = T.self) -> T {
        precondition(offset >= 0 && offset <= count - MemoryLayout<T>.size, "field outside its message")
        return T(bigEndian: loadUnaligned(fromByteOffset: offset, as: T.self))
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Stores `value` big-endian at `offset` bytes. Checked in release builds.
    @inlinable
    package func storeNetwork<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at offset: Int) {
        precondition(offset >= 0 && offset <= count - MemoryLayout<T>.size, "field outside its message")
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
    }
}

extension [UInt8] {
    /// Appends `value` big-endian.
    mutating func appendNetwork<T: FixedWidthInteger>(_ value: T) {
        for shift in stride(from: T.bitWidth - 8, through: 0, by: -8) { append(UInt8(truncatingIfNeeded: value >> T(shift))) }
    }
}

/// Takes fields off the front of a message; nil when it ends too early.
struct FieldReader {
    private(set) var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type = T.self) -> T? {
        guard rest.count >= MemoryLayout<T>.size else { return nil }
        defer { rest = rest.part(MemoryLayout<T>.size..<rest.count) }
        return rest.network(at: 0)
    }

    /// A string of `count` bytes: valid UTF-8 of at most 4096 bytes without NUL, or nil.
    mutating func string(_ count: UInt32) -> String? {
        guard count <= Limits.string, Int(count) <= rest.count else { return nil }
        let part = rest.part(0..<Int(count))
        guard !part.contains(0), let text = String(validating: part, as: UTF8.self) else { return nil }
        rest = rest.part(Int(count)..<rest.count)
        return text
    }

    var isAtEnd: Bool { rest.isEmpty }
}
