internal import BlockStorage
internal import PoolEngine
internal import Synchronization
internal import TestSupport
import Testing

/// What was ended before it was done: the writing of a superblock, and a repair.
@Suite struct HalfDoneTests {
    private static func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

    private static func repair(_ device: any BlockDevice, isDryRun: Bool) throws(PoolError) -> RepairReport {
        try Pool.repair(device, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: isDryRun, givesUpVolumes: true)
    }

    /// The process ends between the two copies of a superblock, in any round of the rings: nothing is damaged, though the second copy
    /// may never have been written. Opening the pool for writing writes it.
    @Test func missingCopyOfASuperblockIsNoDamage() throws {
        let disk = SimulatedDisk(size: 300 * 1024), pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        let geometry = Geometry.tiny, rings = UInt64(2 * geometry.ringSlots * geometry.ringStride)
        let images = Mutex<[[UInt8]]>([])
        disk.setHook { [unowned disk] offset in if offset < rings { images.withLock { $0.append(disk.image) } } }
        for round in 0..<6 as Range<UInt8> {
            try pool.write(volume, at: 0, Self.bytes(round + 1, 3000))
            try pool.checkpoint()
        }
        disk.setHook(nil)
        var unwritten = 0
        for image in images.withLock({ $0 }) {
            let opened = try Pool.openTiny(SimulatedDisk(image: image), mode: .readOnly)
            #expect(try opened.check().problems == [])
            #expect(try Self.repair(SimulatedDisk(image: image), isDryRun: true).findings == [])
            let places = try opened.layout().superblocks.map { Int($0)..<Int($0) + geometry.blockSize }
            if image[places[1]].contains(where: { $0 != 0 }) { continue }
            unwritten += 1
            let whole = SimulatedDisk(image: image)
            #expect(try Pool.openTiny(whole).scrub(JobControl()).healedCopies == 0)
            #expect(whole.image[places[0]].elementsEqual(whole.image[places[1]]))
            // With something else there it is damaged.
            var damaged = image
            damaged[places[1].lowerBound + 700] = 1
            #expect(try Pool.openTiny(SimulatedDisk(image: damaged), mode: .readOnly).check().problems == [.superblockCopy(position: UInt64(places[1].lowerBound))])
        }
        #expect(images.withLock { $0.count } == 12 && unwritten > 0, "\(unwritten)")
    }

    /// Refuses reads and writes after some number of reads, as what ends a command at a signal does.
    private final class EndedDisk: BlockDevice {
        private let disk: SimulatedDisk
        private let limit: Int
        private let count = Atomic(0)
        var readCount: Int { count.load(ordering: .relaxed) }

        init(_ disk: SimulatedDisk, afterReads limit: Int) { (self.disk, self.limit) = (disk, limit) }

        private func check() throws(PoolError) { if readCount > limit { throw .cancelled } }

        var size: UInt64 { get throws(PoolError) { try disk.size } }
        func read(into bytes: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(PoolError) {
            count.add(1, ordering: .relaxed)
            try check()
            try disk.read(into: bytes, at: offset)
        }
        func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(PoolError) {
            try check()
            try disk.write(bytes, at: offset)
        }
        func flush() throws(PoolError) { try check(); try disk.flush() }
        func flushAndDropCache() throws(PoolError) { try check(); try disk.flushAndDropCache() }
        func discard(at offset: UInt64, count: UInt64) throws(PoolError) { try check(); try disk.discard(at: offset, count: count) }
    }

    enum Damage: CaseIterable { case none, node, superblocks }

    /// Given up at any read, a repair of a damaged pool with a huge thin volume ends after a few more, and has changed nothing: what it
    /// may not read it does not take for lost, whose places it would make for the whole of the volume.
    @Test(arguments: Damage.allCases) func repairIsGivenUpAtOnce(_ damage: Damage) throws {
        let disk = SimulatedDisk(size: 400 * 1024), pool = try Pool.makeTiny(on: disk)
        let huge = try pool.createVolume("huge", size: 1 << 26, attributes: .plain)
        for index in 0..<4 as Range<UInt64> { try pool.write(huge, at: index << 24, Self.bytes(3, 1024)) }
        try pool.checkpoint()
        let layout = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).layout()
        let node = layout.interiorNodes[1]
        let places: [UInt64] = switch damage {
        case .none: []
        case .node: [node.node, node.copy]
        case .superblocks: stride(from: 0, to: layout.zoneHeaders[0], by: layout.blockSize).map { $0 }
        }
        for place in places { disk.damage(at: Int(place), Self.bytes(0xa5, layout.blockSize)) }
        let image = disk.image
        var limit = 0
        while true {
            let damaged = SimulatedDisk(image: image), ended = EndedDisk(damaged, afterReads: limit)
            let result = Result { () throws(PoolError) in try Self.repair(ended, isDryRun: false) }
            if ended.readCount <= limit { break }
            #expect(throws: PoolError.cancelled, "after \(limit) reads") { try result.get() }
            #expect(ended.readCount - limit <= 12, "after \(limit) reads another \(ended.readCount - limit)")
            #expect(damaged.image == image, "after \(limit) reads")
            limit += 1
        }
        #expect(limit > 40, "\(limit) reads are all")
    }
}
