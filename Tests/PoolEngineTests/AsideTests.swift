internal import BlockStorage
internal import PoolEngine
internal import TestSupport
import Testing

/// Volumes that are set aside.
@Suite struct AsideTests {
    /// It is in no list, look-up or count; its name is free; a crash does not bring it back, and a rename does.
    @Test func asideIsNowhereElse() throws {
        let disk = SimulatedDisk(size: 640 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let id = try pool.createVolume("v", size: 4096, attributes: .plain)
        let clone = try pool.createClone("c", of: id, attributes: .plain)
        try pool.write(id, at: 0, [1, 2, 3])
        let snapshot = try pool.createSnapshot("s", of: id)
        #expect(throws: PoolError.hasSnapshots(count: 1)) { try pool.setAside(id, as: ".x.v") }
        #expect(throws: PoolError.invalid(.destination)) { try pool.setAside(snapshot, as: ".x.v") }
        try pool.delete(snapshot)
        try pool.setAside(id, as: ".trash.\(id).v~2")
        #expect(throws: PoolError.notFound) { try pool.createSnapshot("s", of: id) }
        #expect(throws: PoolError.exists) { try pool.setAside(clone, as: ".trash.\(id).v~2") }
        // Nothing was flushed since: the journal has it.
        for pool in [pool, try Pool.openTiny(disk)] {
            #expect(pool.volumes().map(\.name) == ["c"] && pool.statistics().volumes == 1)
            #expect(pool.asideVolumes().map(\.name) == [".trash.\(id).v~2"])
            #expect(try pool.info(clone).origin == nil)
            for name in ["v", ".trash.\(id).v~2"] { #expect(throws: PoolError.notFound) { try pool.find(name) } }
        }
        let again = try Pool.openTiny(disk)
        _ = try again.createVolume("v", size: 0, attributes: .plain)
        #expect(throws: PoolError.exists) { try again.rename(id, to: "v") }
        try again.rename(id, to: "w")
        #expect(try again.find("w") == id && again.info(clone).origin == "w" && again.contents(id).prefix(3) == [1, 2, 3])
        #expect(again.asideVolumes().isEmpty)
    }

    /// When it was set aside is what its time of change says, after any opening too, whatever touch(1) has set before.
    @Test func timeOfBeingSetAsideStays() throws {
        let disk = SimulatedDisk(size: 640 * 1024)
        let pool = try Pool.makeTiny(on: disk)
        let id = try pool.createVolume("v", size: 4096, attributes: .plain)
        let later = try pool.info(id).changed + 20_000_000
        try pool.setAttributes(id, .plain, modified: later)
        try pool.setAside(id, as: ".trash.\(id).v")
        let aside = try pool.info(id).changed
        #expect(aside < later)
        // Until the clock has got there: else the time that was set is one to come, and is left out anyhow.
        while try pool.info(pool.createVolume("w", size: 0, attributes: .plain)).created <= later { try pool.delete(pool.find("w")) }
        try pool.close()
        #expect(try Pool.openTiny(disk).info(id).changed == aside)
    }

    /// No user's name begins with a dot, and a stored one has nothing that a path could mean.
    @Test func storedNamesHaveTheirRule() throws {
        let pool = try Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024))
        let id = try pool.createVolume("v", size: 0, attributes: .plain)
        #expect(throws: PoolError.invalid(.name)) { try pool.rename(id, to: ".v") }
        #expect(throws: PoolError.invalid(.name)) { try pool.createVolume(".v", size: 0, attributes: .plain) }
        #expect(throws: PoolError.invalid(.name)) { try pool.setAside(id, as: "./v") }
        #expect(throws: PoolError.invalid(.nameTooLong)) { try pool.setAside(id, as: "." + String(repeating: "a", count: 255)) }
        let longest = "." + String(repeating: "a", count: 254)
        try pool.setAside(id, as: longest)
        #expect(pool.asideVolumes().map(\.name) == [longest])
    }
}
