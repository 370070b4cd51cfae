internal import BlockStorage
internal import Glibc
internal import PoolEngine

/// Copies bytes, sparse. What the target has already, of an earlier run, is compared, and written only where it differs: so an
/// interrupted copy is gone on with by starting it again, and is right whatever became of the source meanwhile.
struct Transfer: ~Copyable {
    private static let chunk = 1 << 20
    /// Bytes that are taken over at once where they need not be read: as much as a signal may have to wait for.
    private static let stretch: UInt64 = 64 << 20
    private let input: any ByteStream
    private let output: any ByteStream
    private let bytes = AlignedBuffer(count: chunk)
    private let other = AlignedBuffer(count: chunk)
    private var progress: Progress
    private var canTake = true
    /// Bytes behind which nothing more is taken but to see that there is more.
    var limit: UInt64?
    /// What a signal leaves, and how to go on.
    private let object: String, hint: String

    init(from input: any ByteStream, to output: any ByteStream, _ progress: Progress, object: String, hint: String) {
        self.input = input
        self.output = output
        self.progress = progress
        self.object = object
        self.hint = hint
    }

    /// The target is as the source, and durable, on return. Returns how many bytes that are, or were when the source had more than `limit`.
    @discardableResult
    mutating func run() throws(Failure) -> UInt64 {
        let total = try input.size, there = try output.size ?? 0
        var at: UInt64 = 0
        while let extent = try input.extent(at: at) {
            try checkInterruption()
            if extent.isData, let taken = try take(from: at, to: extent.end, there: there) {
                at += taken
            } else if extent.isData {
                let wanted = Int(min(UInt64(Self.chunk), extent.end - at))
                let count = try input.read(at: at, into: bytes.bytes.part(0..<wanted))
                try checkInterruption()
                if count == 0 { break }
                try put(count, at: at, there: there)
                at += UInt64(count)
            } else {
                at = try putHole(from: at, to: extent.end, there: there)
            }
            progress.show(at, of: total)
            if let limit, at > limit { break }
        }
        try output.resize(to: at)
        try output.finish()
        progress.end(at, of: at)
        return at
    }

    /// Takes over a part of the source's data that the target has nothing of yet. Nil where the bytes have to be copied.
    private mutating func take(from offset: UInt64, to end: UInt64, there: UInt64) throws(Failure) -> UInt64? {
        guard canTake, offset >= there else { return nil }
        guard let taken = try output.take(from: input, at: offset, count: min(end - offset, Self.stretch)) else {
            canTake = false
            return nil
        }
        return taken > 0 ? taken : nil
    }

    /// Puts the first `count` bytes of the buffer where they belong, unless they are there.
    private func put(_ count: Int, at offset: UInt64, there: UInt64) throws(Failure) {
        let new = UnsafeRawBufferPointer(bytes.bytes.part(0..<count))
        if offset < there {
            let old = other.bytes.part(0..<Int(min(UInt64(count), there - offset)))
            let found = try output.read(at: offset, into: old)
            // The buffer has memory, so the addresses are there.
            if found == count, memcmp(bytes.bytes.baseAddress!, old.baseAddress!, count) == 0 { return }
        } else if output.isSeekable && isZero(new) {
            return
        }
        try output.write(new, at: offset)
    }

    /// Makes a part of a hole, or finds it made. Returns where that part ends.
    private func putHole(from offset: UInt64, to end: UInt64, there: UInt64) throws(Failure) -> UInt64 {
        if output.isSeekable {
            guard offset < there, let old = try output.extent(at: offset) else { return end }
            if !old.isData { return min(end, old.end) }
        }
        let count = Int(min(end - offset, UInt64(Self.chunk)))
        bytes.bytes.part(0..<count).clear()
        try put(count, at: offset, there: there)
        return offset + UInt64(count)
    }

    private func checkInterruption() throws(Failure) {
        if Interruption.isEnding { progress.leaveLine() }
        try Interruption.check(object, hint)
    }
}
