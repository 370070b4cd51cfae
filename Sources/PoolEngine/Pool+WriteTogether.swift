public import BlockStorage

/// Several writes with one of the device.
extension Pool {
    /// Makes several writes to a volume, each by itself as `write` with `settles` false makes it: they survive the end of the process
    /// after `settleWrites`. Returns what became of each, nil if it was made. Short ones of whole blocks are given places beside one
    /// another and written to the device together: that costs one call of it for all.
    public func write(_ object: UInt64, _ pieces: [WritePiece]) -> [PoolError?] {
        var joint: [WritePiece] = []
        joint.reserveCapacity(Self.mostTogether)
        for piece in pieces where joint.count < Self.mostTogether && isShort(piece) { joint.append(piece) }
        var made = joint.count > 1 ? try? writeTogether(object, joint)[...] : nil
        return pieces.map { piece in
            if isShort(piece), let outcome = made?.popFirst() { return outcome }
            do throws(PoolError) {
                try write(object, at: piece.offset, piece.bytes, settles: false)
                return nil
            } catch {
                return error
            }
        }
    }

    /// Of the short ones the first so many are made together.
    private static let mostTogether = 16

    /// Whole blocks of one leaf, so many that to write them alone would cost much for each.
    private func isShort(_ piece: WritePiece) -> Bool {
        let unit = UInt64(geometry.blockSize), count = UInt64(piece.bytes.count)
        guard count > 0, count <= 16 * unit, count % unit == 0, piece.offset % unit == 0 else { return false }
        let span = unit * UInt64(geometry.fanout), (end, overflow) = piece.offset.addingReportingOverflow(count)
        return !overflow && piece.offset / span == (end - 1) / span
    }

    /// Throws, having changed nothing, if they cannot be made together: alone each of them perhaps can.
    private func writeTogether(_ object: UInt64, _ pieces: [WritePiece]) throws(PoolError) -> [PoolError?] {
        if breaks(.dataBeforeRecord) { throw .notSupported }
        var requests: [WriteRequest] = []
        requests.reserveCapacity(pieces.count)
        for piece in pieces {
            requests.append(try WriteRequest(object: object, offset: piece.offset, bytes: piece.bytes, isGrowing: false, geometry: geometry))
        }
        var promised = try promise(requests)
        defer { state.withLock { $0.reservedBlocks -= promised } }
        var contents = spareContents.withLock { spare in
            let taken = Array(spare.suffix(requests.count))
            spare.removeLast(taken.count)
            return taken + (taken.count..<requests.count).map { _ in GroupContent() }
        }
        defer { spareContents.withLock { $0 += contents } }
        for index in requests.indices { try contents[index].take(requests[index].firstBlock..<requests[index].endBlock, of: requests[index], pool: self) }
        let frames = try reserveJournal(bytes: contents.reduce(0) { $0 + $1.recordBytesBound }, groups: contents.count)
        defer { state.withLock { $0.journal.endReservation(frames) } }
        state.withLock { state in
            for index in contents.indices {
                let needed = contents[index].dataCount, taken = min(needed, promised)
                promised -= taken
                state.reservedBlocks -= taken
                if needed > 0 { state.space.allocate(needed, for: state.purpose(ofBlocks: needed), into: &contents[index].runs) }
            }
        }
        do throws(PoolError) {
            try writeData(of: requests, contents)
        } catch {
            for content in contents { giveUp(content.runs, frames: 0, promise: &promised) }
            throw error
        }
        // Each is a group of its own, so that one which is refused now takes none with it.
        return requests.indices.map { index in
            do throws(PoolError) {
                let lsn = try commit(&contents[index], of: requests[index], frames: 0)
                precondition(lsn != nil, "whole blocks are not completed from what was there")
                return nil
            } catch {
                giveUp(contents[index].runs, frames: 0, promise: &promised)
                return error
            }
        }
    }

    /// Promises blocks for all of them, as `write` does for one, if there are plenty. Throws `.outOfSpace` if there are not.
    private func promise(_ requests: [WriteRequest]) throws(PoolError) -> Int {
        try admit(requests[0].object, isForData: true) { state, _ throws(PoolError) in
            let version = try state.writableVersion(of: requests[0].object), unit = state.geometry.blockSize
            var needed = 0
            for request in requests {
                let level = max(version.level, state.geometry.level(covering: request.endBlock))
                needed += request.dataCount(blockSize: unit) + PoolState.pathBlocks(level: level) + 2 * (level - version.level)
                    + 2 * state.catalogPathBlocks
            }
            let free = state.available(.growing)
            guard needed <= free else { throw .outOfSpace(needed: UInt64(needed * unit), free: UInt64(max(0, free) * unit)) }
            return needed
        }
    }

    /// What lies side by side on the device goes there with one call.
    private func writeData(of requests: [WriteRequest], _ contents: [GroupContent]) throws(PoolError) {
        var memory: [UnsafeRawBufferPointer] = [], start: UInt64 = 0, end: UInt64 = 0
        memory.reserveCapacity(requests.count)
        for (request, content) in zip(requests, contents) {
            try content.forEachWrite(of: request, map: map) { bytes, offset throws(PoolError) in
                if !memory.isEmpty && offset != end {
                    try device.write(memory, at: start)
                    memory.removeAll(keepingCapacity: true)
                }
                if memory.isEmpty { start = offset }
                memory.append(bytes)
                end = offset + UInt64(bytes.count)
            }
        }
        if !memory.isEmpty { try device.write(memory, at: start) }
    }
}
