/// A bit for each of many blocks, most of them clear: memory is taken for the neighbourhoods of set bits only, 528 bytes for
/// 4096 bits, and 8 bytes for those without one. Set and clear say what changes: a bit that is set is never set again.
package struct SparseBitmap: ~Copyable {
    private static let pageWords = 64, pageBits = 4096
    /// Pages of `pageWords` words and one that counts their set bits.
    private var pages: UnsafeMutableBufferPointer<UnsafeMutablePointer<UInt64>?>
    /// Pages without set bits, for the next that is needed: a bit that comes and goes costs no allocation.
    private var spares: [UnsafeMutablePointer<UInt64>] = []

    /// All clear.
    package init(count: Int) {
        pages = .allocate(capacity: (count + Self.pageBits - 1) / Self.pageBits)
        pages.initialize(repeating: nil)
    }

    deinit {
        for page in pages { page?.deallocate() }
        for page in spares { page.deallocate() }
        pages.deallocate()
    }

    /// Makes room for more bits, all clear.
    package mutating func grow(to count: Int) {
        let larger = UnsafeMutableBufferPointer<UnsafeMutablePointer<UInt64>?>.allocate(
            capacity: max(pages.count, (count + Self.pageBits - 1) / Self.pageBits))
        for index in 0..<larger.count { larger.initializeElement(at: index, to: index < pages.count ? pages[index] : nil) }
        pages.deallocate()
        pages = larger
    }

    /// Bits 64 * index and the 63 after it.
    package func word(_ index: Int) -> UInt64 { pages[index / Self.pageWords]?[index % Self.pageWords] ?? 0 }

    package func isSet(_ index: Int) -> Bool { word(index / 64) >> UInt64(index % 64) & 1 == 1 }

    /// True if all of the bits are set.
    package func isSet(_ first: Int, _ count: Int) -> Bool {
        var isSet = true
        Self.forEachWord(first, count) { word, mask in if self.word(word) & mask != mask { isSet = false } }
        return isSet
    }

    /// True if none of them is.
    package func isClear(_ first: Int, _ count: Int) -> Bool {
        var isClear = true
        Self.forEachWord(first, count) { word, mask in if self.word(word) & mask != 0 { isClear = false } }
        return isClear
    }

    /// Sets bits that are clear.
    package mutating func set(_ first: Int, _ count: Int) {
        Self.forEachWord(first, count) { word, mask in
            let page = page(word / Self.pageWords), at = word % Self.pageWords
            precondition(page[at] & mask == 0, "set a bit twice")
            page[at] |= mask
            page[Self.pageWords] += UInt64(mask.nonzeroBitCount)
        }
    }

    /// Clears bits that are set.
    package mutating func clear(_ first: Int, _ count: Int) {
        Self.forEachWord(first, count) { word, mask in
            let at = word % Self.pageWords
            guard let page = pages[word / Self.pageWords], page[at] & mask == mask else { preconditionFailure("cleared a bit twice") }
            page[at] &= ~mask
            page[Self.pageWords] -= UInt64(mask.nonzeroBitCount)
            if page[Self.pageWords] == 0 { give(up: word / Self.pageWords) }
        }
    }

    /// The first clear bit at or after `first`, below `end`; nil if there is none.
    package func firstClear(from first: Int, to end: Int) -> Int? {
        var index = first
        while index < end {
            let set = (~(word(index / 64) >> UInt64(index % 64))).trailingZeroBitCount
            // Bits that were shifted in are clear, and not of this word.
            if set < 64 - index % 64 { return index + set < end ? index + set : nil }
            index += 64 - index % 64
        }
        return nil
    }

    /// How many bits from `first` on are clear, at most `limit`.
    package func clearCount(from first: Int, limit: Int) -> Int {
        var count = 0
        while count < limit {
            let index = first + count, left = 64 - index % 64
            let clear = min(left, (word(index / 64) >> UInt64(index % 64)).trailingZeroBitCount)
            count += clear
            if clear < left { break }
        }
        return min(count, limit)
    }

    private mutating func page(_ index: Int) -> UnsafeMutablePointer<UInt64> {
        if let page = pages[index] { return page }
        let page = spares.popLast() ?? {
            let page = UnsafeMutablePointer<UInt64>.allocate(capacity: Self.pageWords + 1)
            page.initialize(repeating: 0, count: Self.pageWords + 1)
            return page
        }()
        pages[index] = page
        return page
    }

    private mutating func give(up index: Int) {
        guard let page = pages[index] else { return }
        pages[index] = nil
        if spares.count < 16 { spares.append(page) } else { page.deallocate() }
    }

    /// The words that have some of the bits, with a mask of those.
    private static func forEachWord(_ first: Int, _ count: Int, _ body: (_ word: Int, _ mask: UInt64) -> Void) {
        var index = first
        let end = first + count
        while index < end {
            let within = index % 64, length = min(64 - within, end - index)
            let ones: UInt64 = length == 64 ? ~0 : 1 << UInt64(length) - 1
            body(index / 64, ones << UInt64(within))
            index += length
        }
    }
}
