internal import BlockStorage

/// Questions about blocks: which are live, and how far they reach.
extension Allocator {
    /// A bit a block, set if it is live.
    func liveWords() -> [UInt64] { (0..<(blockCount + 63) / 64).map { liveWord($0) } }

    var deltaCount: Int { delta.count }

    /// True if every block of a run, which may be any, is live.
    func isInUse(_ run: BlockRun) -> Bool {
        map.contains(run) && (map.index(of: run.start)..<map.index(of: run.end)).allSatisfy { isLive($0) }
    }

    /// 64 of those bits.
    func liveWord(_ index: Int) -> UInt64 { busy.word(index) & ~pending.word(index) }
    func isLive(_ index: Int) -> Bool { liveWord(index / 64) >> UInt64(index % 64) & 1 == 1 }
    /// True if no block of the run is free; and if all are.
    func isBusy(_ run: BlockRun) -> Bool { busy.isSet(map.index(of: run.start), run.count) }
    func isFree(_ run: BlockRun) -> Bool { busy.isClear(map.index(of: run.start), run.count) }

    /// Live blocks as bitmap words, page after page.
    func committedWords(regions: Int) throws(PoolError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: regions * geometry.regionBlocks / 64)
        try map.forEachRegion(regions) { region, first, count throws(PoolError) in
            for word in 0..<(count + 63) / 64 { words[region * geometry.regionBlocks / 64 + word] = liveWord(first / 64 + word) }
        }
        return words
    }

    /// How many segments, from the first, and regions may ever have held a block.
    var touchedSegments: Int { (touchedLimit + geometry.segmentBlocks - 1) / geometry.segmentBlocks }
    var touchedRegions: Int { touchedLimit == 0 ? 0 : map.pagePosition(of: touchedLimit - 1).region + 1 }

    /// Percent of the free blocks that lie in segments with something in them.
    var fragmentation: Int {
        let whole = min(freeCount, (emptyCount + segmentFree.count - touchedSegments) * geometry.segmentBlocks)
        return freeCount == 0 ? 0 : (freeCount - whole) * 100 / freeCount
    }
}
