internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import PoolEngine
internal import Synchronization
internal import TestSupport
internal import VolumeFS
import Testing

/// Groups, trash, users and jobs without a mount.
@Suite struct ControlDirectoryTests {
    private let root = Caller(process: 1, uid: 0, gid: 0)
    private let write = OpenRequest(writes: true, truncates: false)

    /// A file system whose clock stands still until it is set.
    private func files(
        _ pool: Pool? = nil, trashSeconds: UInt64 = 0, clock: TestClock = TestClock()
    ) throws -> VolumeFileSystem {
        var options = VolumeFileSystem.Options(now: { clock.now }, pause: { _ in })
        options.trashSeconds = trashSeconds
        return VolumeFileSystem(pool: try pool ?? Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024)), options: options)
    }

    private func make(_ names: [String], _ files: VolumeFileSystem) throws -> [UInt64] {
        try names.map { name in
            let made = try files.create(.root, name, mode: 0o644, write, by: root)
            files.release(made.inode, handle: made.file.handle)
            return try files.pool.find(name)
        }
    }

    private func text(_ files: VolumeFileSystem, _ inode: Inode) throws -> String {
        let file = try files.open(inode, OpenRequest(writes: false, truncates: false), by: root)
        var bytes = [UInt8](repeating: 0, count: 100_000)
        let count = try bytes.withUnsafeMutableBytes { try files.read(inode, handle: file.handle, at: 0, into: $0) }
        files.release(inode, handle: file.handle)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    private func error(_ body: () throws(PoolError) -> Void) -> PoolError? {
        do throws(PoolError) { try body() } catch { return error }
        return nil
    }

    @Test func inodesOfGroupsAreReversible() {
        for inode: Inode in [.events, .trash, .groups, .group(1), .groupMembers(7), .groupSnapshots(1 << 27), .groupMember(3), .groupSnapshot(5 << 28 | 9), .groupSnapshotMember(9), .diffJSON(1 << 28 | 2)] {
            #expect(Inode(number: inode.number) == inode)
        }
    }

    /// One snapshot of each member or none at all, whatever is in the way.
    @Test func groupSnapshotsAreAllOrNothing() throws {
        let files = try files()
        let ids = try make(["a", "b", "c"], files)
        let group = try files.makeDirectory(.groups, "db", by: root)
        let members = try files.lookup(group, "members"), snapshots = try files.lookup(group, "snap")
        #expect(error { () throws(PoolError) in _ = try files.makeDirectory(snapshots, "s", by: root) } == .refused(.groupIsEmpty))
        for name in ["a", "b"] { #expect(try files.readLink(files.makeLink(members, name, target: "../../../../\(name)", by: root)) == "../../../../\(name)") }
        #expect(error { () throws(PoolError) in _ = try files.makeLink(members, "x", target: "c", by: root) } == .refused(.linkTarget))
        _ = try files.makeDirectory(snapshots, "s", by: root)
        #expect(files.pool.snapshots(of: ids[0]).count == 1 && files.pool.snapshots(of: ids[1]).count == 1 && files.pool.snapshots(of: ids[2]).isEmpty)
        _ = try files.makeDirectory(.snapshotDirectory(ids[1]), "t", by: root)
        #expect(error { () throws(PoolError) in _ = try files.makeDirectory(snapshots, "t", by: root) } == .refused(.memberHasName(volume: ids[1])))
        #expect(files.pool.snapshots(of: ids[0]).count == 1)
        try files.setAttribute(.file(try files.find("b@s")), "user.volfs.hold", Array("x".utf8))
        #expect(error { () throws(PoolError) in try files.removeDirectory(snapshots, "s", by: root) } == .refused(.memberIsHeld(volume: try files.find("b@s"))))
        #expect(files.pool.snapshots(of: ids[0]).count == 1)
        let stranger = Caller(process: 2, uid: 1000, gid: 1000)
        #expect(error { () throws(PoolError) in _ = try files.makeDirectory(snapshots, "u", by: stranger) }?.errno == 13)
        #expect(error { () throws(PoolError) in _ = try files.makeLink(members, "c", target: "c", by: stranger) }?.errno == 13)
        #expect(error { () throws(PoolError) in try files.removeDirectory(.groups, "db", by: root) } == .refused(.groupHasMembers(count: 2)))
        // A group is what its members say: after a remount it is there, and without any it is not.
        let again = try self.files(files.pool)
        #expect(try again.list(.groups).map(\.name) == ["all", "db"])
        for name in ["a", "b"] { try again.unlink(again.lookup(again.lookup(.groups, "db"), "members"), name, by: root) }
        #expect(try again.list(.groups).map(\.name) == ["all", "db"])
        try again.removeDirectory(.groups, "db", by: root)
        #expect(try self.files(files.pool).list(.groups).map(\.name) == ["all"])
    }

    /// A group's snapshot shows its members', none of which can be removed there; and nothing in `.ctl` goes because somebody goes
    /// through a directory and removes what he finds.
    @Test func walkersRemoveNothing() throws {
        let pool = try Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024)), walks = Mutex("")
        var options = VolumeFileSystem.Options(now: { 1 }, pause: { _ in })
        options.trashSeconds = 100
        options.hasOpen = { process, end in process == 1 && walks.withLock { $0 } == end }
        let files = VolumeFileSystem(pool: pool, options: options)
        _ = try make(["a", "b", "c"], files)
        try files.unlink(.root, "c", by: root)
        _ = try files.makeLink(.clones, "clone", target: "a", by: root)
        let group = try files.makeDirectory(.groups, "db", by: root), members = try files.lookup(group, "members")
        _ = try files.makeLink(members, "a", target: "a", by: root)
        _ = try files.makeDirectory(files.lookup(group, "snap"), "s", by: root)
        let snapshot = try files.lookup(files.lookup(group, "snap"), "s")
        #expect(try files.list(snapshot).map(\.name) == ["a"])
        #expect(try files.readLink(files.lookup(snapshot, "a")) == "../../../../../a@s")
        #expect(error { () throws(PoolError) in try files.unlink(snapshot, "a", by: root) } == .notPermitted)
        for (directory, path, name) in [(.clones, "/.ctl/clone", "clone"), (members, "/.ctl/group/db/members", "a"), (.trash, "/.ctl/trash", "c")] as [(Inode, String, String)] {
            walks.withLock { $0 = path }
            #expect(error { () throws(PoolError) in try files.unlink(directory, name, by: root) } == .notPermitted)
            #expect(try files.list(directory).map(\.name).contains(name))
            walks.withLock { $0 = "" }
            try files.unlink(directory, name, by: root)
            #expect(try !files.list(directory).map(\.name).contains(name))
        }
        _ = try files.makeLink(members, "a", target: "a", by: root)
        try files.removeDirectory(files.lookup(group, "snap"), "s", by: root)
        #expect(error { () throws(PoolError) in _ = try files.find("a@s") } == .notFound)
    }

    /// A clone is nobody's member, and has none of its source's limits.
    @Test func clonesInheritNoLimits() throws {
        let files = try files()
        let id = try make(["v"], files)[0]
        for (name, value) in [("user.volfs.group", "db"), ("user.volfs.quota", "5"), ("user.note", "x")] { try files.setAttribute(.file(id), name, Array(value.utf8)) }
        _ = try files.makeLink(.clones, "c", target: "v", by: root)
        #expect(try files.attributeNames(.file(files.pool.find("c"))) == ["user.note"])
    }

    /// What is in the trash is nowhere else, comes back under any name, and goes for good when its time is over.
    @Test func trashKeepsForAsLongAsItSays() throws {
        let clock = TestClock(), disk = SimulatedDisk(size: 640 * 1024)
        let pool = try Pool.makeTiny(on: disk), files = try files(pool, trashSeconds: 100, clock: clock)
        let id = try make(["v", "w"], files)[0]
        try pool.write(id, at: 0, [1, 2, 3], growing: true)
        try files.unlink(.root, "v", by: root)
        #expect(pool.volumes().map(\.name) == ["w"] && pool.statistics().volumes == 1)
        #expect(error { () throws(PoolError) in _ = try files.lookup(.root, ".trash.\(id).v") } == .notFound)
        #expect(try files.lookup(.trash, "v") == .file(id))
        _ = try make(["v"], files)
        try files.unlink(.root, "v", by: root)
        #expect(try files.list(.trash).map(\.name) == ["v", "v~2"])
        #expect(error { () throws(PoolError) in _ = try files.open(.file(id), write, by: root) } == .refused(.isInTrash))
        #expect(error { () throws(PoolError) in try files.rename(.root, "w", to: .trash, "x", by: root) } == .invalid(.destination))
        #expect(files.refused(RefusedRequest("rename", .root, "w", other: "w"), by: root, .invalid(.destination)).reason.contains("moved to the trash with: rm w"))
        try files.rename(.trash, "v", to: .root, "back", by: root)
        #expect(try pool.contents(pool.find("back")) == [1, 2, 3] && pool.find("back") == id)
        try files.unlink(.root, "back", by: root)
        #expect(try files.list(.trash).map(\.name) == ["back", "v~2"])
        // A mount without a trash keeps what is there.
        try pool.close()
        let reopened = try Pool.openTiny(disk), plain = try self.files(reopened, clock: clock)
        clock.set(1_000_000_000_000)
        plain.tend()
        #expect(try plain.list(.trash).map(\.name) == ["back", "v~2"])
        try plain.unlink(.trash, "v~2", by: root)
        let last = try self.files(reopened, trashSeconds: 100, clock: clock)
        clock.set(try reopened.info(id).changed + 99_000_000_000)
        last.tend()
        #expect(try last.list(.trash).map(\.name) == ["back"])
        clock.set(clock.now + 2_000_000_000)
        last.tend()
        #expect(try last.list(.trash).isEmpty)
        #expect(error { () throws(PoolError) in _ = try reopened.info(id) } == .notFound)
    }

    /// A clock that was ahead when a volume was removed, and is right again, does not keep it until the time it said then.
    @Test func trashEmptiesItselfAfterAClockThatWasAhead() throws {
        let second: UInt64 = 1_000_000_000, real = 1_000_000 * second
        let clock = TestClock(), disk = SimulatedDisk(size: 640 * 1024), simulated = Pool.Environment.simulated(seed: 2)
        let environment = Pool.Environment(now: { clock.now }, random: simulated.random, pause: {})
        try Pool.format(disk, geometry: .tiny, environment: .simulated(seed: 1))
        let pool = try Pool(opening: disk, configuration: .tiny, environment: environment)
        let files = try files(pool, trashSeconds: 100, clock: clock)
        clock.set(300 * real)
        _ = try make(["v", "w"], files)
        try files.unlink(.root, "v", by: root)
        clock.set(real)
        try files.unlink(.root, "w", by: root)
        #expect(pool.asideVolumes().allSatisfy { $0.changed > clock.now })
        for (seconds, expected) in [(1, ["v", "w"]), (99, ["v", "w"]), (102, [])] as [(UInt64, [String])] {
            clock.set(real + seconds * second)
            #expect(try #require(files.restTime) <= 60_000)
            files.tend()
            #expect(try files.list(.trash).map(\.name) == expected, "after \(seconds) seconds")
        }
        // Set back once more, it counts from there; another mount from when it sees it.
        _ = try make(["x"], files)
        try files.unlink(.root, "x", by: root)
        clock.set(real)
        files.tend()
        clock.set(real + 50 * second)
        let next = try self.files(pool, trashSeconds: 100, clock: clock)
        next.tend()
        clock.set(real + 120 * second)
        next.tend()
        #expect(try next.list(.trash).map(\.name) == ["x"])
        files.tend()
        #expect(try files.list(.trash).isEmpty)
    }

    /// A client of another door counts like an open file.
    @Test func clientsOfOtherDoorsAreUsers() throws {
        let files = try files()
        let id = try make(["v"], files)[0]
        let handle = try files.enter(id, process: 7, command: "10.0.0.1:5", writes: true, kind: .nbd)
        #expect(try text(files, .volumeUsers(id)) == "pid=7 comm=10.0.0.1:5 mode=rw kind=nbd since=1970-01-01T00:00:05Z\n")
        #expect(String(decoding: try files.attribute(.file(id), "user.volfs.open"), as: UTF8.self) == "1")
        #expect(error { () throws(PoolError) in try files.unlink(.root, "v", by: root) } == .refused(.isOpen(object: id)))
        files.leave(id, handle)
        try files.setAttribute(.file(id), "user.volfs.readonly", Array("on".utf8))
        #expect(error { () throws(PoolError) in _ = try files.enter(id, process: 7, command: "", writes: true, kind: .nbd) } == .refused(.volumeIsReadOnly))
        let reader = try files.enter(id, process: 7, command: "", writes: false, kind: .nbd)
        files.leave(id, reader)
        try files.unlink(.root, "v", by: root)
        #expect(error { () throws(PoolError) in _ = try files.enter(id, process: 7, command: "", writes: false, kind: .nbd) } == .notFound)
    }

    /// Freeing is a job that appears, gets on and disappears by itself.
    @Test func freeingIsAJob() throws {
        let files = try files()
        let id = try make(["v"], files)[0]
        try files.pool.write(id, at: 0, (0..<100_000).map { UInt8(truncatingIfNeeded: $0 | 1) }, growing: true)
        #expect(try files.list(.jobs).isEmpty)
        try files.unlink(.root, "v", by: root)
        #expect(try files.list(.jobs).map(\.name) == ["freeing"])
        #expect(try text(files, .jobState(.freeing)) == "running\n" && text(files, .jobProgress(.freeing)) == "0 100000\n")
        #expect(error { () throws(PoolError) in try files.removeDirectory(.jobs, "freeing", by: root) } == .refused(.freesByItself))
        #expect(try files.pool.reap(budget: 20))
        let progress = try text(files, .jobProgress(.freeing)).split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
        #expect(progress.count == 2 && progress[0] > 0 && progress[0] < 100_000 && progress[1] == 100_000)
        try files.pool.finishReaping()
        #expect(try files.list(.jobs).isEmpty)
    }

    /// Differences are made as they are read: in any pieces and any order the text is the same, and JSON says what the lines say.
    @Test func differencesAreReadInPieces() throws {
        let files = try files(try Pool.makeTiny(on: SimulatedDisk(size: 8 << 20)))
        let id = try make(["v"], files)[0]
        try files.pool.resize(id, to: 3 << 20)
        let first = try files.pool.createSnapshot("a", of: id)
        // Across the 256 KiB that are compared at a time, one range on the border among them.
        for block in Swift.stride(from: UInt64(0), to: 3 << 10, by: 3) {
            try files.pool.write(id, at: block << 10, [UInt8](repeating: 7, count: 1024))
        }
        try files.pool.write(id, at: (256 << 10) - 1024, [UInt8](repeating: 7, count: 2048))
        let second = try files.pool.createSnapshot("b", of: id)
        var lines = ""
        try files.pool.differences(from: first, to: second) { lines += "\($0.offset) \($0.count)\n" }
        let inode = Inode.diff(first << 28 | second), file = try files.open(inode, OpenRequest(writes: false, truncates: false), by: root)
        var text: [UInt8] = []
        while true {
            var piece = [UInt8](repeating: 0, count: 37)
            let count = try piece.withUnsafeMutableBytes { try files.read(inode, handle: file.handle, at: UInt64(text.count), into: $0) }
            if count == 0 { break }
            text += piece[..<count]
        }
        #expect(String(decoding: text, as: UTF8.self) == lines && lines.contains("\((256 << 10) - 1024) 2048\n"))
        var again = [UInt8](repeating: 0, count: 100)
        let count = try again.withUnsafeMutableBytes { try files.read(inode, handle: file.handle, at: 5, into: $0) }
        #expect(count == 100 && again == Array(text[5..<105]))
        files.release(inode, handle: file.handle)
        let json = try self.text(files, .diffJSON(first << 28 | second))
        #expect(json.hasPrefix("{\"schema\":\"volfs.diff/1\",\"ranges\":[{\"offset\":0,\"length\":1024,\"hole\":false},{") && json.hasSuffix("}]}\n"))
        #expect(json.components(separatedBy: "offset").count - 1 == lines.split(separator: "\n").count)
    }

    /// Had back, and deleted for good, by two at once: one of them has done it, and the other is told that it is not there.
    @Test func whatLeavesTheTrashLeavesItOnce() throws {
        let files = try files(trashSeconds: 3600), root = root
        for _ in 0..<200 {
            _ = try make(["v"], files)
            try files.unlink(.root, "v", by: root)
            let outcome = Mutex<[PoolError?]>([nil, nil])
            inParallel(2) { index in
                var failure: PoolError?
                do throws(PoolError) {
                    if index == 0 { try files.rename(.trash, "v", to: .root, "v", by: root) } else { try files.unlink(.trash, "v", by: root) }
                } catch {
                    failure = error
                }
                outcome.withLock { [failure] in $0[index] = failure }
            }
            let (restored, deleted) = outcome.withLock { ($0[0], $0[1]) }
            #expect([restored, deleted] == [nil, .notFound] || [restored, deleted] == [.notFound, nil])
            #expect(try files.list(.root).map(\.name).contains("v") == (restored == nil))
            if restored == nil {
                try files.unlink(.root, "v", by: root)
                try files.unlink(.trash, "v", by: root)
            }
        }
    }

    /// A smaller size is a job as long as that takes, and whoever removes the job gets the old size back.
    @Test func shrinkingIsAJobThatCanBeCancelled() throws {
        let files = try files()
        #expect(error { () throws(PoolError) in _ = try files.makeDirectory(.jobs, "shrink", by: root) } == .refused(.shrinksBySize))
        let outcome = error { () throws(PoolError) in
            try files.jobs.during(.shrink) { control throws(PoolError) in
                #expect(try files.list(.jobs).map(\.name) == ["shrink"])
                #expect(error { () throws(PoolError) in try files.jobs.during(.shrink) { _ in } } == .inUse)
                try JoinableThread { try? files.removeDirectory(.jobs, "shrink", by: self.root) }.detach()
                while !control.isCancelled { pause(milliseconds: 1) }
                throw .cancelled
            }
        }
        #expect(outcome == .cancelled)
        #expect(try files.list(.jobs).isEmpty)
    }

    /// A pool is full as long as what was refused last would be refused again.
    @Test func stateIsFullUntilThereIsRoom() throws {
        let files = try files()
        let id = try make(["v"], files)[0]
        var at: UInt64 = 0, failure: PoolError?
        while failure == nil, at < 1 << 30 {
            let offset = at
            failure = error { () throws(PoolError) in try files.pool.write(id, at: offset, [UInt8](repeating: 7, count: 8192), growing: true) }
            at += 8192
        }
        let refusal = try #require(failure)
        files.refused(RefusedRequest("write", .file(id)), by: root, refusal)
        #expect(try text(files, .state) == "full\n")
        try files.unlink(.root, "v", by: root)
        try files.pool.finishReaping()
        try files.pool.finishReaping()
        #expect(try text(files, .state) == "ready\n")
    }
}

/// A clock that a test sets.
final class TestClock: Sendable {
    private let time = Mutex<UInt64>(5_000_000_000)
    var now: UInt64 { time.withLock { $0 } }
    func set(_ value: UInt64) { time.withLock { $0 = value } }
}
