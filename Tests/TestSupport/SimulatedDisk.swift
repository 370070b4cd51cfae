package import BlockStorage
internal import Synchronization

/// A disk in memory that remembers every write since the last flush, so that a test can ask what a loss of power at any
/// moment would have left: each unflushed write kept, dropped or torn into 512-byte sectors, in any combination.
package final class SimulatedDisk: BlockDevice {
    package static let sectorSize = 512

    private enum Operation { case write(offset: Int, bytes: [UInt8]), discard(offset: Int, count: Int) }

    private struct State {
        /// As readers see it.
        var current: [UInt8]
        /// As of the last flush.
        var durable: [UInt8]
        var window: [Operation] = []
        var operations = 0
        var flushes = 0
        /// Number of the device call that fails, and with what; counts writes, flushes and discards.
        var failAt: Int?
        var failure: Int32 = 5
        /// Images to take while the workload runs.
        var captureEvery = 0
        var captureRandom = SeededRandom(seed: 0)
        var mark = CrashMark(durable: 0, acknowledged: 0)
        var captures: [CrashImage] = []
    }

    /// How far the workload had got: states up to `durable` must survive loss of power, those up to `acknowledged` the
    /// end of the process.
    package struct CrashMark: Sendable {
        package var durable: Int
        package var acknowledged: Int
        package init(durable: Int, acknowledged: Int) {
            self.durable = durable
            self.acknowledged = acknowledged
        }
    }

    package struct CrashImage: Sendable {
        package var operation: Int
        package var isPowerLoss: Bool
        package var mark: CrashMark
        package var bytes: [UInt8]
    }
    private let state: Mutex<State>

    /// A disk of `size` bytes, all zero.
    package init(size: Int) { state = Mutex(State(current: [UInt8](repeating: 0, count: size), durable: [UInt8](repeating: 0, count: size))) }

    /// A disk with these contents, all durable.
    package init(image: [UInt8]) { state = Mutex(State(current: image, durable: image)) }

    package var size: UInt64 { get throws(PoolError) { state.withLock { UInt64($0.current.count) } } }

    /// Writes, flushes and discards so far.
    package var operationCount: Int { state.withLock { $0.operations } }

    /// Makes the call of that number, counted from now, fail with `errno`.
    package func fail(after calls: Int, errno: Int32 = 5) {
        state.withLock {
            $0.failAt = $0.operations + calls
            $0.failure = errno
        }
    }

    package func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            guard offset + UInt64(bytes.count) <= UInt64(state.current.count) else {
                throw .outOfRange(offset: offset, count: UInt64(bytes.count), size: UInt64(state.current.count))
            }
            state.current.withUnsafeBytes { bytes.copyMemory(from: $0.part(Int(offset)..<Int(offset) + bytes.count)) }
        }
    }

    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            try Self.count(&state, .pwrite)
            guard offset + UInt64(bytes.count) <= UInt64(state.current.count) else {
                throw .outOfRange(offset: offset, count: UInt64(bytes.count), size: UInt64(state.current.count))
            }
            let operation = Operation.write(offset: Int(offset), bytes: Array(bytes))
            Self.apply(operation, to: &state.current)
            state.window.append(operation)
        }
    }

    package func flush() throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            try Self.count(&state, .fdatasync)
            for operation in state.window { Self.apply(operation, to: &state.durable) }
            state.window.removeAll(keepingCapacity: true)
            state.flushes += 1
        }
    }

    package func flushAndDropCache() throws(PoolError) {
        try flush()
        state.withLock { $0.current = $0.durable }
    }

    package func discard(at offset: UInt64, count: UInt64) throws(PoolError) {
        try state.withLock { state throws(PoolError) in
            try Self.count(&state, .fallocate)
            let operation = Operation.discard(offset: Int(offset), count: Int(count))
            Self.apply(operation, to: &state.current)
            state.window.append(operation)
        }
    }

    /// From now on keeps, at about every `interval`-th write, discard or flush, what a crash at that moment leaves: of
    /// loss of power, or in one of four cases of the end of the process.
    package func capture(every interval: Int, seed: UInt64) {
        state.withLock {
            $0.captureEvery = interval
            $0.captureRandom = SeededRandom(seed: seed)
        }
    }

    package func setMark(_ mark: CrashMark) { state.withLock { $0.mark = mark } }

    /// The images kept since the last call.
    package func takeCaptures() -> [CrashImage] {
        state.withLock { state in
            defer { state.captures = [] }
            return state.captures
        }
    }

    /// What the disk holds now, as after the end of the process only.
    package var image: [UInt8] { state.withLock { $0.current } }

    /// Overwrites bytes behind the pool's back.
    package func damage(at offset: Int, _ bytes: [UInt8]) {
        state.withLock { state in
            Self.apply(.write(offset: offset, bytes: bytes), to: &state.current)
            Self.apply(.write(offset: offset, bytes: bytes), to: &state.durable)
        }
    }

    /// What loss of power now may leave. `choice` picks, by turns: nothing unflushed, everything, a prefix, all but one,
    /// only one, a random subset; in a random subset some writes are torn, with old bytes or garbage in what is missing.
    private static func imageAfterPowerLoss(_ state: State, choice: Int, random: inout SeededRandom) -> [UInt8] {
        var image = state.durable
        let count = state.window.count
        let one = random.below(count)
        for (index, operation) in state.window.enumerated() {
            let isKept: Bool =
                switch choice % 6 {
                case 0: false
                case 1: true
                case 2: index < one
                case 3: index != one
                case 4: index == one
                default: random.oneIn(2)
                }
            if isKept {
                Self.apply(operation, to: &image)
            } else if choice % 6 >= 2, random.oneIn(3) {
                Self.tear(operation, into: &image, &random)
            }
        }
        return image
    }

    private static func count(_ state: inout State, _ call: PoolError.SystemCall) throws(PoolError) {
        state.operations += 1
        captureIfWanted(&state)
        if state.operations == state.failAt { throw .system(call, errno: state.failure) }
    }

    /// Called before the operation changes anything.
    private static func captureIfWanted(_ state: inout State) {
        guard state.captureEvery > 0, state.captureRandom.oneIn(state.captureEvery) else { return }
        let isPowerLoss = !state.captureRandom.oneIn(4)
        var random = SeededRandom(seed: state.captureRandom.next())
        let bytes = isPowerLoss
            ? imageAfterPowerLoss(state, choice: random.below(9), random: &random) : state.current
        state.captures.append(
            CrashImage(operation: state.operations, isPowerLoss: isPowerLoss, mark: state.mark, bytes: bytes))
    }

    private static func apply(_ operation: Operation, to image: inout [UInt8]) {
        switch operation {
        case .write(let offset, let bytes):
            image.withUnsafeMutableBytes { $0.part(offset..<offset + bytes.count).copyBytes(from: bytes) }
        case .discard(let offset, let count): image.withUnsafeMutableBytes { $0.part(offset..<offset + count).clear() }
        }
    }

    /// Applies a random choice of an operation's sectors; in one of four cases the others become garbage.
    private static func tear(_ operation: Operation, into image: inout [UInt8], _ random: inout SeededRandom) {
        guard case .write(let offset, let bytes) = operation else { return }
        let hasGarbage = random.oneIn(4)
        for start in stride(from: 0, to: bytes.count, by: sectorSize) {
            let end = min(start + sectorSize, bytes.count)
            if random.oneIn(2) {
                apply(.write(offset: offset + start, bytes: Array(bytes[start..<end])), to: &image)
            } else if hasGarbage {
                let garbage = (start..<end).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                apply(.write(offset: offset + start, bytes: garbage), to: &image)
            }
        }
    }
}
