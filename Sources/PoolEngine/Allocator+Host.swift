internal import BlockStorage

/// Which segments the host has storage for: what is wholly free is given back to it, and what nodes will need is asked of it
/// before, as a checkpoint must not fail because the host is full.
extension Allocator {
    // MARK: Punching

    /// Up to `limit` wholly free segments that may hold old data on the host, beyond the first `warm` and beyond those that busy
    /// writers want, held so that nobody allocates from them. With a `warm` of 0 all of them, those that earlier looks kept too.
    mutating func holdFreeSegments(_ limit: Int, warm: Int, now: UInt64) -> [Int] {
        if warm == 0 && hasKeptUnpunched {
            (hasUnpunched, hasKeptUnpunched) = (true, false)
            (punchCursor, punchKept, punchLast) = (0, 0, 0)
        }
        guard hasUnpunched else { return [] }
        let wanted = warm == 0 ? 0 : freed.wanted(now: now), warm = max(warm, wanted)
        if wanted > 0 && emptyCount <= warm { return [] }
        var found: [Int] = []
        let end = punchEnd
        while punchCursor < end {
            if found.count == limit { return found }
            let segment = punchCursor
            punchCursor += 1
            guard segmentIsWritten[segment], Int(segmentFree[segment]) == geometry.segmentBlocks else { continue }
            guard segmentUse[segment] != .held, segmentUse[segment] != .ready, segment * geometry.segmentBlocks < usableCount,
                !streams.contains(where: { $0.segment == segment })
            else {
                punchLast = punchCursor
                continue
            }
            punchKept += 1
            if punchKept <= warm {
                hasKeptUnpunched = true
                punchLast = punchCursor
                continue
            }
            segmentUse[segment] = .held
            segmentIsWritten[segment] = false
            emptyCount -= 1
            freeCount -= geometry.segmentBlocks
            heldCount += geometry.segmentBlocks
            found.append(segment)
        }
        suspectedLimit = min(suspectedLimit, punchLast)
        (punchCursor, punchKept, punchLast) = (0, 0, 0)
        // What is kept only because writers are busy is looked at again.
        (hasUnpunched, hasNewUnpunched) = (hasNewUnpunched || wanted > 0, false)
        return found
    }

    /// How many segments a look goes over.
    var punchEnd: Int { min(segmentFree.count, max(suspectedLimit, touchedSegments)) }

    /// A segment has become wholly free.
    mutating func noteUnpunched() { (hasUnpunched, hasNewUnpunched) = (true, true) }

    /// The host has storage for more than is in use, from before the pool was opened: any free segment may have it.
    mutating func suspectStorage() {
        for segment in segmentFree.indices where Int(segmentFree[segment]) == geometry.segmentBlocks && !segmentIsWritten[segment] {
            segmentIsWritten[segment] = true
            emptyCount += 1
        }
        suspectedLimit = segmentFree.count
        (punchCursor, punchKept, punchLast) = (0, 0, 0)
        noteUnpunched()
    }

    /// Gives held segments back to writers, of which the first `punched` have no storage any more.
    mutating func endHold(_ segments: [Int], punched: Int) {
        for (index, segment) in segments.enumerated() {
            segmentUse[segment] = .unknown
            if index >= punched {
                segmentIsWritten[segment] = true
                emptyCount += 1
                (suspectedLimit, punchLast) = (max(suspectedLimit, segment + 1), max(punchLast, segment + 1))
                noteUnpunched()
            }
        }
        notePlenty()
        freeCount += segments.count { $0 * geometry.segmentBlocks < usableCount } * geometry.segmentBlocks
        heldCount -= segments.count * geometry.segmentBlocks
    }

    // MARK: Storage for nodes

    /// A segment for nodes that the host may have no storage for, the first that they would go to; with `onlyTouched` one that
    /// was in use before, for which it may have. Nobody else takes from it while there is anything else. Nil if there is none; without
    /// `takesRemnants` one less than half free is none.
    mutating func beginBacking(onlyTouched: Bool, takesRemnants: Bool) -> Int? {
        var rotor = streams[Purpose.node.rawValue].rotor
        defer { streams[Purpose.node.rawValue].rotor = rotor }
        // As a stream of nodes would go on.
        let found = takeFreed() ?? roomySegment(&rotor, for: .node, use: .node, onlyTouched: onlyTouched)
            ?? (takesRemnants ? remnantSegment(&rotor, below: touchedSegments, use: .node) : nil)
        if let found { segmentUse[found] = .ready }
        return found
    }

    /// The host has storage for it, or with `isBacked` false has none to give.
    mutating func endBacking(_ segment: Int, isBacked: Bool) {
        // Where nothing else was free somebody took it.
        guard segment < segmentFree.count, segmentUse[segment] == .ready else { return }
        // The pool began to shrink meanwhile, and nothing is to be put there.
        let isInTail = segment * geometry.segmentBlocks >= usableCount
        if isBacked && !isInTail {
            ready.append(segment)
            if !segmentIsWritten[segment], Int(segmentFree[segment]) == geometry.segmentBlocks { emptyCount += 1 }
            segmentIsWritten[segment] = true
        } else {
            segmentUse[segment] = .unknown
        }
        countBacked()
    }

    /// Counts the places anew, after nodes have taken some.
    mutating func countBacked() { backedCount = ready.reduce(0) { $0 + Int(segmentFree[$1]) } }

    /// There is no segment left to find storage for: not asked again before the next count.
    mutating func endBacking() { backedCount = .max }

    /// The next of those segments, for nodes.
    mutating func takeReady() -> Int? { ready.isEmpty ? nil : ready.removeFirst() }

    /// One of them, or one that storage is being asked for, for whoever finds nothing else.
    mutating func takeReadyForAnybody() -> Int? {
        guard let found = segmentUse.indices.first(where: { segmentUse[$0] == .ready && segmentFree[$0] > 0 && $0 * geometry.segmentBlocks < usableCount })
        else { return nil }
        ready.removeAll { $0 == found }
        return found
    }
}
