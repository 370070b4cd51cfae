internal import BlockStorage

/// What a daemon leaves about a mount for the one after it, in memory that a service manager keeps: the part that never changes.
///
///     offset  size  field
///          0     8  magic          "VOLFSMNT"
///          8     4  version        1
///         12     4  checksum       CRC-32C of all `size` bytes, with this field taken as zero
///         16     4  slots          how many open files the table behind it has room for
///         20     4  intents        how many requests the table behind that has room for
///         24     4  flags          1: mounted read-only
///         28     4  maximumRead    bytes of the largest read; 0 leaves it to the kernel
///         32     4  maximumWrite   bytes of the largest write the kernel was promised to be able to send
///         36     4  readAhead      bytes the kernel reads ahead
///         40     4  capabilities   libfuse's bits of what was agreed with the kernel
///         44     4  initialCount   bytes of the kernel's first request
///         48   256  initial        that request
///        304    32  device         MAJOR:MINOR of the mounted filesystem; this and the two after it are two bytes of length
///                                  and then the text
///        336  4098  mountpoint
///       4434  4098  source
///       8532   …    reserved       zero
package struct MountRecord: Equatable, Sendable {
    package var slots: UInt32
    package var intents: UInt32
    package var isReadOnly: Bool
    package var maximumRead: UInt32
    package var maximumWrite: UInt32
    package var readAhead: UInt32
    package var capabilities: UInt32
    /// The kernel's first request, which it does not send again: what it can do.
    package var initial: [UInt8]
    package var device: String
    package var mountpoint: String
    package var source: String

    /// Bytes.
    package static let size = 12288
    static let initialLimit = 256, deviceLimit = 30, pathLimit = 4096
    private static let magic = Array("VOLFSMNT".utf8), version: UInt32 = 1

    /// Why a record cannot be used.
    package enum Problem: Error, Equatable, Sendable { case magic, version(UInt32), checksum, contents }

    private enum Offset {
        static let version = 8, checksum = 12, slots = 16, intents = 20, flags = 24, maximumRead = 28, maximumWrite = 32
        static let readAhead = 36, capabilities = 40, initialCount = 44, initial = 48, device = 304, mountpoint = 336, source = 4434
    }

    package init(
        slots: UInt32, intents: UInt32, isReadOnly: Bool, maximumRead: UInt32, maximumWrite: UInt32, readAhead: UInt32,
        capabilities: UInt32, initial: [UInt8], device: String, mountpoint: String, source: String
    ) {
        (self.slots, self.intents, self.isReadOnly, self.maximumRead) = (slots, intents, isReadOnly, maximumRead)
        (self.maximumWrite, self.readAhead, self.capabilities) = (maximumWrite, readAhead, capabilities)
        (self.initial, self.device, self.mountpoint, self.source) = (initial, device, mountpoint, source)
    }

    /// Whether all of it fits.
    package var isStorable: Bool {
        initial.count <= Self.initialLimit && device.utf8.count <= Self.deviceLimit && mountpoint.utf8.count <= Self.pathLimit
            && source.utf8.count <= Self.pathLimit
    }

    /// Throws what is wrong with the bytes of somebody we do not know.
    package init(decoding bytes: UnsafeRawBufferPointer) throws(Problem) {
        guard bytes.count >= Self.size else { throw .contents }
        guard bytes.prefix(8).elementsEqual(Self.magic) else { throw .magic }
        // A later version may have its checksum elsewhere.
        let version: UInt32 = bytes.integer(at: Offset.version)
        guard version == Self.version else { throw .version(version) }
        guard bytes.integer(at: Offset.checksum) == Self.checksum(bytes) else { throw .checksum }
        slots = bytes.integer(at: Offset.slots)
        intents = bytes.integer(at: Offset.intents)
        let flags: UInt32 = bytes.integer(at: Offset.flags), count: UInt32 = bytes.integer(at: Offset.initialCount)
        guard flags <= 1, count <= UInt32(Self.initialLimit), slots <= 1 << 24, intents <= 1 << 16 else { throw .contents }
        isReadOnly = flags == 1
        maximumRead = bytes.integer(at: Offset.maximumRead)
        maximumWrite = bytes.integer(at: Offset.maximumWrite)
        readAhead = bytes.integer(at: Offset.readAhead)
        capabilities = bytes.integer(at: Offset.capabilities)
        initial = Array(bytes.part(Offset.initial..<Offset.initial + Int(count)))
        device = try Self.text(bytes, Offset.device, Self.deviceLimit)
        mountpoint = try Self.text(bytes, Offset.mountpoint, Self.pathLimit)
        source = try Self.text(bytes, Offset.source, Self.pathLimit)
    }

    package func encode(into bytes: UnsafeMutableRawBufferPointer) {
        precondition(isStorable, "texts longer than their fields")
        bytes.part(0..<Self.size).clear()
        bytes.copyBytes(from: Self.magic)
        bytes.store(Self.version, at: Offset.version)
        bytes.store(slots, at: Offset.slots)
        bytes.store(intents, at: Offset.intents)
        bytes.store(UInt32(isReadOnly ? 1 : 0), at: Offset.flags)
        bytes.store(maximumRead, at: Offset.maximumRead)
        bytes.store(maximumWrite, at: Offset.maximumWrite)
        bytes.store(readAhead, at: Offset.readAhead)
        bytes.store(capabilities, at: Offset.capabilities)
        bytes.store(UInt32(initial.count), at: Offset.initialCount)
        bytes.part(Offset.initial..<Offset.initial + initial.count).copyBytes(from: initial)
        for (text, offset) in [(device, Offset.device), (mountpoint, Offset.mountpoint), (source, Offset.source)] {
            bytes.store(UInt16(text.utf8.count), at: offset)
            bytes.part(offset + 2..<offset + 2 + text.utf8.count).copyBytes(from: Array(text.utf8))
        }
        bytes.store(Self.checksum(UnsafeRawBufferPointer(bytes)), at: Offset.checksum)
    }

    private static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let zero: [UInt8] = [0, 0, 0, 0]
        var sum = crc32c(bytes.part(0..<Offset.checksum))
        sum = zero.withUnsafeBytes { crc32c($0, seed: sum) }
        return crc32c(bytes.part(Offset.checksum + 4..<size), seed: sum)
    }

    private static func text(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _ limit: Int) throws(Problem) -> String {
        let count = Int(bytes.integer(at: offset, as: UInt16.self))
        guard count <= limit, let text = String(validating: bytes.part(offset + 2..<offset + 2 + count), as: UTF8.self) else { throw .contents }
        return text
    }
}
