package import BlockStorage
internal import Synchronization

/// A disk in memory that remembers every operation since the last flush, so that a test can ask what a loss of power at any
/// moment would have left. It can fail calls, and lie to readers.
package final class SimulatedDisk: BlockDevice {
    package static let sectorSize = 512

    private struct State {
        /// As readers see it, and as of the last flush.
        var current: [UInt8]
        var durable: [UInt8]
        var window: [DiskOperation] = []
        var operations = 0
        var reads = 0
        var jointWrites = 0
        var fault: (at: Int, Fault)?
        var readFault: (at: Int, ReadFault)?
        var pointEvery = 0
        var random = SeededRandom(seed: 0)
        var mark = CrashPoint.Mark()
        var points: [CrashPoint] = []
        /// What it was told will be read, if it wants to know.
        var forecasts: [Range<UInt64>]?
        var hook: (@Sendable (_ offset: UInt64) -> Void)?
        /// Bytes it can grow by.
        var room: UInt64 = 0
        /// For a sparse file on a host that can be full: which KiB have storage, and how many more can get it.
        var stored: [Bool] = []
        var storageLeft = Int.max
    }
    private let state: Mutex<State>

    /// How a write, discard or flush fails.
    package enum Fault: Equatable, Sendable {
        case error(Int32)
        /// Half of a write is done, then it fails.
        case shortWrite
        /// The flush fails, and what it should have made durable is lost, though readers still see it.
        case lostFlush
    }

    /// What a read returns instead of the bytes it should.
    package enum ReadFault: Equatable, Sendable {
        case error(Int32)
        /// The bytes of another place.
        case misdirected
        /// The bytes as they were at the last flush.
        case stale
        case flippedBit
    }

    /// A disk of `size` bytes, all zero.
    package convenience init(size: Int) { self.init(image: [UInt8](repeating: 0, count: size)) }

    /// A disk with these contents, all durable.
    package init(image: [UInt8]) { state = Mutex(State(current: image, durable: image)) }

    /// A disk of which a part is not durable, as another process left it.
    package init(current: [UInt8], durable: [UInt8], window: [DiskOperation]) {
        state = Mutex(State(current: current, durable: durable, window: window))
    }

    package var size: UInt64 { get throws(PoolError) { state.withLock { UInt64($0.current.count) } } }

    /// Writes, flushes and discards so far; reads so far.
    package var operationCount: Int { state.withLock { $0.operations } }
    package var readCount: Int { state.withLock { $0.reads } }
    /// Calls that wrote several pieces of memory, each of them an operation.
    package var jointWriteCount: Int { state.withLock { $0.jointWrites } }

    /// What the disk holds now, as after the end of the process only; and what it holds durably.
    package var image: [UInt8] { state.withLock { $0.current } }
    package var durableImage: [UInt8] { state.withLock { $0.durable } }

    // MARK: Faults

    /// Makes the call of that number, counted from now, fail.
    package func fail(after calls: Int, _ fault: Fault = .error(5)) {
        state.withLock { $0.fault = ($0.operations + calls, fault) }
    }

    /// Ends what `fail` began.
    package func stopFailing() { state.withLock { $0.fault = nil } }

    /// Makes the read of that number, counted from now, return something wrong.
    package func misread(after reads: Int, _ fault: ReadFault) {
        state.withLock { $0.readFault = ($0.reads + reads, fault) }
    }

    /// Overwrites bytes behind the pool's back.
    package func damage(at offset: Int, _ bytes: [UInt8]) {
        state.withLock { state in
            DiskOperation.write(offset: offset, bytes: bytes).apply(to: &state.current)
            DiskOperation.write(offset: offset, bytes: bytes).apply(to: &state.durable)
        }
    }

    /// Calls `hook` before each read, write and discard, on its thread, with nothing locked here.
    package func setHook(_ hook: (@Sendable (UInt64) -> Void)?) { state.withLock { $0.hook = hook } }

    /// Makes the disk larger, durably.
    package func grow(to size: Int) {
        state.withLock { state in
            state.current += [UInt8](repeating: 0, count: size - state.current.count)
            state.durable += [UInt8](repeating: 0, count: size - state.durable.count)
        }
    }

    /// Of a device that has storage for no more than `setRoom` said.
    package func grow(to size: UInt64) throws(PoolError) {
        let old = try self.size
        guard size > old else { return }
        grow(to: Int(size))
        state.withLock { $0.room -= min($0.room, size - old) }
    }

    /// Cuts the end off, durably.
    package func shrink(to size: UInt64) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            if case .error(let errno) = Self.begin(&state) { throw .system(.ftruncate, errno: errno) }
            guard size < UInt64(state.current.count) else { return }
            state.current.removeLast(state.current.count - Int(size))
            state.durable.removeLast(state.durable.count - Int(size))
            state.window.removeAll { $0.end > Int(size) }
        }
    }

    package var room: UInt64 { get throws(PoolError) { state.withLock { $0.room } } }
    package func setRoom(_ room: UInt64) { state.withLock { $0.room = room } }

    /// From now on it is a sparse file: what is zero behind the first `written` bytes has no storage, and no more than `bytes` can
    /// get any.
    package func limitStorage(_ bytes: Int, written: UInt64) {
        state.withLock { state in
            state.stored = Swift.stride(from: 0, to: state.current.count, by: 1024).map { start in
                start < written || state.current[start..<min(start + 1024, state.current.count)].contains { $0 != 0 }
            }
            state.storageLeft = bytes / 1024
        }
    }

    package var storage: (free: UInt64, allocated: UInt64)? {
        state.withLock { $0.stored.isEmpty ? nil : (UInt64($0.storageLeft * 1024), UInt64($0.stored.count { $0 } * 1024)) }
    }

    package func allocate(at offset: UInt64, count: UInt64) throws(PoolError) {
        try state.withLock { state throws(PoolError) in try Self.store(Int(offset), Int(count), .fallocate, &state) }
    }

    private static func store(_ offset: Int, _ count: Int, _ call: PoolError.SystemCall, _ state: inout State) throws(PoolError) {
        guard !state.stored.isEmpty, count > 0 else { return }
        let units = (offset / 1024...(offset + count - 1) / 1024).filter { !state.stored[$0] }
        guard units.count <= state.storageLeft else { throw .system(call, errno: 28) }
        state.storageLeft -= units.count
        for unit in units { state.stored[unit] = true }
    }

    // MARK: Crashes

    /// From now on keeps, before about every `interval`-th operation, what a crash at that moment can leave.
    package func keepPoints(every interval: Int, seed: UInt64) {
        state.withLock {
            $0.pointEvery = interval
            $0.random = SeededRandom(seed: seed)
        }
    }

    package func setMark(_ mark: CrashPoint.Mark) { state.withLock { $0.mark = mark } }

    /// The points kept since the last call.
    package func takePoints() -> [CrashPoint] {
        state.withLock { state in
            defer { state.points = [] }
            return state.points
        }
    }

    // MARK: BlockDevice

    package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        state.withLock { $0.hook }?(offset)
        try state.withLock { state throws(PoolError) in
            state.reads += 1
            try Self.check(offset, bytes.count, state)
            state.current.withUnsafeBytes { bytes.copyMemory(from: $0.part(Int(offset)..<Int(offset) + bytes.count)) }
            if let fault = state.readFault, fault.at == state.reads { try Self.misread(bytes, offset, fault.1, state) }
        }
    }

    package var wantsForecast: Bool { state.withLock { $0.forecasts != nil } }
    package func forecast(_ ranges: [Range<UInt64>]) { state.withLock { $0.forecasts? += ranges } }

    /// From now on it wants to be told what will be read. Returns what it was told since the last call.
    package func takeForecasts() -> [Range<UInt64>] {
        state.withLock { state in
            defer { state.forecasts = [] }
            return state.forecasts ?? []
        }
    }

    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        state.withLock { $0.hook }?(offset)
        try state.withLock { state throws(PoolError) in
            let fault = Self.begin(&state)
            try Self.check(offset, bytes.count, state)
            if case .error(let errno) = fault { throw .system(.pwrite, errno: errno) }
            try Self.store(Int(offset), bytes.count, .pwrite, &state)
            let isShort = fault == .shortWrite
            let operation = DiskOperation.write(offset: Int(offset), bytes: Array(bytes.prefix(isShort ? bytes.count / 2 : bytes.count)))
            operation.apply(to: &state.current)
            state.window.append(operation)
            if isShort { throw .system(.pwrite, errno: 28) }
        }
    }

    package func write(_ pieces: [UnsafeRawBufferPointer], at offset: UInt64) throws(PoolError) {
        if pieces.count > 1 { state.withLock { $0.jointWrites += 1 } }
        var at = offset
        for piece in pieces {
            try write(piece, at: at)
            at += UInt64(piece.count)
        }
    }

    package func flush() throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            switch Self.begin(&state) {
            case .error(let errno): throw .system(.fdatasync, errno: errno)
            case .lostFlush:
                state.window.removeAll()
                throw .system(.fdatasync, errno: 5)
            default: break
            }
            for operation in state.window { operation.apply(to: &state.durable) }
            state.window.removeAll(keepingCapacity: true)
        }
    }

    package func flushAndDropCache() throws(PoolError) {
        try flush()
        state.withLock { $0.current = $0.durable }
    }

    package func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        state.withLock { $0.hook }?(offset)
        try state.withLock { state throws(PoolError) in
            if case .error(let errno) = Self.begin(&state) { throw .system(.fallocate, errno: errno) }
            if !state.stored.isEmpty {
                for unit in Int(offset) / 1024..<Int(offset + count) / 1024 where state.stored[unit] {
                    state.stored[unit] = false
                    state.storageLeft += 1
                }
            }
            let operation = DiskOperation.discard(offset: Int(offset), count: Int(count))
            operation.apply(to: &state.current)
            state.window.append(operation)
        }
    }

    private static func check(_ offset: UInt64, _ count: Int, _ state: State) throws(PoolError) {
        guard offset + UInt64(count) <= UInt64(state.current.count) else {
            throw .outOfRange(offset: offset, count: UInt64(count), size: UInt64(state.current.count))
        }
    }

    /// Counts an operation, and keeps a crash point before it. Returns how it is to fail.
    private static func begin(_ state: inout State) -> Fault? {
        state.operations += 1
        if state.pointEvery > 0, state.random.oneIn(state.pointEvery) {
            state.points.append(
                CrashPoint(
                    operation: state.operations, mark: state.mark, current: state.current, durable: state.durable,
                    window: state.window))
        }
        guard let fault = state.fault, fault.at == state.operations else { return nil }
        return fault.1
    }

    private static func misread(
        _ bytes: UnsafeMutableRawBufferPointer, _ offset: UInt64, _ fault: ReadFault, _ state: State
    ) throws(PoolError) {
        switch fault {
        case .error(let errno): throw .system(.pread, errno: errno)
        case .misdirected:
            let other = (Int(offset) + state.current.count / 2) % (state.current.count - bytes.count + 1)
            state.current.withUnsafeBytes { bytes.copyMemory(from: $0.part(other..<other + bytes.count)) }
        case .stale: state.durable.withUnsafeBytes { bytes.copyMemory(from: $0.part(Int(offset)..<Int(offset) + bytes.count)) }
        case .flippedBit: bytes[bytes.count / 3] ^= 4
        }
    }
}
