internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// What the control directory's files say.
extension VolumeFileSystem {
    func contents(of inode: Inode) throws(PoolError) -> String {
        switch inode {
        case .readme: return Self.readme
        case .state: return stateName + "\n"
        case .statistics: return statisticsText()
        case .statisticsJSON: return statisticsJSON()
        case .errors: return refusals.text
        case .list: return listText()
        case .volumeInfo(let id), .snapshotInfo(let id): return infoText(try pool.info(id))
        case .volumeInfoJSON(let id), .snapshotInfoJSON(let id): return infoJSON(try pool.info(id))
        case .volumeUsers(let id): return usersText(id)
        default: throw .notPermitted
        }
    }

    private static let readme = """
        volfs: volumes are the files beside this directory; VOL@SNAP are snapshots, read-only.

          truncate -s 32G VOL                 make or resize a volume
          rm VOL                              delete it (remove its snapshots first)
          mv VOL NEW                          rename it
          mkdir .ctl/snap/VOL/SNAP            snapshot, at once
          rmdir .ctl/snap/VOL/SNAP            delete a snapshot; clones of it live on
          mv .ctl/snap/VOL/SNAP .ctl/snap/VOL/NEW
          ln -s VOL@SNAP .ctl/clone/NEW       a writable clone, at once; VOL alone clones it as it is now
          readlink .ctl/clone/NEW             what it was cloned from
          cat .ctl/stats  .ctl/errors         space; why the last operations were refused
          cat .ctl/vol/VOL/info  .ctl/vol/VOL/users

        See volfs-ctl(7).

        """

    private var stateName: String {
        let statistics = pool.statistics()
        if open.withLock({ $0.isStopping }) { return "stopping" }
        if statistics.isSuspended { return "degraded" }
        if statistics.isReadOnly || options.isReadOnly { return "read-only" }
        return pool.usage().available == 0 ? "full" : "ready"
    }

    private func statisticsText() -> String {
        let usage = pool.usage(), statistics = pool.statistics()
        let lines = [
            ("state", stateName), ("capacity", human(usage.capacity)), ("allocated", human(usage.allocated)),
            ("free", human(usage.free)), ("available", human(usage.available)), ("reserve", human(usage.reserve)),
            ("volumes", "\(statistics.volumes)"), ("snapshots", "\(statistics.snapshots)"),
            ("being freed", "\(statistics.hidden - statistics.waiting)"),
            ("shared by clones", "\(statistics.waiting)"), ("checkpoints", "\(statistics.checkpoints)"),
            ("cached nodes", "\(statistics.cachedNodes)"), ("dirty nodes", "\(statistics.dirtyNodes)"),
            ("checksum errors", "\(statistics.checksumErrors)"),
        ]
        return lines.map { name, value in name + String(repeating: " ", count: 18 - name.count) + value + "\n" }.joined()
    }

    private func statisticsJSON() -> String {
        let usage = pool.usage(), s = pool.statistics()
        var json = JSONText()
        json.add("schema", "volfs.pool/1")
        json.add("uuid", pool.uuid.text)
        json.add("source", options.source)
        json.add("pid", Int64(options.process))
        json.add("state", stateName)
        json.add("block_size", Int64(usage.blockSize))
        json.add("capacity", usage.capacity)
        json.add("allocated", usage.allocated)
        json.add("free", usage.free)
        json.add("available", usage.available)
        json.add("quarantined", usage.quarantined)
        json.add("reserve", usage.reserve)
        json.add("volumes", Int64(s.volumes))
        json.add("snapshots", Int64(s.snapshots))
        json.add("hidden", Int64(s.hidden))
        json.add("waiting", Int64(s.waiting))
        json.add("epoch", s.epoch)
        for (name, value) in [
            ("reads", s.reads), ("read_bytes", s.readBytes), ("writes", s.writes), ("written_bytes", s.writtenBytes),
            ("flushes", s.flushes), ("discards", s.discards), ("discarded_bytes", s.discardedBytes),
            ("checkpoints", s.checkpoints), ("punched_bytes", s.punchedBytes), ("checksum_errors", s.checksumErrors),
        ] { json.add(name, value) }
        json.add("cached_nodes", Int64(s.cachedNodes))
        json.add("dirty_nodes", Int64(s.dirtyNodes))
        json.add("journal_used", Int64(s.journalUsedFrames))
        json.add("journal_frames", Int64(s.journalFrames))
        return json.finish() + "\n"
    }

