internal import BlockStorage

/// Places for the copies of nodes: in another segment than the nodes, and not beside it, so that no damage of up to a segment's
/// size has both.
extension Allocator {
    /// Pools of fewer segments have none to spare for that.
    static let leastSegments = 32

    var separatesCopies: Bool { segmentFree.count >= Self.leastSegments }

    /// Segments asked of the host beyond what nodes need: one beside the nodes', one for copies.
    static let spareSegments = 2

    /// Hands out as many blocks as there are `nodes`, all in one segment, a segment or more away from each, and near enough for a
    /// pointer. Nil, with nothing changed, if there is no such segment that the host has storage for, or if of that storage less
    /// than `needed` blocks would be left for other nodes.
    mutating func allocateCopies(of nodes: [BlockAddress], keeping needed: Int) -> [BlockRun]? {
        guard separatesCopies, let lowest = nodes.min(), let highest = nodes.max() else { return nil }
        let used = segment(of: lowest) - 1...segment(of: highest) + 1
        func suits(_ segment: Int) -> Bool {
            guard !used.contains(segment), Int(segmentFree[segment]) >= nodes.count else { return false }
            let first = map.address(of: segment * geometry.segmentBlocks), last = first.advanced(by: geometry.segmentBlocks - 1)
            // Whichever lies in front, one of these is the farthest that two can be apart.
            return NodePointer.distance(from: highest, to: first) != nil && NodePointer.distance(from: lowest, to: last) != nil
        }
        let stream = streams[Purpose.copy.rawValue].segment
        if stream < 0 || !suits(stream) {
            let storage = ready.reduce(0) { $0 + Int(segmentFree[$1]) }
            guard let at = ready.lastIndex(where: { suits($0) && storage - Int(segmentFree[$0]) >= needed }) else { return nil }
            let segment = ready.remove(at: at)
            segmentUse[segment] = .node
            streams[Purpose.copy.rawValue].segment = segment
        }
        let segment = streams[Purpose.copy.rawValue].segment
        var runs: [BlockRun] = [], left = nodes.count
        while left > 0, let run = nextRun(in: segment, from: 0, limit: left) {
            take(run)
            runs.append(run)
            left -= run.count
        }
        precondition(left == 0, "a segment has as many free blocks as were counted")
        return runs
    }

    private func segment(of address: BlockAddress) -> Int { map.index(of: address) / geometry.segmentBlocks }
}
