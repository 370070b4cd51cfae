package import BlockStorage
internal import PoolEngine
internal import Synchronization

/// What the control directory's files say.
extension VolumeFileSystem {
    package func contents(of inode: Inode) throws(PoolError) -> String {
        switch inode {
        case .readme: return Self.readme
        case .metrics: return metricsText()
        case .poolProperty(let index): return poolPropertyText(index) + "\n"
        case .property(let pair): return try propertyText(pair >> 8, pair & 255)
        case .poolSize: return "\(pool.deviceSize)\n"
        case .state: return stateName + "\n"
        case .statistics: return statisticsText()
        case .statisticsJSON: return statisticsJSON()
        case .errors: return refusals.text
        case .list: return listText()
        case .volumeInfo(let id), .snapshotInfo(let id): return try infoText(try pool.info(id))
        case .volumeInfoJSON(let id), .snapshotInfoJSON(let id): return try infoJSON(try pool.info(id))
        case .volumeUsers(let id): return usersText(id)
        case .jobState(let kind): return try jobs.job(kind).phase.rawValue + "\n"
        case .jobProgress(let kind):
            let job = try jobs.job(kind), (done, total) = job.progress ?? (job.control.progress.done, job.control.progress.total)
            return "\(done) \(total)\n"
        case .jobReport(let kind): return try jobs.job(kind).text
        case .jobReportJSON(let kind): return try jobs.job(kind).json
        default: throw .notPermitted
        }
    }

    private static let readme = """
        volfs: volumes are the files beside this directory; VOL@SNAP are snapshots, read-only.

          truncate -s 32G VOL                 make or resize a volume
          rm VOL                              delete it (remove its snapshots first)
          mv VOL NEW                          rename it
          cat VOL > NEW                       copy it, at once, sharing its blocks; of VOL@SNAP too
          mkdir .ctl/snap/VOL/SNAP            snapshot, at once
          rmdir .ctl/snap/VOL/SNAP            delete a snapshot; clones of it live on
          mv .ctl/snap/VOL/SNAP .ctl/snap/VOL/NEW
          ln -s VOL@SNAP .ctl/clone/NEW       a writable clone, at once; VOL alone clones it as it is now
          readlink .ctl/clone/NEW             what it was cloned from; rm forgets it, and nothing else
          echo SNAP > .ctl/vol/VOL/rollback   back to a snapshot; what there is now is kept as VOL@pre-rollback-TIME
          echo TEXT > .ctl/vol/VOL/prop/comment  also fixed, shrink, readonly, quota, snapshot_limit; of a snapshot: hold
          echo BYTES > .ctl/size              make the pool larger
          cat .ctl/diff/VOL/A..B              ranges that differ: offset, length, z if a hole now; B may be head
          mkdir .ctl/group/all/snap/SNAP      all volumes at one moment
          mkdir .ctl/group/GROUP              or some: ln -s ../../../../VOL .ctl/group/GROUP/members/VOL
          mkdir .ctl/group/GROUP/snap/SNAP    all members at one moment
          mv .ctl/trash/VOL NEW               a removed volume back, if the pool is mounted with -o trash=TIME
          mkdir .ctl/job/scrub                verify everything; also check, check-data; rmdir cancels
          cat .ctl/job/scrub/state  .ctl/job/scrub/report
          cat .ctl/prop/free                  the pool's own: capacity, allocated, available, dirty, fragmentation, errors …
          exec 3<>.ctl/unique; echo VOL VOL@SNAP >&3; cat <&3    what deleting all of them would free
          cat .ctl/stats  .ctl/errors         space; why the last operations were refused
          cat .ctl/events                     what happens from now on, a line of JSON each
          cat .ctl/vol/VOL/info  .ctl/vol/VOL/users

        See volfs-ctl(7).

        """

    static let stopping = "stopping"
    static let full = "full", waiting = "waiting"
    static let stateNames = ["starting", "ready", full, waiting, "read-only", "degraded", stopping]

    /// One of `stateNames`; while it is starting nobody can ask.
    var stateName: String {
        let statistics = pool.statistics()
        if !options.isMounted { return "unmounted" }
        if open.withLock({ $0.isStopping }) { return Self.stopping }
        if statistics.isSuspended || statistics.checksumErrors > 0 || refugeText != nil { return "degraded" }
        if serverText != nil { return Self.waiting }
        if statistics.isReadOnly || options.isReadOnly { return "read-only" }
        return isFull ? Self.full : "ready"
    }

    private func statisticsText() -> String {
        let usage = pool.usage(), statistics = pool.statistics()
        let lines = [
            ("state", stateName), ("capacity", Wording.size(usage.capacity)), ("allocated", Wording.size(usage.allocated)),
            ("free", Wording.size(usage.free)), ("available", Wording.size(usage.available)), ("reserve", Wording.size(usage.reserve)),
            ("in the trash", Wording.size(trashSize)), ("volumes", "\(statistics.volumes)"), ("snapshots", "\(statistics.snapshots)"),
            ("being freed", "\(statistics.hidden - statistics.waiting)"),
            ("shared by copies", Wording.size(statistics.sharedBytes)), ("share table", Wording.size(UInt64(statistics.shareTableSize))),
            ("shared by clones", "\(statistics.waiting)"), ("checkpoints", "\(statistics.checkpoints)"),
            ("cached nodes", "\(statistics.cachedNodes)"), ("dirty blocks", "\(statistics.dirtyBlocks)"), ("copies used", "\(statistics.nodesFromCopy)"),
            ("checksum errors", "\(statistics.checksumErrors)"),
        ] + (refugeText.map { [("warning", $0)] } ?? []) + (fullText.map { [("full", $0)] } ?? [])
            + (serverText.map { [("server", $0)] } ?? []) + (servedAtText.map { [("nbd", $0)] } ?? [])
        return lines.map { name, value in name + String(repeating: " ", count: 18 - name.count) + value + "\n" }.joined()
    }

