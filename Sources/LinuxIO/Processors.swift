internal import CLinux

/// The processors that this process may use, and which of them its threads run on. Any thread may call.
public struct Processors: Sendable {
    /// A bit for each, the lowest of the first word first.
    private let all: [UInt]
    private static let size = 128

    /// Nil where there is no choice, or the kernel does not tell.
    public init?() {
        var words = [UInt](repeating: 0, count: Self.size / MemoryLayout<UInt>.size)
        guard volfs_get_processors(0, &words, Self.size) == 0, words.reduce(0, { $0 + $1.nonzeroBitCount }) > 1 else { return nil }
        all = words
    }

    /// Keeps a thread of this process on one processor, or lets it run on all again. A thread that has ended, or a processor that is
    /// not to be had, changes nothing.
    public func keep(_ thread: Int32, on processor: Int?) {
        var words = all
        if let processor {
            guard has(processor) else { return }
            words = [UInt](repeating: 0, count: all.count)
            words[processor / UInt.bitWidth] = 1 << UInt(processor % UInt.bitWidth)
        }
        volfs_set_processors(thread, words, Self.size)
    }

    private func has(_ processor: Int) -> Bool {
        processor >= 0 && processor < all.count * UInt.bitWidth && all[processor / UInt.bitWidth] >> UInt(processor % UInt.bitWidth) & 1 == 1
    }

    /// Which one a thread of any process runs on, or did last: the 39th field of /proc/THREAD/stat.
    public static func current(of thread: Int32) -> Int? {
        guard let text = readText("/proc/\(thread)/stat"), let name = text.lastIndex(of: ")") else { return nil }
        // The second field is a name, which may have anything in it.
        let fields = text[name...].split(separator: " ")
        return fields.count > 37 ? Int(fields[37]) : nil
    }
}
