internal import BlockStorage
internal import Synchronization

/// Decides when the neighbours of what is read are read with it, into the kernel's cache.
///
/// To a disk a window of 64 KiB is hardly more work than a block of it, and a client that reads one block of a system's image soon
/// reads others beside it; so Linux, too, reads around a fault in a mapped file (mm/filemap.c, `do_sync_mmap_readahead`), but not
/// around a read. Whether it is of use is seen from the windows themselves: for each it is noted which of its blocks were asked for
/// later, and while that is less than one in the mean, only every sixteenth is still read, as a sample. Any thread may call.
package final class ReadAround: Sendable {
    /// Bytes of a window, and of the blocks that it is judged by.
    package static let window: UInt64 = 64 << 10
    private static let block: UInt64 = 4 << 10
    /// Windows that are remembered: those of a gigabyte, in 256 KiB of memory.
    fileprivate static let remembered = 16_384
    /// Short reads after the last miss during which another is thought possible, and likely.
    private static let chill = 64, frost = 32
    /// While it is of little use: one window of so many is read, and judged after so many others.
    fileprivate static let rarity: UInt32 = 16, sampled = 256
    /// Windows read since one for which that may still be on its way.
    fileprivate static let inFlight: UInt64 = 64
    /// One block of use, in the unit of the mean.
    fileprivate static let one = 256

    /// Counts down from `chill` with every read since the last miss. Where all is in memory that is what a read costs: a look at it.
    /// Stored under the lock; a hint to who reads it without.
    private let coldness = Atomic(0)
    private let state = BusyMutex(State())

    fileprivate struct State {
        /// By a window's number modulo their count. Empty until the first miss.
        var windows: [Window] = []
        /// Windows read until now, and up to which of them they are thought to be gone from memory.
        var count: UInt64 = 0
        var gone: UInt64 = 0
        /// Mean of the blocks that were asked for later, with a weight of 1/64 for the newest. It begins with hope.
        var use = 4 * ReadAround.one
        var taken = 0
        /// Where the last samples are. They are judged by the time as many others have been taken, so that a better use shows soon.
        var samples = [Int](repeating: 0, count: ReadAround.sampled)
    }

    /// What is remembered of a window: the lowest 32 bits of its number, which blocks it was read for, which were asked for later,
    /// and when it was read; 0 is never. One 256 TiB away may be taken for it: what is the worse for it is an estimate.
    fileprivate struct Window {
        var number: UInt32 = 0
        var first: UInt16 = 0
        var later: UInt16 = 0
        var order: UInt64 = 0
    }

    package init() {}

    /// Whether a read of `count` bytes is short enough, and within one window.
    package static func concerns(_ offset: UInt64, _ count: Int) -> Bool {
        count > 0 && count <= Int(window) / 4 && offset / window == (offset + UInt64(count) - 1) / window
    }

    /// Before a read. True if its window should be read first, so that the disk is asked once: `isCrowded` says that other reads
    /// wait, the window is not known, and of the last reads one missed. A client that waits for this one alone has its block sooner
    /// if that is asked for by itself, and the rest after it.
    package func isWanted(before offset: UInt64, _ count: Int, isCrowded: Bool) -> Bool {
        if coldness.load(ordering: .relaxed) == 0 { return false }
        return state.withLock { state in
            let left = coldness.load(ordering: .relaxed)
            if left > 0 { coldness.store(left - 1, ordering: .relaxed) }
            if state.touch(offset, count) { return false }
            return isCrowded && left > Self.frost && state.take(offset, count)
        }
    }

    /// After a read found something not in memory. True if its window should be read now.
    package func isWanted(afterMissAt offset: UInt64, _ count: Int) -> Bool {
        state.withLock { state in
            coldness.store(Self.chill, ordering: .relaxed)
            if state.windows.isEmpty { state.windows = Array(repeating: Window(), count: Self.remembered) }
            return !state.isOnItsWay(offset, count) && state.take(offset, count)
        }
    }

    /// The blocks of a read in its window.
    fileprivate static func blocks(_ offset: UInt64, _ count: Int) -> UInt16 {
        let first = offset % window / block, last = (offset % window + UInt64(count) - 1) / block
        return UInt16(truncatingIfNeeded: (UInt32(2) << UInt32(last)) - (UInt32(1) << UInt32(first)))
    }
}

extension ReadAround.State {
    private func place(_ offset: UInt64) -> (number: UInt32, index: Int) {
        let number = offset / ReadAround.window
        return (UInt32(truncatingIfNeeded: number), Int(number % UInt64(ReadAround.remembered)))
    }

    /// Notes that blocks of a window are used. False if it is none that was read, or is gone.
    fileprivate mutating func touch(_ offset: UInt64, _ count: Int) -> Bool {
        let (number, index) = place(offset)
        guard index < windows.count, windows[index].number == number, windows[index].order > gone else { return false }
        windows[index].later |= ReadAround.blocks(offset, count)
        return true
    }

    /// Whether a window that was missed was read just before. If it was read, but earlier, it has gone from memory, and so probably
    /// have all that are as old.
    fileprivate mutating func isOnItsWay(_ offset: UInt64, _ count: Int) -> Bool {
        guard touch(offset, count) else { return false }
        let order = windows[place(offset).index].order
        if self.count - order < ReadAround.inFlight { return true }
        gone = order
        return false
    }

    /// Remembers a window as read, and judges the one it displaces. False if it should not be read.
    fileprivate mutating func take(_ offset: UInt64, _ count: Int) -> Bool {
        let (number, index) = place(offset)
        if use < ReadAround.one {
            // The same windows always, mixed by Fibonacci hashing (Knuth, The Art of Computer Programming 6.4), so that no pattern
            // of reads has samples in the same place of it.
            if number &* 0x9e37_79b9 >= UInt32.max / ReadAround.rarity { return false }
            taken = (taken + 1) % ReadAround.sampled
            judge(samples[taken])
            samples[taken] = index
        }
        judge(index)
        self.count += 1
        windows[index] = ReadAround.Window(number: number, first: ReadAround.blocks(offset, count), order: self.count)
        return true
    }

    private mutating func judge(_ index: Int) {
        let old = windows[index]
        if old.order == 0 { return }
        use += ((old.later & ~old.first).nonzeroBitCount * ReadAround.one - use) / 64
        windows[index].order = 0
    }
}
