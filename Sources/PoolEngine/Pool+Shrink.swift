public import BlockStorage
internal import Synchronization

extension Pool {
    /// Makes the pool and its device `size` bytes large, or a little less, to the end of a segment, while it is used: what lies
    /// behind is moved first. Durable on return. `control` tells how much of that is moved, and stops it. After an end of process
    /// or power in the middle, and after a failure, the pool is as large as before, or already as large as it is to be.
    ///
    /// Throws `.invalid(.size)` if nothing would be cut off, `.refused(.poolTooSmall)` if nothing would be left, `.outOfSpace` if what is in use has no place there,
    /// `.inUse` while another call changes the pool's size or checks it, or if what others are doing keeps blocks there in use,
    /// `.corrupt` for a block or node that cannot be moved since its contents are lost, `.cancelled`.
    public func shrink(to size: UInt64, control: JobControl = JobControl()) throws(PoolError) {
        try beginSizeChange()
        defer { state.withLock { $0.endSizeChange() } }
        guard let cut = map.cut(to: size) else {
            // One that was ended before its last step is finished by another.
            let end = deviceSize, old = try device.size
            guard end <= size, old > size else { throw cannotCut(to: size) }
            try checkpoint(.growing)
            return try device.shrink(to: end)
        }
        let zones = map.zones.map(\.header.offset)
        try emptyTail(cut, control)
        state.withLock { $0.cut = cut }
        try checkpoint(.growing)
        try writeHeader(cut, removed: zones.dropFirst(cut.zoneCount))
        // Once more, before what only an older one knows of is gone: repair may need the superblock before the newest.
        try checkpoint(.growing)
        try device.shrink(to: cut.size)
    }

    /// The size that `shrink` would make it, in bytes. Throws what it would throw before it has moved anything; but of a pool that is
    /// open for reading only it is not known whether all has a place.
    public func smallerSize(_ size: UInt64) throws(PoolError) -> UInt64 {
        guard let cut = map.cut(to: size) else { throw cannotCut(to: size) }
        try state.withLock { state throws(PoolError) in
            if state.isChangingSize { throw .inUse }
            if state.isReadOnly { return }
            try state.checkTail(cut)
        }
        return cut.size
    }

    private func cannotCut(to size: UInt64) -> PoolError {
        let least = map.leastSize
        return size < least ? .refused(.poolTooSmall(least: least)) : .invalid(.size)
    }

