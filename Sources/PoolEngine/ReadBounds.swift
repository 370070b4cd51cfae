internal import BlockStorage

/// How far a read goes. Known when its first blocks are looked up, in the same moment.
struct ReadBounds: Sendable {
    let offset: UInt64
    /// Bytes that are read: as asked for, or once `fix` was called as many as there are.
    private(set) var count: Int
    private let isExact: Bool
    /// Whether what will be read next is of interest; and known when the bounds are, what that is.
    private let wantsForecast: Bool
    private(set) var forecast: Range<UInt64>?
    private var isFixed = false
    private var isLimited = true

    /// With `isExact` an object that ends earlier is an error.
    init(offset: UInt64, count: Int, isExact: Bool, wantsForecast: Bool = false) {
        self.wantsForecast = wantsForecast
        self.offset = offset
        self.count = count
        self.isExact = isExact
    }

    /// For blocks inside the engine, which may also lie beyond an object's end.
    static var unlimited: ReadBounds {
        var bounds = ReadBounds(offset: 0, count: 0, isExact: false)
        bounds.isFixed = true
        bounds.isLimited = false
        return bounds
    }

    /// Compares with the object's size, and counts the read; both the first time only. Throws `.outOfRange`.
    mutating func fix(to version: Version, _ counters: inout PoolState.Counters) throws(PoolError) {
        if isFixed { return }
        let size = version.record.size
        let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
        if isExact, overflow || end > size { throw .outOfRange(offset: offset, count: UInt64(count), size: size) }
        if overflow || end > size { count = offset < size ? Int(size - offset) : 0 }
        isFixed = true
        counters.reads += 1
        counters.readBytes += UInt64(count)
        version.requests.reads += 1
        version.requests.readBytes += UInt64(count)
        if wantsForecast, count > 0 { forecast = version.stream.follow(offset..<offset + UInt64(count))?.clamped(to: 0..<size) }
    }

    /// Blocks from `first` on that are within the bounds, at most `most`.
    func blocks(first: UInt64, most: Int, blockSize: Int) -> Int {
        if !isLimited { return most }
        if count == 0 { return 0 }
        let end = (offset + UInt64(count) - 1) / UInt64(blockSize) + 1
        return end > first ? Int(min(UInt64(most), end - first)) : 0
    }
}
