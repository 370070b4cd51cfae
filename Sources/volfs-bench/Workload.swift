internal import BlockStorage
internal import CAllocations
internal import PoolEngine
internal import TestSupport

/// One kind of request, made over and over on a pool whose maps are in memory. Nothing depends on time: a build always counts the
/// same.
enum Workload: String, CaseIterable {
    case read = "read-4k", write = "write-4k", synced = "write-4k-fsync", largeRead = "read-1m", largeWrite = "write-1m"

    /// What a request costs, on average.
    struct Cost {
        var allocations: Double
        var calls: Double
    }

    private static let volumeSize = 64 << 20

    private var size: Int { self == .largeRead || self == .largeWrite ? 1 << 20 : 4096 }
    /// In a round.
    private var requests: Int { size == 4096 ? 1000 : 100 }
    private var reads: Bool { self == .read || self == .largeRead }

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
            for _ in 0..<requests {
                let offset = random.next() % UInt64(Self.volumeSize / size) * UInt64(size)
                let bytes = buffer.bytes.part(0..<size)
                if reads {
                    try pool.read(volume, at: offset, into: bytes)
                } else {
                    try pool.write(volume, at: offset, UnsafeRawBufferPointer(bytes))
                    if self == .synced { try pool.flush(volume) }
                }
            }
        }
        let count = Double((rounds - 1) * requests)
        return Cost(
            allocations: Double(volfs_allocations() - before.allocations) / count, calls: Double(device.calls - before.calls) / count)
    }
}
