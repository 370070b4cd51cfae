internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// What would refuse a change of volumes or snapshots is looked at before anything is done.
extension DirectPool {
    func obstacles(to change: ObjectChange, _ objects: [ObjectLine]) throws(Failure) -> [Failure] {
        if !PoolDevice.isRemote(source), access(source, W_OK) != 0 { return [Failure(errno: errno, object: source, reason: nil)] }
        var failures: [Failure] = []
        for object in objects { if let failure = try refusal(of: change, object) { failures.append(failure) } }
        return failures
    }

    func refusal(of change: ObjectChange, _ object: ObjectLine) throws(Failure) -> Failure? {
        let refusal = try change.refusal(of: object.name) { name throws(Failure) in try attribute(object.name, "user.volfs.\(name)") ?? "" }
        return refusal.map { Failure($0.error, object.name, $0.sentence, pool: source) }
    }
}

extension ControlledPool {
    func obstacles(to change: ObjectChange, _ objects: [ObjectLine]) throws(Failure) -> [Failure] {
        guard let first = objects.first else { return [] }
        if let reason = MountTable.readOnlyReason(mountpoint) { return [Failure(.permission, first.name, reason, errno: EROFS)] }
        if try counters().number("suspended") > 0 {
            return [Failure(errno: EROFS, object: first.name, reason: "the pool is read-only after a failed write; unmount and mount again to recover")]
        }
        var failures: [Failure] = []
        for object in objects {
            let refusal = change == .destroy ? mayNotRemove(object) : nil
            if let failure = refusal ?? self.refusal(of: change, object) { failures.append(failure) }
        }
        // What is open may become larger.
        if change == .grow { return failures }
        // close(2) returns before the daemon hears of it, so for two seconds what seems open may be closed already, unless it can be seen.
        let holders = MountHolders(mountpoint: mountpoint)
        var open = objects.filter { !users(of: $0.name).isEmpty }
        for _ in 0..<40 where open.contains(where: { object in !users(of: object.name).contains { holders.has(object.name, open: $0.process) } }) {
            pause(milliseconds: 50)
            open = open.filter { !users(of: $0.name).isEmpty }
        }
        return failures + open.map { Failure(errno: EBUSY, object: $0.name, reason: openReason($0.name)) }
    }

    private func refusal(of change: ObjectChange, _ object: ObjectLine) -> Failure? {
        let refusal = change.refusal(of: object.name) { readText("\(mountpoint)/.ctl/\(propertyDirectory(object.name))/\($0)")?.trimmed ?? "" }
        return refusal.map { Failure($0.error, object.name, $0.sentence, pool: mountpoint) }
    }

    /// By the mode of the directory it is removed from, and where that is sticky by who owns what: the kernel refuses that itself.
    private func mayNotRemove(_ object: ObjectLine) -> Failure? {
        let (volume, snapshot) = split(object.name)
        let directory = snapshot == nil ? mountpoint : "\(mountpoint)/.ctl/snap/\(volume)"
        if access(directory, W_OK) != 0 && errno == EACCES { return Failure(errno: EACCES, object: object.name, reason: nil) }
        var parent = stat(), file = stat()
        guard geteuid() != 0, stat(directory, &parent) == 0, parent.st_mode & S_ISVTX != 0, parent.st_uid != geteuid(),
            lstat("\(directory)/\(snapshot ?? volume)", &file) == 0, file.st_uid != geteuid()
        else { return nil }
        return Failure(errno: EPERM, object: object.name, reason: nil)
    }
}

extension Failure {
    /// What the daemon would answer, `sentence`, as a command answers it.
    fileprivate init(_ error: PoolError, _ object: String, _ sentence: String, pool: String) {
        let text = CommandForm.translated(sentence, mountpoint: pool)
        // What it is about is said before.
        self.init(errno: error.errno, object: object, reason: text.hasPrefix("\(object) ") ? String(text.dropFirst(object.count + 1)) : text)
    }
}

extension ChangeReport {
    /// Throws what would refuse a change, the last of several; the others are said. Then nothing has been done.
    static func refuse(_ change: ObjectChange, of objects: [ObjectLine], in pool: any PoolAccess, _ arguments: Arguments) throws(Failure) {
        let obstacles = try pool.obstacles(to: change, objects)
        _ = try conclude(obstacles, of: obstacles.count, arguments)
    }
}
