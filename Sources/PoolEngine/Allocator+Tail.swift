internal import BlockStorage

/// The end of a pool that shrinks, while it is emptied.
extension Allocator {
    /// Blocks that would be free if a tail began at that index, and those in it that are handed out.
    func counts(cutAt index: Int) -> (free: Int, inFlight: Int) {
        (freeCount - freeBehind(index), inFlight.reduce(0) { $0 + count(of: $1, behind: index) })
    }

    /// Free blocks of the segments from that index on, but for those that are being punched.
    private func freeBehind(_ index: Int) -> Int {
        (index / geometry.segmentBlocks..<segmentFree.count).reduce(0) { segmentUse[$1] == .held ? $0 : $0 + Int(segmentFree[$1]) }
    }

    /// Nothing is handed out from the block of that index on, the first of a segment, until `endTail` or `cut`.
    mutating func beginTail(at index: Int) {
        precondition(tail == nil && index % geometry.segmentBlocks == 0, "one tail at a time, of whole segments")
        (freeCount, tailInFlight) = counts(cutAt: index)
        tail = index
        for stream in streams.indices where streams[stream].segment >= index / geometry.segmentBlocks { streams[stream] = Stream() }
        for stream in streams.indices { streams[stream].rotor = 0 }
        for segment in ready where segment >= index / geometry.segmentBlocks { segmentUse[segment] = .unknown }
        ready.removeAll { $0 >= index / geometry.segmentBlocks }
        countBacked()
    }

    /// The tail is as any other part of the pool again.
    mutating func endTail() {
        guard let index = tail else { return }
        (tail, tailInFlight) = (nil, 0)
        freeCount += freeBehind(index)
        notePlenty()
        noteUnpunched()
    }

    /// True if a block, or the copy of a node there, lies in the tail.
    func isInTail(_ address: BlockAddress) -> Bool {
        guard let tail else { return false }
        return address != .none && map.index(of: address) >= tail
    }

    func isInTail(_ node: NodePointer) -> Bool { isInTail(node.address) || isInTail(node.copy) }

    /// Blocks in the tail that are live; and that are in any use, or in a segment that is being punched.
    var tailLiveCount: Int {
        guard let tail else { return 0 }
        // A tail begins with a segment, which need not be a whole number of words.
        return (tail..<blockCount).count { isLive($0) }
    }

    var tailIsEmpty: Bool {
        guard let tail else { return false }
        return (tail / geometry.segmentBlocks..<segmentFree.count).allSatisfy {
            Int(segmentFree[$0]) == geometry.segmentBlocks && segmentUse[$0] != .held
        }
    }

    /// Blocks that are handed out at all.
    var usableCount: Int { tail ?? blockCount }

    /// Gives the empty tail up. The map has done so already.
    mutating func cut() {
        guard let index = tail else { preconditionFailure("only a tail is cut off") }
        precondition(tailIsEmpty && map.blockCount == index, "what is cut off is not in use")
        tail = nil
        blockCount = index
        let segments = index / geometry.segmentBlocks
        // The maps of bits have none set there.
        ready.removeAll { $0 >= segments }
        Self.extend(&segmentFree, to: segments, with: 0)
        Self.extend(&segmentUse, to: segments, with: .unknown)
        emptyCount -= segmentIsWritten[segments...].count { $0 }
        segmentIsWritten.removeLast(segmentIsWritten.count - segments)
        freed.cut(from: segments)
        touchedLimit = min(touchedLimit, index)
        for stream in streams.indices { streams[stream].rotor = 0 }
        countBacked()
        notePlenty()
    }
}
