internal import BlockStorage
internal import CAllocations
internal import PoolEngine
internal import TestSupport

/// One kind of request, made over and over on a pool whose maps are in memory. Nothing depends on time: a build always counts the
/// same.
enum Workload: String, CaseIterable {
    case read = "read-4k", write = "write-4k", synced = "write-4k-fsync", largeRead = "read-1m", largeWrite = "write-1m"
    /// Sixteen at once, as of an NBD client.
    case together = "write-4k-together"

    /// What a request costs, on average.
    struct Cost {
        var allocations: Double
        var calls: Double
    }

    private static let volumeSize = 64 << 20

    private var size: Int { self == .largeRead || self == .largeWrite ? 1 << 20 : 4096 }
    private var batch: Int { self == .together ? 16 : 1 }
    /// In a round.
    private var requests: Int { size == 4096 ? 1000 / batch * batch : 100 }

    /// Makes some requests `rounds` times, and says what those after the first round cost, in which what is needed comes into memory.
    func run(rounds: Int) throws(PoolError) -> Cost {
        precondition(rounds > 1, "the first round is not counted")
        let device = CountingDevice(size: 2 << 30)
        try Pool.format(device, environment: .simulated(seed: 1))
        var configuration = Pool.Configuration()
        // Checkpoints are another matter: the journal of a pool of this size holds all that is written here.
        configuration.checkpointInterval = .max
        configuration.verifiesAccounting = false
        let pool = try Pool(opening: device, configuration: configuration, environment: .simulated(seed: 2))
        let volume = try pool.createVolume("v", size: UInt64(Self.volumeSize), attributes: .plain)
        let buffer = AlignedBuffer(count: 1 << 20)
        for index in 0..<buffer.bytes.count { buffer.bytes[index] = UInt8(truncatingIfNeeded: index % 251 + 1) }
        for offset in stride(from: 0, to: Self.volumeSize, by: 1 << 20) {
            try pool.write(volume, at: UInt64(offset), UnsafeRawBufferPointer(buffer.bytes))
        }
        try pool.flush()
        var random = SeededRandom(seed: 3)
        var before = (allocations: UInt64(0), calls: 0)
        for round in 0..<rounds {
            if round == 1 { before = (volfs_allocations(), device.calls) }
            for _ in 0..<requests / batch { try make(in: pool, volume, buffer, &random) }
        }
        let count = Double((rounds - 1) * requests)
        return Cost(
            allocations: Double(volfs_allocations() - before.allocations) / count, calls: Double(device.calls - before.calls) / count)
    }

    private func make(in pool: Pool, _ volume: UInt64, _ buffer: borrowing AlignedBuffer, _ random: inout SeededRandom) throws(PoolError) {
        let bytes = buffer.bytes.part(0..<size)
        func offset() -> UInt64 { random.next() % UInt64(Self.volumeSize / size) * UInt64(size) }
        switch self {
        case .read, .largeRead: try pool.read(volume, at: offset(), into: bytes)
        case .write, .largeWrite: try pool.write(volume, at: offset(), UnsafeRawBufferPointer(bytes))
        case .synced:
            try pool.write(volume, at: offset(), UnsafeRawBufferPointer(bytes))
            try pool.flush(volume)
        case .together:
            let pieces = (0..<batch).map { _ in WritePiece(of: UnsafeRawBufferPointer(bytes), at: offset()) }
            for case let problem? in pool.write(volume, pieces) { throw problem }
            try pool.settleWrites()
        }
    }
}
