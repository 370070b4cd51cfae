internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// The differences of two versions as text, made as it is read: however long it is, some mebibytes of it are in memory.
///
/// Lines `OFFSET LENGTH`, bytes, with ` z` behind what is a hole in the second; or one object of schema volfs.diff/1. Read in
/// order each part is looked for once; whoever goes back by more than a mebibyte begins again. Any thread may read.
final class DiffText: Sendable {
    /// Bytes of memory one takes at the most.
    static let memory = 6 << 20
    /// Bytes of the volume that are compared at a time, 256 MiB of a normal pool: their lines take 2 MiB at the most.
    private let step: UInt64
    private static let kept = 1 << 20

    private struct State {
        var bytes: [UInt8] = []
        /// Of the first of `bytes` in the text.
        var start: UInt64 = 0
        /// Where to compare next.
        var next: UInt64 = 0
        /// What was found last: what comes may belong to it.
        var open: Difference?
        var isFirst = true
        var isWhole = false
    }
    private let state = Mutex(State())
    private let pool: Pool
    private let first: UInt64
    private let second: UInt64
    private let isJSON: Bool

    /// Throws what comparing them would.
    init(_ pool: Pool, from first: UInt64, to second: UInt64, isJSON: Bool) throws(PoolError) {
        step = UInt64(pool.geometry.blockSize * pool.geometry.fanout * pool.geometry.fanout)
        (self.pool, self.first, self.second, self.isJSON) = (pool, first, second, isJSON)
        try state.withLock { state throws(PoolError) in
            begin(&state)
            try extend(&state)
        }
    }

    /// Returns how many bytes there were before the end of the text. Throws what comparing them would, and `.cancelled`; then it can
    /// be read again.
    func read(at offset: UInt64, into bytes: UnsafeMutableRawBufferPointer, control: JobControl = JobControl()) throws(PoolError) -> Int {
        try state.withLock { state throws(PoolError) in
            if offset < state.start { begin(&state) }
            while !state.isWhole, offset + UInt64(bytes.count) > state.start + UInt64(state.bytes.count) {
                if control.isCancelled { throw .cancelled }
                // What lies far before is not asked for again.
                let old = Int(clamping: offset - min(offset, state.start)) - Self.kept
                if old > 0 {
                    let gone = min(old, state.bytes.count)
                    state.bytes.removeFirst(gone)
                    state.start += UInt64(gone)
                }
                try extend(&state)
            }
            guard offset < state.start + UInt64(state.bytes.count) else { return 0 }
            let from = Int(offset - state.start)
            let part = state.bytes[from..<min(state.bytes.count, from + bytes.count)]
            bytes.copyBytes(from: part)
            return part.count
        }
    }

    private func begin(_ state: inout State) {
        state = State()
        if isJSON { state.bytes += Array("{\"schema\":\"volfs.diff/1\",\"ranges\":[".utf8) }
    }

    /// Compares on, and appends what it finds.
    private func extend(_ state: inout State) throws(PoolError) {
        let end = max(try pool.size(first).bytes, try pool.size(second).bytes)
        var found: [Difference] = []
        try pool.differences(from: first, to: second, within: state.next..<min(end, state.next + step)) { found.append($0) }
        for range in found {
            if let open = state.open, open.offset + open.count == range.offset, open.isHole == range.isHole {
                state.open?.count += range.count
            } else {
                flush(&state)
                state.open = range
            }
        }
        state.next += step
        guard state.next >= end else { return }
        flush(&state)
        if isJSON { state.bytes += Array("]}\n".utf8) }
        state.isWhole = true
    }

    private func flush(_ state: inout State) {
        guard let range = state.open else { return }
        state.open = nil
        if isJSON {
            let object = JSON.fields([("offset", .size(range.offset)), ("length", .size(range.count)), ("hole", .bool(range.isHole))])
            state.bytes += Array(((state.isFirst ? "" : ",") + object.description).utf8)
        } else {
            state.bytes += Array("\(range.offset) \(range.count)\(range.isHole ? " z" : "")\n".utf8)
        }
        state.isFirst = false
    }
}
