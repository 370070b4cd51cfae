internal import BlockStorage
internal import PoolEngine
internal import VolumeFS

/// The two ways to a pool: through its mount's control directory, or opening it. Commands do not know which they have.
protocol PoolAccess: AnyObject {
    /// The pool's file.
    var source: String { get }
    /// Every volume, each followed by its snapshots.
    func list() throws(Failure) -> [ObjectLine]
    /// Volumes that were removed and can still be had back.
    func trash() throws(Failure) -> [ObjectLine]
    /// Seconds for which a removed volume is kept; 0 for not at all.
    func trashSeconds() throws(Failure) -> UInt64
    func summary() throws(Failure) -> PoolSummary
    /// `mode` is what open(2) would be given: what the process or the mount takes from modes is taken from it.
    func makeVolume(_ name: String, size: UInt64, mode: UInt32) throws(Failure)
    func resize(_ name: String, to size: UInt64) throws(Failure)
    /// Snapshots of several volumes, all called `name`, at one moment: all or none.
    func makeSnapshots(_ volumes: [String], _ name: String) throws(Failure)
    /// A snapshot of each member of a group, at one moment: all or none.
    func makeGroupSnapshot(_ group: String, _ name: String) throws(Failure)
    func makeClone(_ source: String, _ name: String) throws(Failure)
    /// Forgets what a clone was made from.
    func detach(_ volume: String) throws(Failure)
    func destroy(_ object: ObjectLine) throws(Failure)
    /// What would refuse the change now: one failure for each object that is held or open, or for all of them. Changes nothing.
    func obstacles(to change: ObjectChange, _ objects: [ObjectLine]) throws(Failure) -> [Failure]
    func rename(_ object: ObjectLine, to name: String) throws(Failure)
    /// A volume in the trash back among the others.
    func undelete(_ entry: ObjectLine, as name: String) throws(Failure)
    /// A volume in the trash for good.
    func purge(_ entry: ObjectLine) throws(Failure)
    /// What the volume holds is kept as a snapshot called `pre-rollback-TIME`, unless `discarding`.
    func rollback(_ volume: String, to snapshot: String, discarding: Bool) throws(Failure)
    func swap(_ first: String, _ second: String) throws(Failure)
    /// The bytes of a volume or a snapshot.
    func stream(_ name: String, writing: Bool) throws(Failure) -> any ByteStream
    /// Passes each range in which the second differs to `body`; `to` is a snapshot, or nil for the volume as it is.
    func differences(
        _ volume: String, from: String, to: String?, _ body: (_ offset: UInt64, _ count: UInt64, _ isHole: Bool) throws(Failure) -> Void
    ) throws(Failure)
    /// What the object takes, counted now. Nil where that cannot be: its map is damaged, or is changing too fast, or it is gone.
    func usage(_ object: ObjectLine) throws(Failure) -> ObjectUsage?
    /// Bytes that destroying all of them gives back. Nil as for `usage`.
    func freed(byDestroying objects: [ObjectLine]) throws(Failure) -> UInt64?
    /// Of the pool itself.
    func poolProperties() throws(Failure) -> [(name: String, value: String)]
    /// What is set or computed of a volume or a snapshot.
    func properties(_ name: String) throws(Failure) -> [(name: String, value: String)]
    /// The value of one that can be set; nil if it is not. Throws `.notFound` if there is no such volume or snapshot.
    func setting(_ name: String, _ property: String) throws(Failure) -> String?
    /// An empty value removes it.
    func setProperty(_ name: String, _ property: String, _ value: String) throws(Failure)
    /// An extended attribute of a volume; nil if it is not set.
    func attribute(_ volume: String, _ name: String) throws(Failure) -> String?
    /// Nil removes it.
    func setAttribute(_ volume: String, _ name: String, _ value: String?) throws(Failure)
    /// What `.ctl/stats` or `.ctl/stats.json` says.
    func statistics(isJSON: Bool) throws(Failure) -> String
    /// Bytes of the pool's file or device that it uses.
    func size() throws(Failure) -> UInt64
    /// Makes the pool that many bytes large.
    func grow(to size: UInt64) throws(Failure)
    /// The size in bytes that `shrink` to `size` would make it. Throws what it would throw before it moves anything.
    func smallerSize(_ size: UInt64) throws(Failure) -> UInt64
    /// The least of those sizes for which it throws nothing.
    func smallestSize() throws(Failure) -> UInt64
    /// Makes the pool that many bytes large, or a little less, where what is in use has a place in that. A signal that asks for
    /// the end cancels it, and the pool is as large as before.
    func shrink(to size: UInt64, _ mode: Progress.Mode) throws(Failure)
    /// After the last call: what was changed is durable.
    func finish() throws(Failure)
}

extension PoolAccess {
    /// The objects with what they take. What is in the trash is left as it is.
    func counted(_ lines: [ObjectLine]) throws(Failure) -> [ObjectLine] {
        var lines = lines
        for index in lines.indices where !lines[index].isInTrash { lines[index].usage = try usage(lines[index]) }
        return lines
    }

    /// The objects with what is set of them, of the properties called `names`, without those that are gone by now. What is in the trash
    /// is left as it is.
    func described(_ lines: [ObjectLine], _ names: [String] = ObjectLine.settable) throws(Failure) -> [ObjectLine] {
        var described: [ObjectLine] = []
        for var line in lines {
            do throws(Failure) {
                if !line.isInTrash { line.settings = try settings(of: line, names) }
                described.append(line)
            } catch {
                if error.status != .notFound { throw error }
            }
        }
        return described
    }

    private func settings(of line: ObjectLine, _ names: [String]) throws(Failure) -> [String: String] {
        var settings: [String: String] = [:]
        for name in names where VolumeFileSystem.settableNames(isSnapshot: line.isSnapshot).contains(name) {
            let value = try setting(line.name, name)
            // Of which every volume has one, mostly of nothing.
            settings[name] = name == "reservation" && value == "0" ? nil : value
        }
        return settings
    }

    /// For `VOL` or `VOL@SNAP` that there is not; `operand` is how the command line names the pool. Says so if the volume was removed and
    /// can be had back.
    func missing(_ name: String, in operand: String) -> Failure {
        let trash = ((try? self.trash()) ?? []).map { ($0.name, removed: $0.removed ?? 0) }, there = trash.isEmpty ? [] : ((try? list()) ?? []).map(\.name)
        for name in name.split(separator: ", ").map(String.init) {
            let volume = split(name).volume
            if there.contains(volume) { continue }
            guard let entry = TrashName.newest(of: volume, in: trash) else { continue }
            return Failure(
                .notFound, name, "no such volume, but it is in the trash; take it back: volfs undelete \(Path.quoted(operand)) \(entry)", errno: PoolError.notFound.errno)
        }
        return Failure(.notFound, name, "no such volume or snapshot; see: volfs list \(Path.quoted(operand))", errno: PoolError.notFound.errno)
    }
}

/// `VOL@SNAP` taken apart.
func split(_ name: String) -> (volume: String, snapshot: String?) {
    let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    return (parts[0], parts.count == 2 ? parts[1] : nil)
}
