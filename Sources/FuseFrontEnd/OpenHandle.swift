internal import BlockStorage
package import VolumeFS

/// An open volume or snapshot, as a daemon leaves it to the one after it.
///
///     offset  size  field
///          0     8  handle     0 in a slot that is free
///          8     8  object     id of the volume or snapshot
///         16     8  request   the kernel's number of the request that opened it
///         24     8  since     nanoseconds since 1970
///         32     4  process
///         36     4  flags     1: for writing, 2: what is written is durable when the call returns
///         40    16  command   zero behind its end
///         56     4  reserved  zero
///         60     4  checksum  CRC-32C of the 60 bytes before it
package struct OpenHandle: Equatable, Sendable {
    package var handle: UInt64
    package var object: UInt64
    package var request: UInt64
    package var user: VolumeUser
    package var isSynchronous: Bool

    /// Bytes.
    package static let size = 64
    private static let commandLimit = 16

    private enum Offset {
        static let object = 8, request = 16, since = 24, process = 32, flags = 36, command = 40, checksum = 60
    }

    package init(handle: UInt64, object: UInt64, request: UInt64, user: VolumeUser, isSynchronous: Bool) {
        (self.handle, self.object, self.request, self.user, self.isSynchronous) = (handle, object, request, user, isSynchronous)
    }

    /// Nil for a slot that is free. Throws for one that says nothing we know.
    package init?(decoding bytes: UnsafeRawBufferPointer) throws(MountRecord.Problem) {
        handle = bytes.integer(at: 0)
        if handle == 0 { return nil }
        guard bytes.integer(at: Offset.checksum) == crc32c(bytes.part(0..<Offset.checksum)) else { throw .checksum }
        object = bytes.integer(at: Offset.object)
        request = bytes.integer(at: Offset.request)
        let flags: UInt32 = bytes.integer(at: Offset.flags)
        guard flags < 4, object != 0 else { throw .contents }
        let command = bytes.part(Offset.command..<Offset.command + Self.commandLimit).prefix { $0 != 0 }
        user = VolumeUser(
            process: bytes.integer(at: Offset.process), command: String(decoding: command, as: UTF8.self), writes: flags & 1 != 0,
            kind: .fuse, since: bytes.integer(at: Offset.since))
        isSynchronous = flags & 2 != 0
    }

    /// The handle last: whoever is killed in between leaves a slot that is free.
    package func encode(into bytes: UnsafeMutableRawBufferPointer) {
        precondition(handle != 0, "a handle of no meaning")
        withUnsafeTemporaryAllocation(byteCount: Self.size, alignment: 8) { copy in
            copy.clear()
            copy.store(handle, at: 0)
            copy.store(object, at: Offset.object)
            copy.store(request, at: Offset.request)
            copy.store(user.since, at: Offset.since)
            copy.store(user.process, at: Offset.process)
            copy.store(UInt32(user.writes ? 1 : 0) | (isSynchronous ? 2 : 0), at: Offset.flags)
            copy.part(Offset.command..<Offset.command + Self.commandLimit).copyBytes(from: user.command.utf8.prefix(Self.commandLimit))
            copy.store(crc32c(UnsafeRawBufferPointer(copy.part(0..<Offset.checksum))), at: Offset.checksum)
            bytes.part(8..<Self.size).copyMemory(from: UnsafeRawBufferPointer(copy.part(8..<Self.size)))
        }
        SharedWord.publish(handle, at: bytes)
    }
}