    func beginSizeChange() throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            if state.isReadOnly { throw .readOnly }
            if let cause = state.suspension { throw cause }
            if state.isChangingSize { throw .inUse }
            state.isChangingSize = true
        }
    }

    /// The superblock says already where the last zone ends; until its header does too, it says besides that the header may be
    /// wrong. Headers behind go, so that no search takes them for others.
    private func writeHeader(_ cut: PoolCut, removed: ArraySlice<UInt64>) throws(PoolError) {
        let block = AlignedBuffer(count: geometry.blockSize)
        block.bytes.clear()
        for offset in removed {
            try orSuspend { () throws(PoolError) in try device.write(UnsafeRawBufferPointer(block.bytes), at: offset) }
        }
        cut.last.encode(into: block.bytes, pool: poolID, geometry: geometry)
        try orSuspend { () throws(PoolError) in try device.write(UnsafeRawBufferPointer(block.bytes), at: cut.last.offset) }
        try barrier()
        checkpointLock.withLock { _ in state.withLock { $0.superblock.isCut = false } }
    }

    // MARK: Emptying

    private static let maximumPasses = 16

    /// Moves all that lies behind the cut, again and again until nothing is there: what was being written when it began comes
    /// into use meanwhile.
    private func emptyTail(_ cut: PoolCut, _ control: JobControl) throws(PoolError) {
        // What is to be freed, and what is only kept for the checkpoint before, needs no place.
        try reapAll(control)
        for _ in 0..<2 { try checkpoint(.growing) }
        let count = try state.withLock { state throws(PoolError) in try state.beginTail(cut) }
        control.setTotal(UInt64(count * geometry.blockSize))
        for _ in 0..<Self.maximumPasses {
            try reapAll(control)
            let families = state.withLock { state in Set(state.versions.values.map(\.record.family)).sorted() }
            for family in families {
                var next: UInt64? = 0
                while let from = next { next = try moveLeaf(of: family, from: from, control) }
            }
            try moveOthers()
            try settle()
            guard state.withLock({ $0.space.tailIsEmpty }) else { continue }
            // A version that is half freed refers to what is gone: none is begun from here on.
            state.withLock { $0.beginsNoReaping = true }
            try reapAll(control)
            try settle()
            if state.withLock({ $0.isReadyToCut }) { return }
            state.withLock { $0.beginsNoReaping = false }
        }
        throw .inUse
    }

    private func reapAll(_ control: JobControl) throws(PoolError) {
        while try reap(budget: 4096) { if control.isCancelled { throw .cancelled } }
    }

    /// Stores what was moved, and ends the quarantine of what it left. Waits a little for those that are still writing there.
    private func settle() throws(PoolError) {
        for _ in 0..<2 { try checkpoint(.growing) }
        for _ in 0..<1000 {
            let isWaiting = state.withLock { !$0.space.tailIsEmpty && $0.space.tailLiveCount == 0 }
            if !isWaiting { return }
            environment.pause()
        }
    }

    /// Moves what is in the tail at the next leaf's place. Returns where to go on; nil at the end.
    private func moveLeaf(of family: UInt64, from: UInt64, _ control: JobControl) throws(PoolError) -> UInt64? {
        defer { state.withLock { $0.pinnedNodes = [:] } }
        let span = geometry.span(level: 0)
        while true {
            if control.isCancelled { throw .cancelled }
            if isDirtyEnough() { try checkpoint(.routine) }
            let step = try withPinnedNodes { state, missing in state.planTail(family, from: from, missing: &missing) }
            if step.first == .max { return nil }
            if step.cost == 0 { return step.first + span }
            let needed = step.cost + step.blocks.count
            var promise = try admit(0) { state, _ throws(PoolError) -> Int? in
                needed <= state.available(.growing) ? needed : -needed
            }
            defer { state.withLock { $0.reservedBlocks -= promise } }
            var places: [BlockRun] = []
            state.withLock { state in
                promise -= step.blocks.count
                state.reservedBlocks -= step.blocks.count
                // One by one, for some of them may not be used.
                for _ in step.blocks { state.space.allocate(1, for: .data, into: &places) }
            }
            var unused = places
            defer { state.withLock { $0.space.putBack(unused) } }
            let moved = try copy(step.blocks, to: places, family)
            switch try commit(family, step.first, moved, promise: promise) {
            case .done(let used):
                let taken = Set(used.compactMap { moved[$0]?.start })
                unused.removeAll { taken.contains($0.start) }
                control.advance(UInt64(used.count * geometry.blockSize))
                return step.first + span
            case .changed, .missing: continue
            }
        }
    }

    private func isDirtyEnough() -> Bool {
        state.withLock { $0.dirtyBlocks > dirtyLimit / 2 || $0.space.deltaCount > Self.deltaLimit }
    }

    /// Copies blocks, and returns those that were what they should be. Throws `.corrupt` for one that is not, and still in use.
    private func copy(
        _ blocks: [PoolState.Introduction], to places: [BlockRun], _ family: UInt64
    ) throws(PoolError) -> [PoolState.Introduction: BlockRun] {
        let buffer = AlignedBuffer(count: geometry.blockSize)
        var moved: [PoolState.Introduction: BlockRun] = [:]
        for (use, place) in zip(blocks, places) {
            let position = map.offset(of: use.address)
            var problem: PoolError?
            do throws(PoolError) {
                try device.read(into: buffer.bytes, at: position)
                if crc32c(UnsafeRawBufferPointer(buffer.bytes)) != use.checksum { problem = .corrupt(.data, position: position, .checksum) }
            } catch {
                problem = error
            }
            if let problem {
                let first = use.block / geometry.span(level: 0) * geometry.span(level: 0)
                let now = try withPinnedNodes { state, missing in state.planTail(family, from: first, missing: &missing) }
                if now.first == first, now.blocks.contains(use) { throw problem }
                continue
            }
            try device.write(UnsafeRawBufferPointer(buffer.bytes), at: map.offset(of: place.start))
            moved[use] = place
        }
        return moved
    }

    private func commit(
        _ family: UInt64, _ first: UInt64, _ moved: [PoolState.Introduction: BlockRun], promise: Int
    ) throws(PoolError) -> PoolState.TailMove {
        var unreadable: [NodePointer] = []
        while true {
            // While a checkpoint is being stored some nodes are neither clean nor changeable.
            let result = checkpointLock.withLock { _ in
                state.withLock { $0.moveTail(family, first, moved, promise: promise) }
            }
            guard case .missing(let nodes) = result else { return result }
            try pin(nodes, unreadable: &unreadable)
        }
    }

    private func moveOthers() throws(PoolError) {
        while true {
            var batch = 32
            let promise = try admit(0) { state, _ throws(PoolError) -> Int? in
                batch = 32
                while true {
                    let needed = state.planOthers(limit: batch).cost + 1
                    if needed <= state.available(.growing) { return needed }
                    if batch == 1 { return -needed }
                    batch /= 2
                }
            }
            defer { state.withLock { $0.reservedBlocks -= promise } }
            let limit = batch
            let isDone = state.withLock { state in
                state.moveOthers(limit: limit, promise: promise) && state.planOthers(limit: limit).cost == 0
            }
            if isDone { return }
            if isDirtyEnough() { try checkpoint(.routine) }
        }
    }

    // MARK: Nodes

    /// As `withNodes`, but what was read stays in memory, beside the cache, until the step is over: a leaf's place has nodes in
    /// as many versions as there are.
    private func withPinnedNodes<Result: Sendable>(
        _ body: (inout PoolState, inout [MissingNode]) -> Result?
    ) throws(PoolError) -> Result {
        var unreadable: [NodePointer] = []
        while true {
            var missing: [MissingNode] = []
            let result = state.withLock { state in body(&state, &missing) }
            if let result, missing.isEmpty { return result }
            try pin(missing, unreadable: &unreadable)
        }
    }

    /// Throws if the same nodes as before cannot be read: others may have been freed, and their blocks used again, meanwhile.
    private func pin(_ missing: [MissingNode], unreadable: inout [NodePointer]) throws(PoolError) {
        let buffer = AlignedBuffer(count: geometry.blockSize)
        do throws(PoolError) {
            var known: Set<BlockAddress> = []
            for wanted in missing where known.insert(wanted.pointer.address).inserted {
                let node = try read(wanted, buffer: buffer.bytes)
                state.withLock { state in
                    state.cache.insert(node)
                    state.pinnedNodes[node.address] = node
                }
            }
        } catch {
            let pointers = missing.map(\.pointer)
            if pointers == unreadable { throw error }
            unreadable = pointers
        }
    }
}
