internal import VolumeFS

/// `volfs snapshot`: of one volume, or of several at one moment.
enum SnapshotCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let names = Array(arguments.operands.dropFirst())
        let group = arguments["group"]
        let volumes: [String], snapshot: String
        if let group {
            (volumes, snapshot) = ([], try snapshotName(names, of: group))
        } else {
            (volumes, snapshot) = try parsed(names, in: arguments.operands[0])
        }
        let pool = try access(toPool: arguments.operands[0], writing: true)
        func make() throws(Failure) {
            if let group {
                try pool.makeGroupSnapshot(group, snapshot)
            } else {
                try pool.makeSnapshots(volumes, snapshot)
            }
        }
        if let mountpoint = arguments["freeze"] {
            let frozen = group == nil ? volumes : try pool.list().filter { !$0.isSnapshot }.map(\.name)
            try FrozenFilesystem.during(mountpoint, volumes: frozen, of: pool) { () throws(Failure) in try make() }
        } else {
            try make()
        }
        let made = try group == nil ? names : pool.list().map(\.name).filter { split($0).snapshot == snapshot }
        return try ChangeReport.finish(pool, arguments, changed: made)
    }

    /// The volumes, and the name that all their snapshots have.
    private static func parsed(_ names: [String], in pool: String) throws(Failure) -> (volumes: [String], snapshot: String) {
        var volumes: [String] = [], first = ""
        for name in names {
            let (volume, snapshot) = split(name)
            guard let snapshot else { throw .usage(name, "name the snapshot too, as \(name)@NAME") }
            if volume.isEmpty { throw .usage(name, "the volume is missing; write it as VOL\(name)") }
            try NameRule.checkReference(volume, in: pool)
            try NameRule.checkSnapshot(snapshot, in: name)
            if !volumes.isEmpty && snapshot != first {
                throw .usage(name, "snapshots of one command are of one moment and have one name, here \(first); make this one with a command of its own")
            }
            if volumes.contains(volume) { throw .usage(name, "is there twice") }
            volumes.append(volume)
            first = snapshot
        }
        return (volumes, first)
    }

    /// `SNAP`, `@SNAP` or `GROUP@SNAP`.
    private static func snapshotName(_ names: [String], of group: String) throws(Failure) -> String {
        guard names.count == 1 else { throw .usage(names[1], "with --group give one name, which the snapshot of each member has") }
        let (before, after) = split(names[0])
        if after != nil && before != "" && before != group {
            throw .usage(names[0], "is of one volume; with --group \(group) give the snapshot's name alone")
        }
        let name = after ?? before
        try NameRule.checkSnapshot(name, in: names[0])
        do throws(Failure) { try NameRule.checkVolume(group) } catch { throw Failure(.notFound, group, "no such group, and none can be called so", errno: 2) }
        return name
    }
}
