internal import BlockStorage
internal import Foundation
internal import PoolEngine
internal import TestSupport
import Testing

/// No bytes make a decoder, or a pool opened from them, trap, hang or take memory without bound. FUZZ sets the number of
/// inputs for each decoder.
@Suite(.timeLimit(.minutes(5))) struct FuzzTests {
    private static let inputs = ProcessInfo.processInfo.environment["FUZZ"].flatMap { Int($0) } ?? 1_000_000

    /// Whole closed pool, with layout, to take valid structures from.
    private static func sample() throws -> (image: [UInt8], layout: Pool.Layout) {
        let disk = SimulatedDisk(size: 300 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 400_000, attributes: .plain)
        for step in 0..<10 {
            try pool.write(volume, at: UInt64(step * 38_000), [UInt8](repeating: UInt8(step + 1), count: 4000))
            try pool.checkpoint()
        }
        let snapshot = try pool.createSnapshot("s", of: volume)
        _ = try pool.createClone("c", of: snapshot, attributes: .plain)
        try pool.write(volume, at: 3000, [UInt8](repeating: 9, count: 30_000))
        try pool.delete(snapshot)
        try pool.checkpoint()
        _ = try pool.reap(budget: 3)
        try pool.checkpoint()
        // For the journal: one of each kind of record.
        try pool.write(volume, at: 0, [UInt8](repeating: 8, count: 2000))
        try pool.discard(volume, at: 2048, count: 9000)
        let second = try pool.createSnapshot("t", of: volume)
        try pool.forgetOrigin(of: pool.createClone("d", of: volume, attributes: .plain))
        try pool.rename(second, to: "u")
        try pool.rollback(volume, to: second)
        try pool.resize(volume, to: 300_000)
        try pool.setAttributes(volume, .plain)
        try pool.delete(second)
        let image = disk.image
        return (image, try Pool.openTiny(SimulatedDisk(image: image), mode: .readOnly).layout())
    }

    /// Valid structures with a few bytes changed and sealed again, and plain noise.
    @Test(arguments: FormatDecoder.allCases) func decoderTakesAnything(_ decoder: FormatDecoder) throws {
        let (image, layout) = try Self.sample()
        let size = layout.blockSize
        func blocks(_ positions: [UInt64]) -> [[UInt8]] { positions.map { Array(image[Int($0)..<Int($0) + size]) } }
        let seeds: [[UInt8]] =
            switch decoder {
            case .superblock: blocks(layout.superblocks)
            case .zoneHeader: blocks(layout.zoneHeaders)
            case .bitmapPage: blocks(layout.bitmapPages)
            case .spaceLogFrame: blocks(layout.spaceLogFrames)
            case .journalFrame: blocks(Array(layout.journalFrames.prefix(8)))
            case .journalRecord: blocks(Array(layout.journalFrames.prefix(8))).map { Array($0[64...]) + [UInt8](repeating: 0, count: 64) }
            case .node: blocks(layout.leaves + layout.interiorNodes.map(\.node))
            case .catalogLeaf: blocks(layout.catalogLeaves.map(\.node))
            }
        let samples = seeds.isEmpty ? [[UInt8](repeating: 0, count: size)] : seeds
        var mutator = Mutator(seed: 1)
        var taken = 0, refused = 0
        var block = [UInt8](repeating: 0, count: size)
        for number in 0..<Self.inputs {
            block = samples[number % samples.count]
            try block.withUnsafeMutableBytes { bytes in
                if number % 16 == 15 { for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: mutator.random.next()) } }
                mutator.mutate(bytes)
                if number % 8 != 0 { decoder.seal(bytes) }
                do throws(PoolError) {
                    if try decoder.decode(UnsafeRawBufferPointer(bytes), geometry: .tiny) { taken += 1 } else { refused += 1 }
                } catch {
                    refused += 1
                    switch error {
                    case .corrupt, .unsupportedFormat, .invalid: break
                    default: throw error
                    }
                }
            }
        }
        print("FUZZ \(decoder.rawValue): \(Self.inputs) inputs, \(taken) taken, \(refused) refused")
        // Both happen, or the inputs reach nothing.
        #expect(taken > Self.inputs / 100 && refused > Self.inputs / 100)
    }

    /// Whole images with changed metadata whose checksums all fit, those in the parents too: opened, read, checked, written,
    /// emptied, repaired. Every step works or throws.
    @Test func poolOfForgedImageThrowsOrWorks() throws {
        let (image, layout) = try Self.sample()
        let nodes = layout.leaves + (layout.interiorNodes + layout.catalogLeaves + layout.catalogNodes).map(\.node)
        let copies = Dictionary(
            (layout.interiorNodes + layout.catalogLeaves + layout.catalogNodes).map { ($0.node, $0.copy) }, uniquingKeysWith: { first, _ in first })
        let rounds = max(300, Self.inputs / 100)
        var opened = 0, emptied = 0, repaired = 0
        for round in 0..<rounds {
            var mutator = Mutator(seed: UInt64(round))
            var damaged = image
            damaged.withUnsafeMutableBytes { bytes in
                func part(_ position: UInt64) -> UnsafeMutableRawBufferPointer { bytes.part(Int(position)..<Int(position) + layout.blockSize) }
                switch mutator.random.below(8) {
                case 0:
                    for position in layout.superblocks {
                        var same = Mutator(seed: UInt64(round))
                        same.mutate(part(position))
                        FormatDecoder.superblock.seal(part(position))
                    }
                case 1:
                    mutator.mutate(part(layout.journalFrames[mutator.random.below(8)]))
                    for frame in layout.journalFrames.prefix(8) { FormatDecoder.journalFrame.seal(part(frame)) }
                case 2:
                    for page in layout.bitmapPages {
                        mutator.mutate(part(page))
                        FormatDecoder.bitmapPage.seal(part(page))
                    }
                default:
                    let position = nodes[mutator.random.below(nodes.count)]
                    let target = crc32c(UnsafeRawBufferPointer(part(position)))
                    let magic: UInt64 = part(position).integer(at: 0)
                    mutator.mutate(part(position))
                    part(position).store(magic, at: 0)
                    // In reserved bytes of a node's header: then the seal and the parent's checksum fit as well.
                    forgeChecksum(of: part(position), to: target, at: 200)
                    if let copy = copies[position] { part(copy).copyMemory(from: UnsafeRawBufferPointer(part(position))) }
                }
            }
            if (try? use(SimulatedDisk(image: damaged), &opened)) != nil { emptied += 1 }
            let disk = SimulatedDisk(image: damaged)
            if (try? Pool.repair(disk, configuration: .tiny, environment: .simulated(seed: 1), isDryRun: false, givesUpVolumes: true)) != nil {
                repaired += 1
                _ = try? use(disk, &opened)
            }
        }
        print("FUZZ whole images: \(rounds) images, \(repaired) repaired, \(emptied) emptied without an error")
        #expect(opened > rounds / 4 && emptied > rounds / 100 && repaired > rounds / 4)
    }

    /// Everything one does with a pool. Counts those that open.
    private func use(_ disk: SimulatedDisk, _ opened: inout Int) throws {
        _ = try? Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).check(readingData: true)
        let pool = try Pool.openTiny(disk)
        opened += 1
        for volume in pool.volumes() {
            for object in [volume] + pool.snapshots(of: volume.id) {
                _ = try? pool.read(object.id, at: 0, count: Int(min(object.size, 600_000)))
                _ = try? pool.extent(object.id, at: object.size / 2)
                _ = try? pool.scrub(JobControl())
            }
            _ = try? pool.write(volume.id, at: 1000, [UInt8](repeating: 1, count: 5000), growing: true)
            _ = try? pool.discard(volume.id, at: 0, count: 100_000)
            _ = try? pool.createSnapshot("fresh", of: volume.id)
            _ = try? pool.resize(volume.id, to: 10_000)
        }
        for volume in pool.volumes() {
            for snapshot in pool.snapshots(of: volume.id) { try pool.delete(snapshot.id) }
            try pool.delete(volume.id)
        }
        try pool.finishReaping()
        try pool.close()
    }
}
