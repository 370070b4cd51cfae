internal import BlockStorage
internal import Glibc
internal import LinuxIO

/// A change of volumes or snapshots that is looked at before anything is done: what would refuse it is known then.
enum ObjectChange { case destroy, rollback, shrink }

extension DirectPool {
    func obstacles(to change: ObjectChange, _ objects: [ObjectLine]) throws(Failure) -> [Failure] {
        if !PoolDevice.isRemote(source), access(source, W_OK) != 0 { return [Failure(errno: errno, object: source, reason: nil)] }
        guard change == .destroy else { return [] }
        var failures: [Failure] = []
        for object in objects where object.isSnapshot {
            if let reason = try attribute(object.name, "user.volfs.hold") { failures.append(.held(object.name, reason, pool: source)) }
        }
        return failures
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
            if let failure = refusal(of: change, object) { failures.append(failure) }
        }
        // close(2) returns before the daemon hears of it, so for two seconds what seems open may be closed already, unless it can be seen.
        let holders = MountHolders(mountpoint: mountpoint)
        var open = objects.filter { !users(of: $0.name).isEmpty }
        for _ in 0..<40 where open.contains(where: { object in !users(of: object.name).contains { holders.has(object.name, open: $0.process) } }) {
            pause(milliseconds: 50)
            open = open.filter { !users(of: $0.name).isEmpty }
        }
        return failures + open.map { Failure(errno: EBUSY, object: $0.name, reason: openReason($0.name)) }
    }

    /// By properties, and by who may.
    private func refusal(of change: ObjectChange, _ object: ObjectLine) -> Failure? {
        let (volume, snapshot) = split(object.name)
        func property(_ name: String) -> String {
            readText("\(mountpoint)/.ctl/\(propertyDirectory(object.name))/\(name)")?.trimmed ?? ""
        }
        func isOff(_ name: String, _ value: String, _ number: Int32) -> Failure {
            Failure(errno: number, object: volume, reason: "the property \(name) is \(value); first: volfs set \(mountpoint) \(volume) \(name)=\(value == "on" ? "off" : "on")")
        }
        switch change {
        case .destroy:
            let directory = snapshot == nil ? mountpoint : "\(mountpoint)/.ctl/snap/\(volume)"
            if access(directory, W_OK) != 0 && errno == EACCES { return Failure(errno: EACCES, object: object.name, reason: nil) }
            if snapshot != nil, case let reason = property("hold"), !reason.isEmpty { return .held(object.name, reason, pool: mountpoint) }
        case .rollback, .shrink:
            if property("readonly") == "on" { return isOff("readonly", "on", EROFS) }
            if change == .shrink && property("shrink") == "off" { return isOff("shrink", "off", EPERM) }
        }
        return nil
    }
}

extension Failure {
    static func held(_ snapshot: String, _ reason: String, pool: String) -> Failure {
        Failure(.busy, snapshot, "is held (\(reason)); release it first: volfs release \(pool) \(snapshot)", errno: EBUSY)
    }
}

extension ChangeReport {
    /// Throws what would refuse a change, the last of several; the others are said. Then nothing has been done.
    static func refuse(_ change: ObjectChange, of objects: [ObjectLine], in pool: any PoolAccess, _ arguments: Arguments) throws(Failure) {
        let obstacles = try pool.obstacles(to: change, objects)
        _ = try conclude(obstacles, of: obstacles.count, arguments)
    }
}
