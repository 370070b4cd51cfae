internal import BlockStorage
internal import PoolEngine
internal import TestSupport
internal import VolumeFS
import Testing

/// The mount's verbs without a mount.
@Suite struct VolumeFileSystemTests {
    private let root = Caller(process: 1, uid: 0, gid: 0)

    private func files() throws -> VolumeFileSystem {
        var options = VolumeFileSystem.Options(now: { 5_000_000_000 }, pause: { _ in })
        options.mountpoint = "/mnt/vols"
        return VolumeFileSystem(pool: try Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024)), options: options)
    }

    private func text(_ files: VolumeFileSystem, _ inode: Inode) throws -> String {
        let file = try files.open(inode, OpenRequest(writes: false, truncates: false), by: root)
        var bytes = [UInt8](repeating: 0, count: 100_000)
        let count = try bytes.withUnsafeMutableBytes { try files.read(inode, handle: file.handle, at: 0, into: $0) }
        files.release(inode, handle: file.handle)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    @Test func inodeNumbersAreReversible() {
        for inode: Inode in [.root, .control, .clones, .list, .file(7), .snapshot(7), .clone(1 << 50), .volumeUsers(3)] {
            #expect(Inode(number: inode.number) == inode)
        }
        #expect(Inode.root.number == 1)
        #expect(Inode(number: 0) == nil && Inode(number: 200) == nil && Inode(number: 7 << 8 | 99) == nil)
    }

    /// A mount goes on when its daemon is exchanged for a newer one, and the kernel has numbers that the older one gave.
    @Test func inodesHaveTheSameNumbersForEver() {
        let fixed: [Inode] = [.root, .control, .readme, .events, .trash, .job(.scrub), .jobReportJSON(.freeing), .poolPropertyDirectory, .unique]
        #expect(fixed.map(\.number) == [1, 2, 3, 17, 18, 19, 43, 44, 45])
        let computed: [Inode] = [
            .file(7), .volumeUsers(7), .volumeRollback(7), .snapshot(7), .clone(7), .diff(7), .property(7), .groupMember(7), .diffJSON(7), .poolProperty(6),
            .snapshotAlias(7), .aliasPropertyDirectory(7),
        ]
        #expect(computed.map(\.number) == [1, 6, 12, 8, 11, 15, 17, 21, 22, 23, 24, 25].map { 7 << 8 | $0 })
    }

    @Test func verbsOfTheControlDirectory() throws {
        let files = try files()
        let made = try files.create(.root, "root", mode: 0o644, OpenRequest(writes: true, truncates: false), by: root)
        try [UInt8](repeating: 1, count: 3000).withUnsafeBytes { try files.write(made.inode, at: 0, $0) }
        files.release(made.inode, handle: made.file.handle)
        let volumes = try files.lookup(.control, "snap")
        let directory = try files.lookup(volumes, "root")
        let snapshot = try files.makeDirectory(directory, "v1", by: root)
        #expect(try files.lookup(.root, "root@v1") == files.lookup(snapshot, "data"))
        let alias = try files.lookup(volumes, "root@v1")
        #expect(try alias != snapshot && files.lookup(alias, "data") == files.lookup(snapshot, "data"))
        for target in ["root@v1", "../../root@v1", "/mnt/vols/root@v1", "root"] {
            let name = "c\(target.count)"
            let link = try files.makeLink(.clones, name, target: target, by: root)
            #expect(try files.readLink(link) == (target == "root" ? "../../root" : "../../root@v1"))
            #expect(try files.attributes(files.lookup(.root, name)).size == 3000)
        }
        #expect(try files.list(.root).map(\.name) == ["c13", "c17", "c4", "c7", "root", "root@v1"])
        try files.rename(directory, "v1", to: directory, "v2", by: root)
        #expect(try files.readLink(files.lookup(.clones, "c7")) == "../../root@v2")
        #expect(throws: PoolError.hasSnapshots(count: 1)) { try files.unlink(.root, "root", by: root) }
        try files.removeDirectory(directory, "v2", by: root)
        try files.unlink(.root, "root", by: root)
        #expect(throws: PoolError.notFound) { try files.lookup(.root, "root@v2") }
        #expect(try text(files, .state) == "ready\n")
        #expect(try text(files, .list).split(separator: "\n").count == 4)
    }

    /// `head` is the volume, and no new snapshot; names with dots are found wherever they end. One that is called head from before
    /// is there as any other, but no difference ends at what could be either.
    @Test func differencesAreOfWhatTheyName() throws {
        let disk = SimulatedDisk(size: 640 * 1024), pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: 100, attributes: .plain)
        var ids: [String: UInt64] = [:]
        for name in ["hear", "x", "y", "x..y", "x.", "x.json"] { ids[name] = try pool.createSnapshot(name, of: volume) }
        func refused(_ pool: Pool, _ body: () throws(PoolError) -> Void) -> PoolError? {
            do throws(PoolError) { try body() } catch { return error }
            return nil
        }
        #expect(refused(pool) { () throws(PoolError) in try pool.createSnapshot("head", of: volume) } == .refused(.headIsTheVolume))
        #expect(refused(pool) { () throws(PoolError) in try pool.createSnapshots("head", of: [volume]) } == .refused(.headIsTheVolume))
        #expect(refused(pool) { () throws(PoolError) in try pool.rename(ids["x"] ?? 0, to: "head") } == .refused(.headIsTheVolume))
        #expect(PoolError.refused(.headIsTheVolume).errno == 22)
        func files(_ pool: Pool) -> VolumeFileSystem { VolumeFileSystem(pool: pool, options: .init(now: { 5 }, pause: { _ in })) }
        func expect(_ files: VolumeFileSystem, _ name: String, _ first: String, _ second: UInt64?, isJSON: Bool = false) throws {
            let pair = (ids[first] ?? 0) << 28 | (second ?? 0)
            #expect(try files.lookup(.diffDirectory(volume), name) == (isJSON ? .diffJSON(pair) : .diff(pair)), "\(name)")
        }
        let plain = files(pool)
        try expect(plain, "x..y", "x", ids["y"])
        try expect(plain, "x..head", "x", volume)
        try expect(plain, "x..y..head", "x..y", volume)
        try expect(plain, "x..y..head.json", "x..y", volume, isJSON: true)
        try expect(plain, "x..x..y", "x", ids["x..y"])
        try expect(plain, "x...head", "x.", volume)
        try expect(plain, "y..x.json", "y", ids["x.json"])
        try expect(plain, "y..x.json.json", "y", ids["x.json"], isJSON: true)
        for name in ["x..z", "x", "..", "x.."] { #expect(throws: PoolError.notFound, "\(name)") { try plain.lookup(.diffDirectory(volume), name) } }
        for name in ["head..x", "x..v", "x..v@y", "v@x..y", "head..x.json"] {
            #expect(throws: PoolError.refused(.differenceOfOthers(volume: volume)), "\(name)") { try plain.lookup(.diffDirectory(volume), name) }
        }
        // Names that could be cut in two places, both of which there are.
        ids["y..x"] = try pool.createSnapshot("y..x", of: volume)
        for name in ["x..y..x", "y..x..y", "y..x..y.json"] {
            #expect(throws: PoolError.refused(.differenceIsTwo(volume: volume))) { try plain.lookup(.diffDirectory(volume), name) }
        }
        let twofold = RefusedRequest("lookup", .diffDirectory(volume), "x..y..x")
        #expect(plain.refused(twofold, by: root, .refused(.differenceIsTwo(volume: volume))).reason.contains("rename one: mv .ctl/snap/v/SNAP .ctl/snap/v/NEW"))
        try pool.delete(ids["x..y"] ?? 0)
        try expect(plain, "x..y..x", "x", ids["y..x"])
        try expect(plain, "y..x..y", "y..x", ids["y"])
        // As a pool of before that has one.
        var lines: [String] = []
        try pool.dump { lines.append($0.replacing("hear", with: "head")) }
        try pool.close()
        try Pool.restore(disk, from: lines.map { $0[...] }, configuration: .tiny, environment: .simulated(seed: 9))
        let old = try Pool.openTiny(disk), mount = files(old)
        #expect(try old.find("v", snapshot: "head") == ids["hear"] && old.contents(old.find("v", snapshot: "head")) == [UInt8](repeating: 0, count: 100))
        try expect(mount, "head..x", "hear", ids["x"])
        #expect(throws: PoolError.refused(.headIsTwo(volume: volume))) { try mount.lookup(.diffDirectory(volume), "x..head") }
        let request = RefusedRequest("lookup", .diffDirectory(volume), "x..head")
        #expect(mount.refused(request, by: root, .refused(.headIsTwo(volume: volume))).reason.contains("first: mv .ctl/snap/v/head .ctl/snap/v/NEW"))
        let directory = Inode.snapshotDirectory(volume)
        try mount.rename(directory, "head", to: directory, "tail", by: root)
        try expect(mount, "x..head", "x", volume)
        try mount.removeDirectory(directory, "tail", by: root)
        try old.close()
        #expect(try Pool.openTiny(disk).check(readingData: true).isClean)
    }

    /// `.ctl/snap` is open to all, so that an owner can use its aliases; whose volume it is decides here, for each of them.
    @Test func aliasesAreForOwners() throws {
        var options = VolumeFileSystem.Options(now: { 5_000_000_000 }, pause: { _ in })
        options.directoryMode = 0o777
        let files = VolumeFileSystem(pool: try Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024)), options: options)
        let owner = Caller(process: 2, uid: 1000, gid: 1000), stranger = Caller(process: 3, uid: 1001, gid: 1000)
        for (name, caller) in [("a", owner), ("b", owner), ("c", root)] {
            let made = try files.create(.root, name, mode: 0o600, OpenRequest(writes: true, truncates: false), by: caller)
            files.release(made.inode, handle: made.file.handle)
        }
        let snap = Inode.snapshotDirectories
        #expect(try files.attributes(snap).mode == 0o1777 && files.attributes(.root).mode == 0o777)
        let directory = try files.lookup(snap, "a")
        #expect(try files.attributes(directory).mode == 0o755 && files.attributes(directory).uid == 1000)
        #expect(try files.attributes(files.lookup(.volumeDirectories, "a")).mode == 0o755)
        func errno(_ body: () throws(PoolError) -> Void) -> Int32 {
            do throws(PoolError) { try body() } catch { return error.errno }
            return 0
        }
        _ = try files.makeDirectory(snap, "a@s", by: owner)
        _ = try files.makeDirectory(snap, "a,b@m", by: owner)
        for name in ["a@t", "a,b@t", "c,a@t"] { #expect(errno { () throws(PoolError) in _ = try files.makeDirectory(snap, name, by: stranger) } == 13, "\(name)") }
        #expect(errno { () throws(PoolError) in _ = try files.makeDirectory(snap, "a,c@t", by: owner) } == 13)
        #expect(errno { () throws(PoolError) in _ = try files.makeDirectory(snap, "c@t", by: owner) } == 13)
        #expect(errno { () throws(PoolError) in try files.removeDirectory(snap, "a@s", by: stranger) } == 13)
        #expect(errno { () throws(PoolError) in try files.removeDirectory(snap, "a", by: owner) } == 1)
        #expect(errno { () throws(PoolError) in try files.rename(snap, "a@s", to: snap, "a@u", by: stranger) } == 13)
        #expect(errno { () throws(PoolError) in try files.rename(snap, "a@s", to: snap, "b@u", by: owner) } == 22)
        #expect(errno { () throws(PoolError) in try files.rename(snap, "a", to: snap, "d", by: stranger) } == 1)
        #expect(errno { () throws(PoolError) in _ = try files.create(snap, "x", mode: 0, OpenRequest(writes: true, truncates: false), by: stranger) } == 1)
        #expect(errno { () throws(PoolError) in _ = try files.makeLink(snap, "x", target: "a", by: stranger) } == 1)
        #expect(errno { () throws(PoolError) in try files.unlink(snap, "a@s", by: stranger) } == 1)
        // The kernel looks at the owner of what goes, too.
        #expect(try files.attributes(files.lookup(snap, "a@s")).uid == 1000)
        #expect(try files.list(directory).map(\.name) == ["m", "s"] && files.list(files.lookup(snap, "c")).isEmpty)
        try files.rename(snap, "a@s", to: snap, "a@u", by: owner)
        try files.removeDirectory(snap, "a@u", by: owner)
        #expect(try files.list(directory).map(\.name) == ["m"])
    }

    @Test func refusalsHaveTheirErrno() throws {
        let files = try files()
        let made = try files.create(.root, "v", mode: 0o600, OpenRequest(writes: true, truncates: false), by: root)
        let directory = Inode.snapshotDirectory(made.inode.number >> 8)
        _ = try files.makeDirectory(directory, "s", by: root)
        let snapshot = try files.lookup(.root, "v@s")
        func errno(_ body: () throws(PoolError) -> Void) -> Int32 {
            do throws(PoolError) { try body() } catch { return error.errno }
            return 0
        }
        let write = OpenRequest(writes: true, truncates: false)
        #expect(errno { () throws(PoolError) in _ = try files.open(snapshot, write, by: root) } == 30)
        #expect(errno { () throws(PoolError) in try files.unlink(.root, "v@s", by: root) } == 1)
        #expect(errno { () throws(PoolError) in _ = try files.create(.root, "a@b", mode: 0, write, by: root) } == 1)
        #expect(errno { () throws(PoolError) in _ = try files.create(.root, "a,b", mode: 0, write, by: root) } == 22)
        #expect(errno { () throws(PoolError) in _ = try files.makeDirectory(.root, "d", by: root) } == 1)
        #expect(errno { () throws(PoolError) in _ = try files.makeDirectory(.snapshotDirectories, "v", by: root) } == 17)
        #expect(errno { () throws(PoolError) in _ = try files.makeDirectory(.snapshotDirectories, "none", by: root) } == 2)
        #expect(errno { () throws(PoolError) in _ = try files.makeLink(.clones, "CuAbCdEf", target: "v", by: root) } == 22)
        #expect(errno { () throws(PoolError) in _ = try files.makeLink(.clones, "x", target: "/etc/passwd", by: root) } == 22)
        let stranger = Caller(process: 2, uid: 1000, gid: 1000)
        #expect(errno { () throws(PoolError) in _ = try files.makeLink(.clones, "x", target: "v@s", by: stranger) } == 13)
        #expect(errno { () throws(PoolError) in try files.rename(.root, "v", to: directory, "t", by: root) } == 22)
        // Of the pool, whose properties are attributes of the top.
        for (name, number, words) in [
            ("user.volfs.free", 1, "of the pool is computed"), ("user.volfs.smaller.5", 1, "of the pool is computed"),
            ("user.volfs.nothing", 22, "the pool has no such property; see: ls .ctl/prop"), ("user.x", 95, "the top of the mount keeps no attributes"),
        ] as [(String, Int32, String)] {
            for value in [[1], nil] as [[UInt8]?] {
                do throws(PoolError) {
                    try files.setAttribute(.root, name, value)
                    Issue.record("\(name) was set")
                } catch {
                    let request = value == nil ? RefusedRequest("removexattr", .root, name) : RefusedRequest("setxattr", .root, name)
                    let reason = files.refused(request, by: root, error).reason
                    #expect(error.errno == number && reason.contains(words), "\(name): \(error), \(reason)")
                }
            }
        }
        #expect(errno { () throws(PoolError) in _ = try files.attribute(.root, "user.volfs.nothing") } == 61)
        #expect(files.refused(RefusedRequest("getxattr", .root, "user.volfs.nothing"), by: root, .noProperty).reason.hasPrefix("the pool has no property user.volfs.nothing;"))
        // What moves a volume where none can be.
        let moved = RefusedRequest("rename", .root, "v", other: "v")
        #expect(files.refused(moved, by: root, .invalid(.destination)).reason.contains("removed for good with: rm v; a mount with -o trash="))
        let renamed = RefusedRequest("rename", .clones, "a", other: "b")
        #expect(files.refused(renamed, by: root, .notPermitted).reason.hasSuffix("renamed with: mv a b"))
        // Who cuts a volume through a handle of his own is not in his own way.
        let own = RefusedRequest("setattr", made.inode, handle: made.file.handle), open = PoolError.refused(.isOpen(object: made.inode.number >> 8))
        #expect(files.refused(own, by: root, open).reason.contains("was open until just now"))
        #expect(reason(for: .invalid(.name)).contains("a snapshot's also with _"))
        try files.removeDirectory(directory, "s", by: root)
        #expect(errno { () throws(PoolError) in try files.unlink(.root, "v", by: root) } == 16)
        files.refused(RefusedRequest("unlink", .root, "v"), by: root, .refused(.isOpen(object: made.inode.number >> 8)))
        #expect(try text(files, .errors).contains("unlink v errno=16: v is open: process 1 (-) to write since 1970-01-01T00:00:05Z; close"))
    }

    /// Writes that are asked for together: each is refused by itself, and below a quota each counts for the next.
    @Test func writesTogetherKeepToTheLimits() throws {
        let files = try files(), pool = files.pool, id = try pool.createVolume("v", size: 40 * 1024, attributes: .plain)
        let bytes = [UInt8](repeating: 7, count: 1024)
        func write(_ blocks: [Int]) -> [PoolError?] {
            bytes.withUnsafeBytes { bytes in files.writeWithin(id, blocks.map { WritePiece(of: bytes, at: UInt64($0 * 2048)) }) }
        }
        #expect(write([0, 1, 20, 2]) == [nil, nil, .outOfRange(offset: 40_960, count: 1024, size: 40_960), nil])
        try files.setAttribute(.file(id), "user.volfs.quota", Array("10240".utf8))
        #expect(write(Array(3..<15)).count { $0 == .refused(.quota(limit: 10_240)) } == 5)
        #expect(try pool.info(id).referenced == 10_240)
        #expect(write([0, 1, 2]) == [nil, nil, nil])
        try files.setAttribute(.file(id), "user.volfs.readonly", Array("on".utf8))
        #expect(write([0, 1]) == [.refused(.volumeIsReadOnly), .refused(.volumeIsReadOnly)])
    }
}
