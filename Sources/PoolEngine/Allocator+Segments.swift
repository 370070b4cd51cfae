/// Which segment the next blocks of each purpose come from.
extension Allocator {
    /// The first free run in `segment` at or after block `cursor` of it, at most `limit` long.
    func nextRun(in segment: Int, from cursor: Int, limit: Int) -> BlockRun? {
        let end = (segment + 1) * geometry.segmentBlocks
        guard let index = busy.firstClear(from: segment * geometry.segmentBlocks + cursor, to: end) else { return nil }
        return BlockRun(start: map.address(of: index), count: busy.clearCount(from: index, limit: min(limit, end - index)))
    }

    /// Moves a stream to its next segment: the one that became free last; else one at least half free that was written before,
    /// since the host has storage for it already; else a new one; else any with a free block, at last also one of another purpose.
    /// Bulk data prefers, of those written before, one where what is free lies together.
    mutating func openSegment(_ stream: inout Stream, for purpose: Purpose) {
        if purpose == .node, let segment = takeReady() {
            (stream.segment, stream.cursor) = (segment, 0)
            segmentUse[segment] = .node
            return
        }
        let use: Use = purpose == .node ? .node : .data
        stream.cursor = 0
        freed.noteOpened()
        if let found = takeFreed()
            ?? (purpose == .bulkData ? segmentOfLongRuns(&stream.rotor) : nil)
            ?? roomySegment(&stream.rotor, for: purpose == .bulkData ? .data : purpose, use: use)
            ?? remnantSegment(&stream.rotor, below: segmentFree.count, use: use)
            ?? takeReadyForAnybody()
            ?? sharedSegment()
        {
            stream.segment = found
        } else {
            preconditionFailure("free blocks are counted that no segment has")
        }
        segmentUse[stream.segment] = use
    }

    /// A segment at least half free, first of those that were written before, with `onlyTouched` of no others. Where there is none it is
    /// not looked for again until one becomes so: on a full pool that look takes long.
    mutating func roomySegment(_ rotor: inout Int, for purpose: Purpose, use: Use, onlyTouched: Bool = false) -> Int? {
        guard mayHaveRoom[purpose.rawValue] else { return nil }
        let half = geometry.segmentBlocks / 2, warm = touchedSegments
        let touched = scan(&rotor, below: warm, minimum: half, use: use, isWritten: true) ?? scan(&rotor, below: warm, minimum: half, use: use)
        if touched != nil || onlyTouched { return touched }
        let new = (warm..<segmentFree.count).first { isAvailable($0, minimum: half, use: use) }
        mayHaveRoom[purpose.rawValue] = new != nil
        return new
    }

    /// Any segment with a free block, at last also one of another purpose.
    func remnantSegment(_ rotor: inout Int, below limit: Int, use: Use) -> Int? {
        scan(&rotor, below: limit, minimum: 1, use: use) ?? scan(&rotor, below: limit, minimum: 1, use: nil)
    }

    /// A segment at least half free that was written before and whose free blocks lie together.
    private mutating func segmentOfLongRuns(_ rotor: inout Int) -> Int? {
        guard mayHaveRoom[Purpose.bulkData.rawValue] else { return nil }
        let found = scan(&rotor, below: touchedSegments, minimum: geometry.segmentBlocks / 2, use: .data, isWritten: true, inLongRuns: true)
        mayHaveRoom[Purpose.bulkData.rawValue] = found != nil
        return found
    }

    /// The segment that became free last and still is, with its storage.
    mutating func takeFreed() -> Int? {
        while let segment = freed.takeLatest() {
            if segmentIsWritten[segment] && isAvailable(segment, minimum: geometry.segmentBlocks, use: nil) { return segment }
        }
        return nil
    }

    func scan(
        _ rotor: inout Int, below limit: Int, minimum: Int, use: Use?, isWritten: Bool = false, inLongRuns: Bool = false
    ) -> Int? {
        for step in 0..<limit {
            let segment = (rotor + step) % limit
            if isWritten && !segmentIsWritten[segment] { continue }
            if isAvailable(segment, minimum: minimum, use: use), !inLongRuns || hasLongRuns(segment) {
                rotor = segment + 1
                return segment
            }
        }
        return nil
    }

    /// Whether the free blocks of a segment are on average in runs of at least an eighth of it.
    private func hasLongRuns(_ segment: Int) -> Bool {
        let size = geometry.segmentBlocks, end = (segment + 1) * size
        var index = segment * size, left = Int(segmentFree[segment]) * 8 / size
        while let start = busy.firstClear(from: index, to: end) {
            if left == 0 { return false }
            left -= 1
            index = start + busy.clearCount(from: start, limit: end - start)
        }
        return true
    }

    func isAvailable(_ segment: Int, minimum: Int, use: Use?) -> Bool {
        guard Int(segmentFree[segment]) >= minimum, segmentUse[segment] != .held, segmentUse[segment] != .ready, segment * geometry.segmentBlocks < usableCount else {
            return false
        }
        if streams.contains(where: { $0.segment == segment }) { return false }
        return use == nil || segmentUse[segment] == .unknown || segmentUse[segment] == use
    }

    /// Another stream's segment, when nothing else has a free block.
    private func sharedSegment() -> Int? {
        streams.first { $0.segment >= 0 && segmentFree[$0.segment] > 0 && segmentUse[$0.segment] != .held }?.segment
    }
}
