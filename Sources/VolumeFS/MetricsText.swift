internal import PoolEngine

/// `.ctl/metrics`: the Prometheus text format, base units, `_total` on what only goes up. Snapshots are a count: a label with
/// their names would grow without bound.
extension VolumeFileSystem {
    func metricsText() -> String {
        var text = ""
        func add(_ name: String, _ kind: String, _ samples: [(labels: String, value: String)]) {
            text += "# HELP volfs_\(name) \(Self.help(name))\n# TYPE volfs_\(name) \(kind)\n"
            for sample in samples { text += "volfs_\(name)\(sample.labels) \(sample.value)\n" }
        }
        func single(_ name: String, _ kind: String, _ value: UInt64) { add(name, kind, [("", "\(value)")]) }
        let usage = pool.usage(), s = pool.statistics(), state = stateName
        add("build_info", "gauge", [("{version=\"\(options.version)\"}", "1")])
        add("pool_info", "gauge", [("{uuid=\"\(pool.uuid.text)\"}", "1")])
        add("pool_state", "gauge", Self.stateNames.dropFirst().map { ("{state=\"\($0)\"}", $0 == state ? "1" : "0") })
        for (name, value) in [
            ("pool_size_bytes", usage.capacity), ("pool_allocated_bytes", usage.allocated), ("pool_free_bytes", usage.free),
            ("pool_available_bytes", usage.available), ("pool_reserve_bytes", usage.reserve), ("pool_quarantined_bytes", usage.quarantined),
            ("pool_dirty_bytes", UInt64(s.dirtyBlocks * usage.blockSize)), ("pool_trash_bytes", trashSize),
            ("volumes", UInt64(s.volumes)), ("snapshots", UInt64(s.snapshots)), ("freeing_versions", UInt64(s.hidden - s.waiting)),
            ("memory_bound_bytes", memoryBound), ("share_table_bytes", UInt64(s.shareTableSize)), ("cached_nodes", UInt64(s.cachedNodes)),
            ("journal_used_frames", UInt64(s.journalUsedFrames)), ("journal_frames", UInt64(s.journalFrames)),
        ] { single(name, "gauge", value) }
        for (name, value) in [
            ("reads", s.reads), ("writes", s.writes), ("read_bytes", s.readBytes), ("written_bytes", s.writtenBytes),
            ("flushes", s.flushes), ("discards", s.discards), ("discarded_bytes", s.discardedBytes), ("checkpoints", s.checkpoints),
            ("shared_bytes", s.sharedBytes), ("punched_bytes", s.punchedBytes), ("checksum_errors", s.checksumErrors), ("nodes_from_copy", s.nodesFromCopy),
        ] { single("\(name)_total", "counter", value) }
        add("errors_total", "counter", requests.refusals.map { ("{errno=\"\($0.errno)\"}", "\($0.count)") })
        let volumes = pool.volumes()
        add("volume_size_bytes", "gauge", volumes.map { ("{volume=\"\($0.name)\"}", "\($0.size)") })
        add("volume_referenced_bytes", "gauge", volumes.map { ("{volume=\"\($0.name)\"}", "\($0.referenced)") })
        add("volume_open", "gauge", volumes.map { ("{volume=\"\($0.name)\"}", "\(openCount($0.id))") })
        add("volume_snapshots", "gauge", volumes.map { ("{volume=\"\($0.name)\"}", "\($0.snapshotCount)") })
        addRequestCounts(volumes, add)
        add("job_progress_ratio", "gauge", jobs.kinds.compactMap { kind in
            guard let job = try? jobs.job(kind), job.phase == .running else { return nil }
            let (done, total) = job.progress ?? (job.control.progress.done, job.control.progress.total)
            return ("{job=\"\(kind.rawValue)\"}", total == 0 ? "0" : "\(Double(done) / Double(total))")
        })
        return text + histogramText()
    }

    private func addRequestCounts(_ volumes: [ObjectInfo], _ add: (String, String, [(labels: String, value: String)]) -> Void) {
        let counts = pool.requestCounts()
        let fields: [(String, KeyPath<RequestCounts, UInt64>)] = [
            ("reads", \.reads), ("writes", \.writes), ("discards", \.discards), ("read_bytes", \.readBytes),
            ("written_bytes", \.writtenBytes), ("discarded_bytes", \.discardedBytes),
        ]
        for (name, field) in fields {
            add("volume_\(name)_total", "counter", volumes.map { ("{volume=\"\($0.name)\"}", "\(counts[$0.id]?[keyPath: field] ?? 0)") })
        }
    }

    private func histogramText() -> String {
        var text = "# HELP volfs_request_seconds \(Self.help("request_seconds"))\n# TYPE volfs_request_seconds histogram\n"
        for kind in RequestMetrics.Kind.allCases {
            let (below, seconds, count) = requests.histogram(kind)
            if count == 0 { continue }
            for (bucket, value) in below.enumerated().dropLast() {
                let limit = Double(UInt64(1) << UInt64(bucket)) / 1e6
                text += "volfs_request_seconds_bucket{op=\"\(kind.text)\",le=\"\(limit)\"} \(value)\n"
            }
            text += "volfs_request_seconds_bucket{op=\"\(kind.text)\",le=\"+Inf\"} \(count)\n"
            text += "volfs_request_seconds_sum{op=\"\(kind.text)\"} \(seconds)\nvolfs_request_seconds_count{op=\"\(kind.text)\"} \(count)\n"
        }
        return text
    }

    /// What a metric counts, in words that follow from its name where that says it.
    static func help(_ name: String) -> String {
        if let text = helps[name] { return text }
        let words = (name.hasSuffix("_total") ? String(name.dropLast(6)) : name).split(separator: "_").joined(separator: " ")
        return name.hasPrefix("volume_") ? "\(words.dropFirst(7)) of the volume since the mount." : "\(words) since the mount."
    }

    private static let helps: [String: String] = [
        "build_info": "The version of volfs.", "pool_info": "The pool's uuid.", "pool_state": "1 for the state that the pool is in.",
        "pool_size_bytes": "What the pool can hold.", "pool_allocated_bytes": "What is in use.", "pool_free_bytes": "What is not in use.",
        "pool_available_bytes": "What writers can still have.", "pool_reserve_bytes": "What is kept so that deleting works in a full pool.",
        "pool_quarantined_bytes": "Freed, and in use again after the next checkpoint.", "pool_dirty_bytes": "Nodes that the next checkpoint stores.",
        "pool_trash_bytes": "What the volumes in the trash refer to.", "volumes": "Volumes there are.", "snapshots": "Snapshots there are.",
        "freeing_versions": "Deleted volumes and snapshots whose blocks are being freed.", "share_table_bytes": "Memory for counting references.",
        "memory_bound_bytes": "What the daemon's memory stays below.",
        "cached_nodes": "Nodes in memory.", "journal_used_frames": "Frames of the journal that are in use.", "journal_frames": "Frames the journal has.",
        "errors_total": "Requests refused, by errno, but for names and attributes that are not there.", "volume_size_bytes": "Size of the volume.", "volume_referenced_bytes": "Data the volume maps, shared or not.",
        "volume_open": "Open handles of the volume.", "volume_snapshots": "Snapshots of the volume.",
        "job_progress_ratio": "How much of a job is done, of 1.", "request_seconds": "How long requests took, by operation.",
        "checksum_errors_total": "Blocks that did not match their checksum since the mount.", "nodes_from_copy_total": "Nodes read from their copy since the mount.",
    ]
}
