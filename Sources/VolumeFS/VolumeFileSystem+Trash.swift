internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Removed volumes that can still be had back: set aside in the pool under the name `.trash.ID.NAME`. They are where they are
/// whatever the next mount says about a trash; only a mount with one puts more there, and deletes what is older.
extension VolumeFileSystem {
    private static let prefix = ".trash."

    struct TrashEntry {
        var name: String
        var info: ObjectInfo
    }

    /// By name.
    var trash: [TrashEntry] {
        pool.asideVolumes().compactMap { info in
            let parts = info.name.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
            guard info.name.hasPrefix(Self.prefix), parts.count == 4 else { return nil }
            return TrashEntry(name: String(parts[3]), info: info)
        }.sorted { $0.name < $1.name }
    }

    /// Bytes that what is in the trash refers to.
    var trashSize: UInt64 { trash.reduce(0) { $0 + $1.info.referenced } }

    /// The directory is there if something can come into it or is in it.
    var hasTrash: Bool { options.trashSeconds > 0 || !pool.asideVolumes().isEmpty }

    func refuseIfInTrash(_ info: ObjectInfo) throws(PoolError) {
        if info.name.hasPrefix(".") { throw .refused(.isInTrash) }
    }

    func findInTrash(_ name: String) throws(PoolError) -> UInt64 {
        guard let entry = trash.first(where: { $0.name == name }) else { throw .notFound }
        return entry.info.id
    }

    /// `rm VOL`. Durable on return. A second one of a name is called `NAME~2`.
    func moveToTrash(_ info: ObjectInfo) throws(PoolError) {
        let taken = trash.map(\.name)
        let name = trashNames.withLock { reserved in
            var name = info.name, number = 1
            while reserved.contains(name) || taken.contains(name) {
                number += 1
                name = "\(info.name)~\(number)"
            }
            reserved.insert(name)
            return name
        }
        defer { trashNames.withLock { _ = $0.remove(name) } }
        try pool.setAside(info.id, as: "\(Self.prefix)\(info.id).\(name)")
        times.touch([.trash], options.now())
    }

    /// `mv .ctl/trash/NAME NEW`.
    func restore(_ name: String, as newName: String) throws(PoolError) {
        let id = try trashExit.withLock { _ throws(PoolError) in
            let id = try findInTrash(name)
            try pool.rename(id, to: newName)
            return id
        }
        times.touch([.trash], options.now())
        touchVolumes(try pool.info(id))
        events.publish("volume-restored", newName, [("from", .text(name))])
    }

    /// `rm .ctl/trash/NAME`, and what a mount does with what has been there long enough.
    func deleteFromTrash(_ id: UInt64) throws(PoolError) {
        let entry = trash.first { $0.info.id == id }
        try whileClosed([id]) { () throws(PoolError) in
            try trashExit.withLock { _ throws(PoolError) in
                // It may have been restored meanwhile.
                guard trash.contains(where: { $0.info.id == id }) else { throw .notFound }
                try pool.delete(id)
            }
        }
        forget(id)
        times.touch([.trash], options.now())
        if let entry { events.publish("volume-deleted", entry.name) }
    }

    /// Deletes what has been in the trash for as long as the mount says. What somebody reads at this moment has its turn later.
    func emptyTrash() {
        guard options.trashSeconds > 0, !options.isReadOnly, !pool.isSuspended else { return }
        let now = options.now(), (age, overflow) = options.trashSeconds.multipliedReportingOverflow(by: 1_000_000_000)
        if overflow { return }
        // Once a second: looking goes through all volumes.
        let isDue = trashChecked.withLock { checked in
            guard now < checked || now - checked >= 1_000_000_000 else { return false }
            checked = now
            return true
        }
        guard isDue else { return }
        for (id, since) in trashTimes(now) {
            guard now - since >= age, openCount(id) == 0 else { continue }
            try? deleteFromTrash(id)
        }
    }

    /// Since when each of what is in the trash is there, at `now` the latest: since it last changed, which is when it was removed. A
    /// clock that was ahead may have left a time that is still to come, and would keep it until then: such a one counts from when this
    /// mount first saw it.
    private func trashTimes(_ now: UInt64) -> [(id: UInt64, since: UInt64)] {
        let entries = trash.map { (id: $0.info.id, changed: $0.info.changed) }
        return trashSeen.withLock { seen in
            let before = seen
            seen = [:]
            return entries.map { id, changed in
                // Also once the clock has got there.
                let first = before[id].flatMap { $0.changed == changed ? $0.since : nil }
                if changed <= now && first == nil { return (id, changed) }
                let since = min(now, first ?? now)
                seen[id] = (changed, since)
                return (id, since)
            }
        }
    }

    /// Milliseconds until something in the trash is old enough, at least a second and at most a minute, as clocks can be set; nil
    /// if nothing will be.
    var trashTime: Int? {
        guard options.trashSeconds > 0, !options.isReadOnly, !pool.isSuspended else { return nil }
        let now = options.now(), (age, overflow) = options.trashSeconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !overflow, let oldest = trashTimes(now).map(\.since).min() else { return nil }
        let passed = now - oldest
        return passed >= age ? 1000 : min(60_000, max(1000, Int((age - passed) / 1_000_000) + 1))
    }
}