    /// One line an object, tab-separated, for programs: type, name, id, size, referenced, created, uuid, origin or -,
    /// snapshots, mode, uid, gid.
    private func listText() -> String {
        var text = ""
        for volume in pool.volumes() {
            text += listLine(volume)
            if volume.snapshotCount > 0 { for snapshot in pool.snapshots(of: volume.id) { text += listLine(snapshot) } }
        }
        return text
    }

    private func listLine(_ info: ObjectInfo) -> String {
        let a = info.attributes
        let fields = [
            info.isSnapshot ? "snapshot" : "volume", info.fullName, "\(info.id)", "\(info.size)", "\(info.referenced)",
            "\(info.created)", info.uuid.text, info.origin ?? "-", "\(info.snapshotCount)", String(a.mode, radix: 8),
            "\(a.uid)", "\(a.gid)",
        ]
        return fields.joined(separator: "\t") + "\n"
    }

    private func infoText(_ info: ObjectInfo) -> String {
        var lines = [
            ("name", info.fullName), ("type", info.isSnapshot ? "snapshot" : "volume"), ("size", "\(info.size)"),
            ("referenced", "\(info.referenced)"), ("created", timestamp(info.created)), ("guid", info.uuid.text),
            ("origin", info.origin ?? "-"),
        ]
        if !info.isSnapshot { lines.append(("snapshots", "\(info.snapshotCount)")) }
        return lines.map { name, value in name + String(repeating: " ", count: 12 - name.count) + value + "\n" }.joined()
    }

    private func infoJSON(_ info: ObjectInfo) -> String {
        var json = JSONText()
        json.add("schema", "volfs.volume/1")
        json.add("name", info.fullName)
        json.add("guid", info.uuid.text)
        json.add("type", info.isSnapshot ? "snapshot" : "volume")
        json.add("size", info.size)
        json.add("referenced", info.referenced)
        json.add("created", timestamp(info.created))
        json.add("origin", info.origin)
        json.add("snapshots", Int64(info.snapshotCount))
        json.add("open", Int64(open.withLock { $0.files[info.id]?.count ?? 0 }))
        return json.finish() + "\n"
    }

    private func usersText(_ id: UInt64) -> String {
        let handles = open.withLock { $0.files[id] ?? [:] }
        return handles.sorted { $0.key < $1.key }
            .map { "pid=\($0.value.process) mode=\($0.value.writes ? "rw" : "ro") kind=fuse\n" }.joined()
    }
}

/// Bytes as a person reads them: one decimal, powers of 1024.
func human(_ bytes: UInt64) -> String {
    var value = Double(bytes), unit = 0
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 && unit < units.count - 1 {
        value /= 1024
        unit += 1
    }
    if unit == 0 { return "\(bytes) B" }
    let tenths = UInt64((value * 10).rounded())
    return "\(tenths / 10).\(tenths % 10) \(units[unit])"
}

/// RFC 3339, UTC, whole seconds.
func timestamp(_ nanoseconds: UInt64) -> String {
    let seconds = Int(nanoseconds / 1_000_000_000)
    let days = seconds / 86_400, rest = seconds % 86_400
    // Days since 1970 to a date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
    let z = days + 719_468
    let era = z / 146_097, dayOfEra = z % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * month + 2) / 5 + 1
    let calendarMonth = month < 10 ? month + 3 : month - 9
    let year = yearOfEra + era * 400 + (calendarMonth <= 2 ? 1 : 0)
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    return "\(year)-\(two(calendarMonth))-\(two(day))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
}
