internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Damage to a pool at rest: what opening and check say, what repair does, what is lost.
@Suite struct DamageTests {
    /// A volume of three levels with a snapshot and a clone, and enough other volumes for a catalog of two levels; closed,
    /// or with the last writes in the journal only.
    private struct Sample {
        var image: [UInt8]
        var contents: [String: [UInt8]]
        var layout: Pool.Layout

        init(isClosed: Bool = true) throws {
            let disk = SimulatedDisk(size: 1800 * 1024)
            var pool = try Pool.makeTiny(on: disk)
            let volume = try pool.createVolume("v", size: 400_000, attributes: .plain)
            for step in 0..<20 {
                try pool.write(volume, at: UInt64(step * 19_000), Self.bytes(UInt8(step + 1), 5000))
                // Some, so that the space log has been full and bitmap pages are written.
                if step % 2 == 0 { try pool.checkpoint() }
            }
            let snapshot = try pool.createSnapshot("s", of: volume)
            try pool.write(volume, at: 100_000, Self.bytes(77, 60_000))
            let clone = try pool.createClone("c", of: snapshot, attributes: .plain)
            try pool.write(clone, at: 5000, Self.bytes(88, 3000))
            for number in 0..<20 { try pool.createVolume("small\(number)", size: 3000, attributes: .plain) }
            if isClosed {
                try pool.close()
                // Until the last checkpoint is in the space log, and the pages are of one before.
                for number in 0..<6 where try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).layout().spaceLogFrames.isEmpty {
                    pool = try Pool.openTiny(disk)
                    try pool.createVolume("more\(number)", size: 3000, attributes: .plain)
                    try pool.close()
                }
            } else {
                try pool.checkpoint()
                for step in 0..<6 {
                    try pool.write(volume, at: UInt64(step * 1024), Self.bytes(UInt8(100 + step), 1024))
                    try pool.flush()
                }
            }
            contents = try Self.contents(pool).compactMapValues { $0 }
            image = disk.image
            layout = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly).layout()
        }

        static func bytes(_ value: UInt8, _ count: Int) -> [UInt8] { [UInt8](repeating: value, count: count) }

        /// Each object's bytes, block by block; nil in place of one that cannot be read.
        static func contents(_ pool: Pool) throws -> [String: [UInt8]?] {
            var all: [String: [UInt8]?] = [:]
            for volume in pool.volumes() {
                for object in [volume] + pool.snapshots(of: volume.id) {
                    do { all[object.fullName] = .some(try pool.contents(object.id)) } catch PoolError.corrupt { all[object.fullName] = .some(nil) }
                }
            }
            return all
        }

        func damaged(_ positions: [UInt64]) -> SimulatedDisk {
            let disk = SimulatedDisk(image: image)
            for position in positions { disk.damage(at: Int(position), Self.bytes(0xa5, layout.blockSize)) }
            return disk
        }
    }

    /// Every node that has a copy, in turn: with either of the two destroyed the pool opens with all of its contents, check
    /// names the damage, and repair leaves a pool that checks clean.
    @Test func singleDamageToInteriorMetadataLosesNothing() throws {
        let sample = try Sample()
        let pairs = sample.layout.interiorNodes + sample.layout.catalogNodes + sample.layout.catalogLeaves
        #expect(sample.layout.interiorNodes.count > 5 && sample.layout.catalogNodes.count > 1 && sample.layout.catalogLeaves.count > 20)
        for pair in pairs {
            for offset in [pair.node, pair.copy] {
                let disk = sample.damaged([offset])
                let report = try Pool.openTiny(disk, mode: .readOnly).check(readingData: true)
                guard report.leakedBlocks == 0, report.problems.count == 1, case .copy = report.problems[0] else {
                    Issue.record("node at \(offset): \(report)")
                    continue
                }
                let pool = try Pool.openTiny(disk)
                #expect(try Sample.contents(pool).compactMapValues { $0 } == sample.contents, "node at \(offset)")
            }
        }
    }

    /// A segment's size anywhere in the metadata, of a pool that has segments to spare: with all of it destroyed each volume and
    /// snapshot is still there, and of each only what lay there is lost.
    @Test func lostSegmentTakesNoVolume() throws {
        let disk = SimulatedDisk(size: 4096 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 400_000, attributes: .plain)
        for step in 0..<40 {
            try pool.write(volume, at: UInt64(step * 9500), Sample.bytes(UInt8(step + 1), 5000))
            if step % 8 == 0 { try pool.createSnapshot("s\(step)", of: volume) }
            if step % 3 == 0 { try pool.createVolume("small\(step)", size: 3000, attributes: .plain) }
            if step % 2 == 0 { try pool.checkpoint() }
        }
        try pool.close()
        let whole = try Pool.openTiny(SimulatedDisk(image: disk.image), mode: .readOnly)
        let contents = try Sample.contents(whole), layout = try whole.layout()
        let segment = Geometry.tiny.segmentSize
        let pairs = layout.catalogNodes + layout.catalogLeaves + layout.interiorNodes
        #expect(layout.catalogLeaves.count > 5 && layout.interiorNodes.count > 5)
        // From each node on, and up to it.
        for position in Set(pairs.flatMap { [$0.node, $0.copy] }) {
            let start = Int(position) - (position % 2048 == 0 ? 0 : segment - layout.blockSize)
            guard start > Int(layout.zoneHeaders[0]) else { continue }
            let damaged = SimulatedDisk(image: disk.image)
            damaged.damage(at: start, Sample.bytes(0xa5, segment))
            let report = try Pool.repair(damaged, configuration: .tiny, environment: .simulated(seed: 5), isDryRun: false, givesUpVolumes: true)
            let lost = report.findings.filter { if case .lostCatalogNode = $0 { true } else { false } }
            #expect(lost.isEmpty, "from \(start) on")
            let after = try Sample.contents(try Pool.openTiny(damaged))
            #expect(Set(after.keys) == Set(contents.keys), "from \(start) on")
            for (name, bytes) in after { if let bytes { #expect(bytes == contents[name], "\(name) from \(start) on") } }
        }
    }

    // MARK: Repair

    enum Damage: String, CaseIterable {
        case superblockCopy = "one copy of the superblock"
        case superblock = "both copies of the superblock"
        case zoneHeader = "zone header"
        case bitmapPage = "bitmap page"
        case spaceLog = "space log frame"
        case interiorCopy = "one copy of an interior node"
        case interior = "both copies of an interior node"
        case catalogCopy = "one copy of a catalog leaf"
        case catalog = "both copies of a catalog leaf"
        case catalogRoot = "both copies of the catalog's root"
        case leaf = "leaf"
        case data = "data block"
        case journal = "frame in the middle of the journal"
        case beginning = "all before the first zone, of a closed pool"
        case beginningInUse = "all before the first zone, of a pool in use"

        /// Where it is, and whether the pool was closed.
        func positions(_ layout: Pool.Layout) -> [UInt64] {
            func both(_ pair: Pool.Layout.Pair) -> [UInt64] { [pair.node, pair.copy] }
            return switch self {
            case .superblockCopy: [layout.superblocks[0]]
            case .superblock: layout.superblocks
            case .zoneHeader: [layout.zoneHeaders[0]]
            case .bitmapPage: [layout.bitmapPages[0]]
            case .spaceLog: [layout.spaceLogFrames[0]]
            case .interiorCopy: [layout.interiorNodes[1].node]
            case .interior: both(layout.interiorNodes[1])
            case .catalogCopy: [layout.catalogLeaves[0].copy]
            case .catalog: both(layout.catalogLeaves[0])
            case .catalogRoot: both(layout.catalogNodes[layout.catalogNodes.count - 1])
            case .leaf: [layout.leaves[3]]
            case .data: [layout.dataBlocks[7]]
            case .journal: [layout.journalFrames[2]]
            case .beginning, .beginningInUse: (0..<layout.zoneHeaders[0] / UInt64(layout.blockSize)).map { $0 * UInt64(layout.blockSize) }
            }
        }

        var losesNothing: Bool {
            switch self {
            case .interior, .catalog, .catalogRoot, .leaf, .data, .journal, .beginningInUse: false
            default: true
            }
        }
    }

    /// Repaired, the pool opens for writing and checks clean. Whatever can be read is what was there; where damage to one
    /// structure loses something, the report says what.
    @Test(arguments: Damage.allCases) func repairs(_ damage: Damage) throws {
        let sample = try Sample(isClosed: ![.journal, .superblock, .beginningInUse].contains(damage))
        let disk = sample.damaged(damage.positions(sample.layout))
        let before = disk.image
        let opening: String
        do {
            let report = try Pool.openTiny(SimulatedDisk(image: before), mode: .readOnly).check(readingData: true)
            if damage == .superblockCopy { #expect(report.problems == [.superblockCopy(position: sample.layout.superblocks[0])], "\(report)") }
            opening = report.isClean ? "clean" : "\(report.problems.count) problems: \(report.problems.first.map { "\($0)" } ?? "leaks")"
        } catch {
            opening = "does not open: \(error)"
        }
        let dry = try Pool.repair(disk, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: true, givesUpVolumes: true)
        #expect(disk.image == before, "a dry run writes nothing")
        let report = try Pool.repair(disk, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true)
        #expect(report.findings == dry.findings && report.losses == dry.losses)
        let pool = try Pool.openTiny(disk)
        let found = try Sample.contents(pool)
        var unreadable: [String] = [], missing: [String] = [], older: [String] = []
        for (name, bytes) in sample.contents {
            guard let now = found[name] else {
                missing.append(name)
                continue
            }
            if now == nil { unreadable.append(name) } else if now != bytes { older.append(name) }
        }
        print(
            "DAMAGE \(damage.rawValue): check: \(opening); repair: \(report.findings); losses: \(report.losses); "
                + "gone: \(missing.sorted()); partly unreadable: \(unreadable.sorted()); older: \(older)")
        if damage.losesNothing { #expect(missing.isEmpty && unreadable.isEmpty && older.isEmpty && report.losses.isEmpty) }
        // Only a cut or lost journal leads back in time; nothing else may.
        if ![.journal, .beginningInUse].contains(damage) { #expect(older.isEmpty, "\(older)") }
        for name in unreadable { #expect(damage == .data || report.losses.contains { $0.object == name }, "\(name) is not reported") }
        let check = try pool.check()
        #expect(check.isClean, "\(check)")
        // Whole blocks can be written again, everything can be deleted, and nothing remains.
        if let volume = try? pool.find("v") {
            try pool.write(volume, at: 0, Sample.bytes(5, 399_360))
            #expect(try pool.read(volume, at: 0, count: 399_360) == Sample.bytes(5, 399_360))
        }
        for volume in pool.volumes() {
            for snapshot in pool.snapshots(of: volume.id) { try pool.delete(snapshot.id) }
            try pool.delete(volume.id)
        }
        try pool.finishReaping()
        #expect(try pool.check().isClean)
        #expect(pool.usage().allocated == 0)
    }

    /// Check finds each copy of each superblock that there ever was, and nothing wrong with slots that none was written to; opening the pool
    /// for writing mends it, which a scrub tells, and so does repair.
    @Test func everyCopyOfASuperblockCounts() throws {
        let image = try Sample().image
        let magic = Array("VFSB".utf8)
        let places = stride(from: 0, to: image.count - 4, by: 1024).filter { Array(image[$0..<$0 + 4]) == magic }
        #expect(places.count > 2)
        for place in places {
            let damaged = SimulatedDisk(image: image)
            damaged.damage(at: place + 100, [1, 2, 3, 4, 5])
            let check = try Pool.openTiny(SimulatedDisk(image: damaged.image), mode: .readOnly).check()
            #expect(check.problems == [.superblockCopy(position: UInt64(place))], "\(check)")
            let repaired = SimulatedDisk(image: damaged.image)
            let report = try Pool.repair(repaired, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true)
            #expect(report.findings == [.superblockCopy(position: UInt64(place))] && report.losses.isEmpty, "\(report)")
            #expect(try Pool.openTiny(repaired, mode: .readOnly).check().isClean)
            let pool = try Pool.openTiny(damaged)
            #expect(try pool.check().isClean)
            #expect(try pool.scrub(JobControl()).healedCopies == 1)
            #expect(try pool.scrub(JobControl()).healedCopies == 0)
        }
    }

    /// Nothing to do, nothing done.
    @Test func repairOfWholePoolChangesNothing() throws {
        let disk = SimulatedDisk(image: try Sample().image)
        let before = disk.image
        let report = try Pool.repair(disk, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true)
        #expect(report.isClean && !report.isRepaired && report.checkedNodes > 20)
        #expect(disk.image == before)
    }

    /// Any zone's header, also of zones that are smaller than they could be because the pool grew behind them.
    @Test func zoneHeadersAreToldAgain() throws {
        let disk = SimulatedDisk(size: 300 * 1024)
        try Pool.format(disk, geometry: .tinyZones, environment: .simulated(seed: 3))
        let pool = try Pool.openTiny(disk)
        let volume = try pool.createVolume("v", size: 60_000, attributes: .plain)
        try pool.write(volume, at: 0, [UInt8](repeating: 7, count: 60_000))
        disk.grow(to: 700 * 1024)
        try pool.grow()
        try pool.close()
        let zones = try pool.layout().zoneHeaders
        #expect(zones.count > 3)
        for zone in zones {
            let damaged = SimulatedDisk(image: disk.image)
            damaged.damage(at: Int(zone), [UInt8](repeating: 0x5a, count: 1024))
            #expect(throws: PoolError.self) { try Pool.openTiny(SimulatedDisk(image: damaged.image)) }
            let report = try Pool.repair(damaged, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true)
            #expect(report.findings == [.zoneHeader(position: zone)] && report.losses.isEmpty, "\(report)")
            #expect(try Pool.openTiny(damaged).contents(volume) == [UInt8](repeating: 7, count: 60_000))
        }
        // Nothing left of the beginning, not even the first zone's header.
        let damaged = SimulatedDisk(image: disk.image)
        damaged.damage(at: 0, [UInt8](repeating: 0, count: Int(zones[0]) + 1024))
        let report = try Pool.repair(damaged, configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true)
        #expect(report.losses.isEmpty && report.findings.contains(.zoneHeader(position: zones[0])) || report.findings.count == 1, "\(report)")
        let repaired = try Pool.openTiny(damaged)
        #expect(try repaired.contents(volume) == [UInt8](repeating: 7, count: 60_000) && repaired.check(readingData: true).isClean)
        #expect(throws: PoolError.notAPool) { try Pool.repair(SimulatedDisk(size: 300 * 1024), configuration: .tiny, environment: .simulated(seed: 4), isDryRun: false, givesUpVolumes: true) }
    }
}
