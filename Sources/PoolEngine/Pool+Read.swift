public import BlockStorage
internal import Synchronization

extension Pool {
    /// Fills `bytes` with the object's contents from `offset`. Holes are zeros. Throws `.outOfRange` beyond the object's
    /// end, `.corrupt(.data)` for a block whose contents are not those written, or were lost: never returned as data.
    public func read(_ object: UInt64, at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(PoolError) {
        let blockSize = UInt64(geometry.blockSize)
        let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.count))
        let size = try state.withLock { state throws(PoolError) in
            state.counters.reads += 1
            state.counters.readBytes += UInt64(bytes.count)
            return try state.version(of: object).record.size
        }
        guard !overflow, end <= size else {
            throw .outOfRange(offset: offset, count: UInt64(bytes.count), size: size)
        }
        var at = offset
        while at < end {
            let done = Int(at - offset)
            let within = at % blockSize
            if within != 0 || end - at < blockSize {
                let count = Int(min(blockSize - within, end - at))
                let block = AlignedBuffer(count: geometry.blockSize)
                try readBlocks(object, first: at / blockSize, into: block.bytes)
                bytes.part(done..<done + count).copyMemory(
                    from: UnsafeRawBufferPointer(block.bytes.part(Int(within)..<Int(within) + count)))
                at += UInt64(count)
            } else {
                let blocks = min((end - at) / blockSize, UInt64(geometry.fanout))
                try readBlocks(object, first: at / blockSize, into: bytes.part(done..<done + Int(blocks * blockSize)))
                at += blocks * blockSize
            }
        }
    }

    /// Reads whole blocks; at most a leaf's worth.
    func readBlocks(_ object: UInt64, first: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(PoolError) {
        let count = bytes.count / geometry.blockSize
        let entries = try entries(object, first: first, count: count)
        var index = 0
        while index < count {
            var end = index + 1
            let isHole = entries[index].isHole
            if entries[index].isPoisoned { throw .corrupt(.data, position: 0, .missing) }
            while end < count, entries[end].isHole == isHole,
                isHole || map.isContiguous(entries[end - 1].address, entries[end].address)
            { end += 1 }
            let part = bytes.part(index * geometry.blockSize..<end * geometry.blockSize)
            if isHole {
                part.clear()
            } else {
                try device.read(into: part, at: map.offset(of: entries[index].address))
                for block in index..<end {
                    try verify(object, first + UInt64(block), entries[block], bytes.part(range(ofBlock: block)))
                }
            }
            index = end
        }
    }

    private func range(ofBlock index: Int) -> Range<Int> { index * geometry.blockSize..<(index + 1) * geometry.blockSize }

    /// The mapping of `count` blocks, all at one moment.
    private func entries(_ object: UInt64, first: UInt64, count: Int) throws(PoolError) -> [Entry] {
        try withNodes { state, missing throws(PoolError) -> [Entry]? in
            let version = try state.version(of: object)
            var entries: [Entry] = []
            entries.reserveCapacity(count)
            while entries.count < count {
                let block = first + UInt64(entries.count)
                guard let found = state.descend(version, to: 0, block: block, missing: &missing) else { return nil }
                let left = min(count - entries.count, Int(state.span(0) - block % state.span(0)))
                if case .hole(let generation) = found.reference {
                    entries.append(contentsOf: repeatElement(.hole(generation), count: left))
                } else {
                    guard let leaf = state.resolve(found.reference, level: 0, block: block, missing: &missing) else { return nil }
                    let slot = state.slot(block, 0)
                    for index in slot..<slot + left { entries.append(leaf.entry(index, state.geometry.fanout)) }
                }
            }
            return entries
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
    /// beyond `limit` is not looked for.
    public func extent(_ object: UInt64, at offset: UInt64, upTo limit: UInt64 = .max) throws(PoolError) -> Extent? {
        let blockSize = UInt64(geometry.blockSize)
        var scan = ExtentScan(block: offset / blockSize)
        while !scan.isDone {
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
