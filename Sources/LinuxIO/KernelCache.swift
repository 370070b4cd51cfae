internal import BlockStorage
internal import CLinux
internal import Glibc
internal import Synchronization

/// What the kernel has of a file in memory, and what it is told to fetch. All of it is advice, so that nothing is lost where it is not
/// taken. Any thread may call.
final class KernelCache: Sendable {
    /// The file's descriptor, which its owner keeps open.
    private let raw: Int32
    /// Whether the file can be asked for what is in memory. Only the flag itself is communicated: relaxed order is enough.
    private let canTell = Atomic(true)
    private let around = ReadAround()
    /// Counts down from `rest` with every long read that was in memory since the last that was not.
    private let heat = Atomic(0)
    private static let rest = 32
    /// Bytes of a long read.
    private static let longRead = 64 << 10
    /// Bytes between two ranges of a forecast that are read with them, and bytes that the kernel is told of at once: what is longer
    /// than it reads ahead itself it cuts.
    private static let gap: UInt64 = 32 << 10
    private static let advice = 128 << 10

    init(_ raw: Int32) { self.raw = raw }

    /// Whether a read of late was not in memory.
    var misses: Bool { heat.load(ordering: .relaxed) > 0 }

    /// Reads as much as is in memory, and has the kernel begin with the rest, and what lies around it. Returns how much that was.
    /// `isCrowded` says that other reads wait.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64, isCrowded: @autoclosure () -> Bool) -> Int {
        guard canTell.load(ordering: .relaxed) else { return 0 }
        let isShort = ReadAround.concerns(offset, bytes.count)
        let isBegun = isShort && around.isWanted(before: offset, bytes.count, isCrowded: isCrowded())
        if isBegun { beginReading(around: offset) }
        let count = copy(bytes, at: offset)
        if count < bytes.count && isShort && !isBegun && around.isWanted(afterMissAt: offset, bytes.count) { beginReading(around: offset) }
        return count
    }

    /// As `read`, of one of several pieces, of which those that are missing are forecast.
    func readPiece(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        guard canTell.load(ordering: .relaxed) else { return 0 }
        // Where its window was read for another piece that was of use.
        if ReadAround.concerns(offset, bytes.count) { _ = around.isWanted(before: offset, bytes.count, isCrowded: false) }
        return copy(bytes, at: offset)
    }

    private func copy(_ bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        let count = Int(volfs_read_cached(raw, bytes.baseAddress, Int64(bytes.count), Int64(offset)))
        if count < 0 && errno == EOPNOTSUPP { canTell.store(false, ordering: .relaxed) }
        if count < bytes.count {
            heat.store(Self.rest, ordering: .relaxed)
        } else if count >= Self.longRead, heat.load(ordering: .relaxed) > 0 {
            heat.subtract(1, ordering: .relaxed)
        }
        return max(0, count)
    }

    /// Has the kernel begin to read. What lies between two ranges is read too if it is little: that is one read less.
    func forecast(_ ranges: [Range<UInt64>]) {
        var joined: Range<UInt64>?
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) where !range.isEmpty {
            if let last = joined, range.lowerBound <= last.upperBound + Self.gap {
                joined = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                if let joined { beginReading(joined) }
                joined = range
            }
        }
        if let joined { beginReading(joined) }
    }

    private func beginReading(_ range: Range<UInt64>) {
        if ReadAround.concerns(range.lowerBound, range.count), around.isWanted(afterMissAt: range.lowerBound, range.count) {
            return beginReading(around: range.lowerBound)
        }
        for start in stride(from: range.lowerBound, to: range.upperBound, by: Self.advice) {
            posix_fadvise(raw, off_t(start), off_t(min(UInt64(Self.advice), range.upperBound - start)), POSIX_FADV_WILLNEED)
        }
    }

    private func beginReading(around offset: UInt64) {
        posix_fadvise(raw, off_t(offset / ReadAround.window * ReadAround.window), off_t(ReadAround.window), POSIX_FADV_WILLNEED)
    }
}