    private func statisticsJSON() -> String {
        let fields: [(String, JSON)] = [
            ("schema", .text("volfs.stats/1")), ("uuid", .text(pool.uuid.text)), ("source", .text(options.source)),
            ("pid", options.process == 0 ? .null : .number(Int64(options.process))), ("state", .text(stateName)),
            ("warning", refugeText.map { .text($0) } ?? .null), ("full", fullText.map { .text($0) } ?? .null),
            ("server", serverText.map { .text($0) } ?? .null), ("nbd", servedAtText.map { .text($0) } ?? .null),
        ]
        return JSON.object(fields + statisticsNumbers.map { ($0.0, .size($0.1)) }) + "\n"
    }

    var statisticsNumbers: [(String, UInt64)] {
        let usage = pool.usage(), s = pool.statistics()
        return [
            ("block_size", UInt64(usage.blockSize)), ("capacity", usage.capacity), ("allocated", usage.allocated),
            ("free", usage.free), ("available", usage.available), ("quarantined", usage.quarantined),
            ("reserve", usage.reserve), ("trash", trashSize), ("volumes", UInt64(s.volumes)), ("snapshots", UInt64(s.snapshots)),
            ("hidden", UInt64(s.hidden)), ("waiting", UInt64(s.waiting)), ("epoch", s.epoch), ("reads", s.reads),
            ("read_bytes", s.readBytes), ("writes", s.writes), ("written_bytes", s.writtenBytes), ("flushes", s.flushes),
            ("discards", s.discards), ("discarded_bytes", s.discardedBytes), ("checkpoints", s.checkpoints),
            ("shared_bytes", s.sharedBytes), ("share_table_bytes", UInt64(s.shareTableSize)), ("punched_bytes", s.punchedBytes), ("checksum_errors", s.checksumErrors),
            ("cached_nodes", UInt64(s.cachedNodes)), ("dirty_blocks", UInt64(s.dirtyBlocks)), ("nodes_from_copy", s.nodesFromCopy),
            ("journal_used", UInt64(s.journalUsedFrames)), ("journal_frames", UInt64(s.journalFrames)),
            ("trash_seconds", options.trashSeconds), ("suspended", s.isSuspended ? 1 : 0), ("memory_bound", memoryBound), ("restartable", isRestartable.withLock { $0 }() && refugeText == nil ? 1 : 0),
        ]
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
        let a = attributes(of: info)
        let fields = [
            info.isSnapshot ? "snapshot" : "volume", info.fullName, "\(info.id)", "\(info.size)", "\(info.referenced)",
            "\(info.created)", info.uuid.text, info.origin ?? "-", "\(info.snapshotCount)", String(a.mode, radix: 8),
            "\(a.uid)", "\(a.gid)",
        ]
        return fields.joined(separator: "\t") + "\n"
    }

    private func infoText(_ info: ObjectInfo) throws(PoolError) -> String {
        let usage = try usageIfKnown(of: info.id)
        func number(_ value: UInt64?) -> String { value.map { "\($0)" } ?? "-" }
        var lines = [
            ("name", info.fullName), ("type", info.isSnapshot ? "snapshot" : "volume"), ("size", "\(info.size)"),
            ("referenced", "\(info.referenced)"), ("used", number(usage?.used)), ("unique", number(usage?.unique)), ("written", number(usage?.written)),
            ("created", Wording.time(info.created)), ("guid", info.uuid.text), ("origin", info.origin ?? "-"),
        ]
        if !info.isSnapshot { lines.append(("reserved", "\(info.reserved)")) }
        if !info.isSnapshot { lines.append(("snapshots", "\(info.snapshotCount)")) }
        lines.append(("open", "\(openCount(info.id))"))
        lines += try setProperties(info.id).map { ($0.name, $0.value) }
        return lines.map { name, value in name + String(repeating: " ", count: max(1, 16 - name.count)) + value + "\n" }.joined()
    }

    private func infoJSON(_ info: ObjectInfo) throws(PoolError) -> String {
        let usage = try usageIfKnown(of: info.id)
        func number(_ value: UInt64?) -> JSON { value.map { .size($0) } ?? .null }
        return JSON.object([
            ("schema", .text("volfs.volume/1")), ("name", .text(info.fullName)), ("guid", .text(info.uuid.text)),
            ("type", .text(info.isSnapshot ? "snapshot" : "volume")), ("size", .size(info.size)),
            ("referenced", .size(info.referenced)), ("used", number(usage?.used)), ("unique", number(usage?.unique)),
            ("written", number(usage?.written)), ("reserved", .size(info.reserved)), ("created", .text(Wording.time(info.created))),
            ("origin", info.origin.map { .text($0) } ?? .null), ("snapshots", .number(Int64(info.snapshotCount))),
            ("open", .number(Int64(openCount(info.id)))),
            ("properties", .fields(try setProperties(info.id).map { ($0.name, .text($0.value)) })),
        ]) + "\n"
    }

    private func usersText(_ id: UInt64) -> String { users(of: id).map(\.line).joined() }
}
