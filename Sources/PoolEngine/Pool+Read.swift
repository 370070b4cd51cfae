public import BlockStorage

extension Pool {
    /// Fills `bytes` with the object's contents from `offset`. Holes are zeros. Throws `.outOfRange` beyond the object's
    /// end, `.corrupt(.data)` for a block whose contents are not those written, or were lost: never returned as data.
    public func read(_ object: UInt64, at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(PoolError) {
        var bounds = bounds(offset, bytes.count, isExact: true)
        _ = try read(object, into: bytes, &bounds)
    }

    /// As `read`, of what there is before the object's end: returns how many bytes that were, 0 at the end and beyond.
    public func readAvailable(
        _ object: UInt64, at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) -> Int {
        var bounds = bounds(offset, bytes.count, isExact: false)
        return try read(object, into: bytes, &bounds)
    }

    private func bounds(_ offset: UInt64, _ count: Int, isExact: Bool) -> ReadBounds {
        ReadBounds(offset: offset, count: count, isExact: isExact, wantsForecast: count >= ReadStream.least && device.wantsForecast)
    }

    private func read(
        _ object: UInt64, into bytes: UnsafeMutableRawBufferPointer, _ bounds: inout ReadBounds
    ) throws(PoolError) -> Int {
        let blockSize = geometry.blockSize
        var done = 0
        repeat {
            // No overflow: after the first round the bounds end at the object's size, and the offset itself fits.
            let at = bounds.offset + UInt64(done), first = at / UInt64(blockSize)
            let within = Int(at % UInt64(blockSize)), left = bytes.count - done
            if within == 0 && left >= blockSize {
                let blocks = min(left / blockSize, geometry.fanout)
                try readBlocks(object, first: first, into: bytes.part(done..<done + blocks * blockSize), &bounds)
                done += blocks * blockSize
            } else {
                let count = min(blockSize - within, left)
                let block = AlignedBuffer(count: blockSize)
                try readBlocks(object, first: first, into: block.bytes, &bounds)
                bytes.part(done..<done + count).copyMemory(from: UnsafeRawBufferPointer(block.bytes.part(within..<within + count)))
                done += count
            }
        } while done < bounds.count
        if let range = bounds.forecast { forecast(object, range) }
        return bounds.count
    }

    /// Tells the device where a range of an object lies, which will be read soon. What cannot be found out is left out.
    private func forecast(_ object: UInt64, _ range: Range<UInt64>) {
        let blockSize = UInt64(geometry.blockSize)
        var block = range.lowerBound / blockSize
        let end = (range.upperBound + blockSize - 1) / blockSize
        while block < end {
            let count = Int(min(end - block, UInt64(geometry.fanout)))
            withUnsafeTemporaryAllocation(of: Entry.self, capacity: count) { entries in
                var bounds = ReadBounds.unlimited
                guard let found = try? look(up: object, first: block, into: entries, &bounds) else { return }
                var places: [Range<UInt64>] = []
                forEachPlace(of: UnsafeBufferPointer(rebasing: entries[..<found])) { places.append($1) }
                device.forecast(places)
            }
            block += UInt64(count)
        }
    }

    /// Calls `body` for every run of data with the indices of its entries and the bytes of the device that it is.
    private func forEachPlace(of entries: UnsafeBufferPointer<Entry>, _ body: (Range<Int>, Range<UInt64>) -> Void) {
        var index = 0
        while index < entries.count {
            let end = endOfRun(entries, from: index), entry = entries[index]
            if entry.isStored {
                let start = map.offset(of: entry.address)
                body(index..<end, start..<start + UInt64((end - index) * geometry.blockSize))
            }
            index = end
        }
    }

    /// Reads whole blocks; at most a leaf's worth.
    func readBlocks(_ object: UInt64, first: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(PoolError) {
        var bounds = ReadBounds.unlimited
        try readBlocks(object, first: first, into: bytes, &bounds)
    }

    private func readBlocks(
        _ object: UInt64, first: UInt64, into bytes: UnsafeMutableRawBufferPointer, _ bounds: inout ReadBounds
    ) throws(PoolError) {
        // On the stack for up to 32 blocks, as any request of a few is.
        try withUnsafeTemporaryAllocation(of: Entry.self, capacity: bytes.count / geometry.blockSize) { entries throws(PoolError) in
            let count = try look(up: object, first: first, into: entries, &bounds)
            // At an object's end there are fewer, or none.
            if count == 0 { return }
            try read(object, first: first, UnsafeBufferPointer(rebasing: entries[..<count]), into: bytes.part(0..<count * geometry.blockSize))
        }
    }

    /// Reads the blocks of `entries`: neighbours on the device as one piece, and all that lies apart with one call.
    private func read(
        _ object: UInt64, first: UInt64, _ entries: UnsafeBufferPointer<Entry>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        var index = 0, end = endOfRun(entries, from: 0)
        if end == entries.count { return try read(object, first: first, run: entries, into: bytes) }
        var isFetched = true
        do throws(PoolError) {
            try fetch(entries, into: bytes)
        } catch {
            // The blocks may have been moved, and their place cut off the device, since they were looked up.
            if try isStill(object, first, entries) { throw error }
            isFetched = false
        }
        while index < entries.count {
            let run = UnsafeBufferPointer(rebasing: entries[index..<end])
            let part = bytes.part(index * geometry.blockSize..<end * geometry.blockSize)
            if isFetched && run[0].isStored {
                try verify(object, first: first + UInt64(index), run, part)
            } else {
                try read(object, first: first + UInt64(index), run: run, into: part)
            }
            index = end
            end = endOfRun(entries, from: index)
        }
    }

    /// Fills what is data, unverified.
    private func fetch(_ entries: UnsafeBufferPointer<Entry>, into bytes: UnsafeMutableRawBufferPointer) throws(PoolError) {
        try withUnsafeTemporaryAllocation(of: ReadPiece.self, capacity: entries.count) { pieces throws(PoolError) in
            var count = 0
            forEachPlace(of: entries) { run, place in
                let part = bytes.part(run.lowerBound * geometry.blockSize..<run.upperBound * geometry.blockSize)
                pieces.initializeElement(at: count, to: ReadPiece(into: part, at: place.lowerBound))
                count += 1
            }
            try device.read(UnsafeBufferPointer(rebasing: pieces[..<count]))
        }
    }

    /// Where the entries end that are all holes, or all neighbours on the device.
    private func endOfRun(_ entries: UnsafeBufferPointer<Entry>, from start: Int) -> Int {
        var end = start + 1
        if end >= entries.count { return entries.count }
        let isHole = entries[start].isHole
        if entries[start].isPoisoned { return end }
        while end < entries.count, entries[end].isHole == isHole, !entries[end].isPoisoned,
            isHole || map.isContiguous(entries[end - 1].address, entries[end].address)
        { end += 1 }
        return end
    }

    /// Reads the blocks of one run of entries.
    private func read(
        _ object: UInt64, first: UInt64, run: UnsafeBufferPointer<Entry>, into bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        if run[0].isPoisoned { throw .corrupt(.data, position: 0, .missing) }
        if run[0].isHole { return bytes.clear() }
        do throws(PoolError) {
            try device.read(into: bytes, at: map.offset(of: run[0].address))
        } catch {
            if try isStill(object, first, run) { throw error }
            return try readBlocks(object, first: first, into: bytes)
        }
        try verify(object, first: first, run, bytes)
    }

    /// True if blocks from `first` on are mapped as they were looked up.
    private func isStill(_ object: UInt64, _ first: UInt64, _ entries: UnsafeBufferPointer<Entry>) throws(PoolError) -> Bool {
        for (index, entry) in entries.enumerated() {
            let now = try withNodes { state, missing throws(PoolError) -> Entry? in
                state.entry(try state.version(of: object), first + UInt64(index), missing: &missing)
            }
            if now != entry { return false }
        }
        return true
    }

    /// Finds the mapping of blocks from `first` on, all at one moment: of as many as there is room for in `entries`, and are
    /// within `bounds`, which are fixed at the same moment. Returns how many.
    private func look(
        up object: UInt64, first: UInt64, into entries: UnsafeMutableBufferPointer<Entry>, _ bounds: inout ReadBounds
    ) throws(PoolError) -> Int {
        try withNodes { state, missing throws(PoolError) -> Int? in
            let version = try state.version(of: object)
            try bounds.fix(to: version, &state.counters)
            let count = bounds.blocks(first: first, most: entries.count, blockSize: state.geometry.blockSize)
            var done = 0
            while done < count {
                let block = first + UInt64(done)
                guard let found = state.descend(version, to: 0, block: block, missing: &missing) else { return nil }
                let left = min(count - done, Int(state.span(0) - block % state.span(0)))
                if case .hole(let generation) = found.reference {
                    for index in done..<done + left { entries.initializeElement(at: index, to: .hole(generation)) }
                } else {
                    guard let leaf = state.resolve(found.reference, level: 0, block: block, missing: &missing) else { return nil }
                    let slot = state.slot(block, 0)
                    for index in 0..<left {
                        entries.initializeElement(at: done + index, to: leaf.entry(slot + index, state.geometry.fanout))
                    }
                }
                done += left
            }
            return count
        }
    }

    private func verify(
        _ object: UInt64, first: UInt64, _ run: UnsafeBufferPointer<Entry>, _ bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        if run.count == 1 { return try verify(object, first, run[0], bytes) }
        for index in run.indices {
            try verify(object, first + UInt64(index), run[index], bytes.part(index * geometry.blockSize..<(index + 1) * geometry.blockSize))
        }
    }

    /// Checks a block just read. A block that was freed and used again while we read it has a new entry: it is read
    /// again. If the entry still stands, the device returned something else than was written.
    private func verify(
        _ object: UInt64, _ block: UInt64, _ entry: Entry, _ bytes: UnsafeMutableRawBufferPointer
    ) throws(PoolError) {
        if crc32c(UnsafeRawBufferPointer(bytes)) == entry.checksum { return }
        let now = try withNodes { state, missing throws(PoolError) -> Entry? in
            state.entry(try state.version(of: object), block, missing: &missing)
        }
        guard now == entry else { return try readBlocks(object, first: block, into: bytes) }
        state.withLock { $0.counters.checksumErrors += 1 }
        throw .corrupt(.data, position: map.offset(of: entry.address), .checksum)
    }

    /// What lies at `offset`, and where it ends: data, or a hole. Nil at or beyond the object's end, which ends a hole. An end
    /// beyond `limit` is not looked for. Throws `.notFound`, `.corrupt` for a node that cannot be read, `.cancelled`.
    public func extent(
        _ object: UInt64, at offset: UInt64, upTo limit: UInt64 = .max, control: JobControl? = nil
    ) throws(PoolError) -> Extent? {
        let blockSize = UInt64(geometry.blockSize)
        var scan = ExtentScan(block: offset / blockSize)
        while !scan.isDone {
            if control?.isCancelled == true { throw .cancelled }
            // Some leaves at a time: what was found stays found, however long the extent is and however small the cache.
            scan = try withNodes { state, missing throws(PoolError) -> ExtentScan? in
                var next = scan
                next.size = try state.version(of: object).record.size
                next.endBlock = state.geometry.blocks(covering: min(next.size, max(limit, offset + 1)))
                return state.advance(&next, try state.version(of: object), leaves: 64, missing: &missing) ? next : nil
            }
        }
        guard offset < scan.size else { return nil }
        let end = min(scan.block * blockSize, scan.size)
        return Extent(isData: scan.isData ?? false, end: max(end, offset))
    }
}

/// How far the search for an extent's end has come.
struct ExtentScan: Sendable {
    var block: UInt64
    var isData: Bool?
    var isDone = false
    var size: UInt64 = 0
    var endBlock: UInt64 = 0

    init(block: UInt64) { self.block = block }
}

extension PoolState {
    /// Goes on to the extent's end, past at most `leaves` leaves. False if nodes are missing.
    func advance(_ scan: inout ExtentScan, _ version: Version, leaves: Int, missing: inout [MissingNode]) -> Bool {
        for _ in 0..<leaves {
            guard scan.block < scan.endBlock else {
                scan.isDone = true
                return true
            }
            if scan.block >= span(version.level) && scan.isData != true {
                (scan.isData, scan.block) = (false, scan.endBlock)
                continue
            }
            guard let found = descend(version, to: 0, block: scan.block, missing: &missing) else { return false }
            if found.reference.isHole {
                scan.isDone = scan.isData == true
                if scan.isDone { return true }
                scan.isData = false
                scan.block = (scan.block & ~(span(found.level) - 1)) + span(found.level)
                continue
            }
            guard let leaf = resolve(found.reference, level: 0, block: scan.block, missing: &missing) else { return false }
            repeat {
                let isData = !leaf.entry(slot(scan.block, 0), geometry.fanout).isHole
                scan.isDone = scan.isData == !isData
                if scan.isDone { return true }
                scan.isData = isData
                scan.block += 1
            } while scan.block < scan.endBlock && slot(scan.block, 0) != 0
        }
        return true
    }
}

/// A stretch of an object that is all data or all hole, up to `end` bytes from the object's start.
public struct Extent: Equatable, Sendable {
    public var isData: Bool
    public var end: UInt64

    public init(isData: Bool, end: UInt64) {
        self.isData = isData
        self.end = end
    }
}
