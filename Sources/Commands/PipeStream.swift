internal import BlockStorage
internal import Glibc
internal import PoolEngine

/// Standard input or output, or what else takes bytes only one behind the other.
final class PipeStream: ByteStream {
    private let descriptor: Int32
    private let name: String
    /// Bytes that were looked at and not yet taken.
    private var ahead: [UInt8] = []

    init(_ descriptor: Int32, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    var size: UInt64? { nil }
    var isSeekable: Bool { false }
    var mode: UInt32? { nil }

    /// The next bytes, which stay to be read.
    func peek(_ count: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: Failure?
        let found = bytes.withUnsafeMutableBytes { buffer -> Int in
            do throws(Failure) { return try read(at: 0, into: buffer) } catch { failure = error }
            return 0
        }
        if let failure { throw failure }
        ahead = Array(bytes[..<found])
        return ahead
    }

    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        var done = min(ahead.count, bytes.count)
        bytes.copyBytes(from: ahead[..<done])
        ahead.removeFirst(done)
        while done < bytes.count {
            // Looked at before every wait, which a signal ends.
            if Interruption.isEnding { break }
            let rest = bytes.part(done..<bytes.count)
            let count = Glibc.read(descriptor, rest.baseAddress, rest.count)
            if count == 0 { break }
            if count < 0 && errno != EINTR { throw Failure(errno: errno, object: name, reason: String(cString: strerror(errno))) }
            done += max(0, count)
        }
        return done
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(Failure) {
        var done = 0
        while done < bytes.count {
            if Interruption.isEnding { return }
            let rest = bytes.part(done..<bytes.count)
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 && errno != EINTR { throw Failure(errno: errno, object: name, reason: String(cString: strerror(errno))) }
            done += max(0, count)
        }
    }

    /// All data, up to an end that only reading finds.
    func extent(at offset: UInt64) throws(Failure) -> Extent? { Extent(isData: true, end: .max) }

    func resize(to size: UInt64) throws(Failure) {}

    func finish() throws(Failure) {
        var number = EINTR
        while number == EINTR { number = fsync(descriptor) == 0 ? 0 : errno }
        // What keeps nothing, as a pipe, says that of itself.
        if [0, EINVAL, EROFS, EOPNOTSUPP].contains(number) { return }
        throw Failure(errno: number, object: name, reason: String(cString: strerror(number)))
    }
}
