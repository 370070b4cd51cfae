internal import BlockStorage

/// A request that must not be done twice, as a daemon leaves it to the one after it.
///
///     offset  size  field
///          0     8  request   the kernel's number; 0 in a slot that is free
///          8     8  object    inode that it is about, or 0
///         16     8  started   nanoseconds since 1970
///         24     8  made      inode that it has made, or 0
///         32     4  state     1: begun, 2: done
///         36     4  errno     of one that is done
///         40    24  reserved  zero
///
/// No checksum: it changes in two steps, each of which stores one word.
package struct BegunRequest: Equatable, Sendable {
    package var request: UInt64
    package var object: UInt64
    package var started: UInt64
    /// Nil as long as it is not known.
    package var result: Result?

    package struct Result: Equatable, Sendable {
        package var errno: Int32
        package var made: UInt64
        package init(errno: Int32 = 0, made: UInt64 = 0) { (self.errno, self.made) = (errno, made) }
    }

    /// Bytes.
    package static let size = 64
    enum Offset { static let object = 8, started = 16, made = 24, state = 32, errno = 36 }

    package init(request: UInt64, object: UInt64, started: UInt64) { (self.request, self.object, self.started) = (request, object, started) }

    /// Nil for a slot that is free. Throws for one that says nothing we know.
    package init?(decoding bytes: UnsafeRawBufferPointer) throws(MountRecord.Problem) {
        request = bytes.integer(at: 0)
        if request == 0 { return nil }
        object = bytes.integer(at: Offset.object)
        started = bytes.integer(at: Offset.started)
        let state: UInt32 = bytes.integer(at: Offset.state), errno: Int32 = bytes.integer(at: Offset.errno)
        guard (1...2).contains(state), (0...4095).contains(errno) else { throw .contents }
        if state == 2 { result = Result(errno: errno, made: bytes.integer(at: Offset.made)) }
    }

    /// The number last: whoever is killed in between leaves a slot that is free.
    package func encode(into bytes: UnsafeMutableRawBufferPointer) {
        precondition(request != 0 && result == nil, "a request that has begun")
        bytes.part(8..<Self.size).clear()
        bytes.store(object, at: Offset.object)
        bytes.store(started, at: Offset.started)
        bytes.store(1 as UInt32, at: Offset.state)
        SharedWord.publish(request, at: bytes)
    }

    /// What it has come to: state and errno are one word.
    package static func encode(_ result: Result, into bytes: UnsafeMutableRawBufferPointer) {
        bytes.store(result.made, at: Offset.made)
        SharedWord.publish(2 | UInt64(UInt32(bitPattern: result.errno)) << 32, at: bytes.part(Offset.state..<Offset.state + 8))
    }
}
