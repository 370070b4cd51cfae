internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// An unmounted pool, opened by this process.
final class DirectPool: PoolAccess {
    let pool: Pool
    private let path: String
    var source: String { path }

    init(path: String, mode: Pool.Mode) throws(Failure) {
        self.path = path
        pool = try Self.opened(path, mode: mode)
    }

    static let environment = Pool.Environment(
        now: { wallClock() }, random: {
            var generator = SystemRandomNumberGenerator()
            return generator.next()
        }, pause: { pause(milliseconds: 1) })

    /// Opens a pool's file; a failure names what is wrong with it.
    static func opened(
        _ path: String, mode: Pool.Mode, configuration: Pool.Configuration = .init(), isDirect: Bool = false,
        environment: Pool.Environment = environment
    ) throws(Failure) -> Pool {
        if let mount = MountTable().mount(around: path), Path.isDirectory(path) {
            throw Failure(.failed, path, "is in the mount of a pool, and no pool itself; name where that is mounted: \(mount.mountpoint)", errno: EISDIR)
        }
        let device = try PoolDevice.open(path, writing: mode != .readOnly, isDirect: isDirect)
        do throws(PoolError) {
            return try Pool(opening: device, mode: mode, configuration: configuration, environment: environment)
        } catch .notAPool where MountTable().isInside(path) {
            let pool = MountTable().mount(around: path)?.mountpoint ?? "POOL"
            throw Failure(.corrupt, path, "is in the mount of a pool, and no pool itself; name where that is mounted: \(pool)", errno: EMEDIUMTYPE)
        } catch .notAPool where isQcow2(path) {
            throw Failure(.corrupt, path, "a qcow2 image, not a pool; convert it into a volume: qemu-img convert -O raw", errno: EMEDIUMTYPE)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
    }

    private static func isQcow2(_ path: String) -> Bool {
        guard let file = fopen(path, "re") else { return false }
        defer { fclose(file) }
        var magic = [UInt8](repeating: 0, count: 4)
        return fread(&magic, 1, 4, file) == 4 && magic == [0x51, 0x46, 0x49, 0xfb]
    }

    func list() throws(Failure) -> [ObjectLine] {
        pool.volumes().flatMap { [ObjectLine($0)] + pool.snapshots(of: $0.id).map { ObjectLine($0) } }
    }

    func trash() throws(Failure) -> [ObjectLine] {
        try run(path) { () throws(PoolError) in
            var lines: [ObjectLine] = []
            for entry in try files.list(.trash) {
                if case .file(let id) = entry.inode, let info = try? pool.info(id) { lines.append(ObjectLine(inTrash: entry.name, info)) }
            }
            return lines
        }
    }

    /// Only a mount has one.
    func trashSeconds() throws(Failure) -> UInt64 { 0 }

    func summary() throws(Failure) -> PoolSummary {
        guard let statistics = FlatJSON(try statistics(isJSON: true)) else { throw Failure(.failed, path, "tells nonsense of itself") }
        return PoolSummary(statistics)
    }

    func statistics(isJSON: Bool) throws(Failure) -> String {
        try run(path) { () throws(PoolError) in try files.contents(of: isJSON ? .statisticsJSON : .statistics) }
    }

    func makeVolume(_ name: String, size: UInt64, mode: UInt32) throws(Failure) {
        try run(name) { () throws(PoolError) in try pool.createVolume(name, size: size, attributes: attributes(mode)) }
    }

    func resize(_ name: String, to size: UInt64) throws(Failure) {
        let info = try run(name) { () throws(PoolError) in try pool.info(find(name)) }
        if size != info.size, let failure = try refusal(of: size < info.size ? .shrink : .grow, ObjectLine(info)) { throw failure }
        try run(name) { () throws(PoolError) in try pool.resize(info.id, to: size) }
    }

    func makeSnapshots(_ volumes: [String], _ name: String) throws(Failure) {
        var ids: [UInt64] = []
        for volume in volumes {
            try run("\(volume)@\(name)") { () throws(PoolError) in
                ids.append(try find(volume))
                try files.refuseSnapshotByLimits(find(volume))
            }
        }
        try run(volumes.map { "\($0)@\(name)" }.joined(separator: ", ")) { () throws(PoolError) in try pool.createSnapshots(name, of: ids) }
    }

    func makeGroupSnapshot(_ group: String, _ name: String) throws(Failure) {
        let members = try run(group) { () throws(PoolError) in
            var members: [String] = []
            for volume in pool.volumes() {
                if group == "all" { members.append(volume.name) } else if try isMember(volume.id, of: group) { members.append(volume.name) }
            }
            return members
        }
        guard !members.isEmpty else { throw Failure(.notFound, group, "no such group, or nothing in it; see volfs-ctl(7)", errno: ENOENT) }
        try makeSnapshots(members, name)
    }

    private func isMember(_ volume: UInt64, of group: String) throws(PoolError) -> Bool {
        guard let value = try pool.properties(volume)["user.volfs.group"] else { return false }
        return String(decoding: value, as: UTF8.self).split { $0 == "," || $0 == " " }.contains { $0 == group }
    }

    func detach(_ volume: String) throws(Failure) {
        try run(volume) { () throws(PoolError) in try pool.forgetOrigin(of: find(volume)) }
    }

    func makeClone(_ source: String, _ name: String) throws(Failure) {
        let info = try run(source) { () throws(PoolError) in try pool.info(find(source)) }
        // As private as what it is made from.
        try run(name) { () throws(PoolError) in try pool.createClone(name, of: info.id, attributes: attributes(info.volumeAttributes.mode & 0o777 | 0o600)) }
    }

    func destroy(_ object: ObjectLine) throws(Failure) {
        if let failure = try refusal(of: .destroy, object) { throw failure }
        try run(object.name) { () throws(PoolError) in try pool.delete(object.id) }
    }

    func rename(_ object: ObjectLine, to name: String) throws(Failure) {
        let (volume, snapshot) = split(object.name)
        try run(snapshot == nil ? name : "\(volume)@\(name)") { () throws(PoolError) in try pool.rename(object.id, to: name) }
    }

    func undelete(_ entry: ObjectLine, as name: String) throws(Failure) {
        try run(name) { () throws(PoolError) in try files.rename(.trash, entry.name, to: .root, name, by: caller) }
    }

    func purge(_ entry: ObjectLine) throws(Failure) {
        try run(entry.name) { () throws(PoolError) in try files.unlink(.trash, entry.name, by: caller) }
    }

    private var caller: Caller { Caller(process: getpid(), uid: getuid(), gid: getgid()) }

    func rollback(_ volume: String, to snapshot: String, discarding: Bool) throws(Failure) {
        let info = try run(volume) { () throws(PoolError) in try pool.info(find(volume)) }
        if let failure = try refusal(of: .rollback, ObjectLine(info)) { throw failure }
        try run("\(volume)@\(snapshot)") { () throws(PoolError) in
            let id = info.id
            try pool.rollback(id, to: pool.find(snapshot: snapshot, of: id), discarding: discarding, now: wallClock())
        }
    }

    func swap(_ first: String, _ second: String) throws(Failure) {
        try run("\(first), \(second)") { () throws(PoolError) in try pool.swap(find(first), find(second)) }
    }

    func stream(_ name: String, writing: Bool) throws(Failure) -> any ByteStream {
        PoolStream(pool: pool, id: try run(name) { () throws(PoolError) in try find(name) }, name: name, source: path)
    }

    func differences(
        _ volume: String, from: String, to: String?, _ body: (_ offset: UInt64, _ count: UInt64, _ isHole: Bool) throws(Failure) -> Void
    ) throws(Failure) {
        var failure: Failure?
        try run(volume) { () throws(PoolError) in
            let id = try find(volume), first = try pool.find(snapshot: from, of: id)
            let second = try to.map { name throws(PoolError) in try pool.find(snapshot: name, of: id) } ?? id
            do throws(PoolError) {
                try pool.differences(from: first, to: second) { difference throws(PoolError) in
                    do throws(Failure) { try body(difference.offset, difference.count, difference.isHole) } catch {
                        failure = error
                        throw .cancelled
                    }
                }
            } catch .cancelled where failure != nil {}
        }
        if let failure { throw failure }
    }

    func attribute(_ volume: String, _ name: String) throws(Failure) -> String? {
        try run(volume) { () throws(PoolError) in
            let inode = Inode.file(try find(volume))
            do throws(PoolError) { return String(decoding: try files.attribute(inode, name), as: UTF8.self) } catch .noProperty { return nil }
        }
    }

    func setAttribute(_ volume: String, _ name: String, _ value: String?) throws(Failure) {
        try run(volume) { () throws(PoolError) in try pool.setProperty(find(volume), name, value.map { Array($0.utf8) }) }
    }

    /// What a mount would show.
    private var files: VolumeFileSystem {
        var options = VolumeFileSystem.Options(now: { wallClock() }, pause: { pause(milliseconds: $0) })
        options.isMounted = false
        options.source = path
        return VolumeFileSystem(pool: pool, options: options)
    }

    func usage(_ object: ObjectLine) throws(Failure) -> ObjectUsage? { try? pool.usage(of: object.id) }

    func freed(byDestroying objects: [ObjectLine]) throws(Failure) -> UInt64? { try? pool.freed(byDeleting: objects.map(\.id)) }

    func poolProperties() throws(Failure) -> [(name: String, value: String)] { files.allPoolProperties }

    func properties(_ name: String) throws(Failure) -> [(name: String, value: String)] {
        try run(name) { () throws(PoolError) in try files.allProperties(find(name)) }
    }

    func setting(_ name: String, _ property: String) throws(Failure) -> String? { try attribute(name, "user.volfs.\(property)") }

    func setProperty(_ name: String, _ property: String, _ value: String) throws(Failure) {
        do throws(Failure) {
            try run(name) { () throws(PoolError) in
                let inode = Inode.file(try find(name))
                do throws(PoolError) {
                    try files.setAttribute(inode, "user.volfs.\(property)", value.isEmpty ? nil : Array(value.utf8))
                } catch .noProperty where value.isEmpty {}
            }
        } catch {
            throw error.of(property: property)
        }
    }

    func size() throws(Failure) -> UInt64 { pool.deviceSize }

    func grow(to size: UInt64) throws(Failure) {
        if PoolDevice.isRemote(path) {
            let available = try run(path) { () throws(PoolError) in
                try pool.device.grow(to: size)
                return try pool.device.size
            }
            if available < size {
                throw Failure(.noSpace, path, "the server has \(Wording.size(available)) for it; make the export larger there first", errno: ENOSPC)
            }
        }
        do throws(PoolError) {
            try pool.grow(to: size)
        } catch .invalid(.size) {
            throw Failure(.usage, path, "a pool grows by two segments of 2 MiB or more; give a larger size", errno: EINVAL)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
    }

    func smallerSize(_ size: UInt64) throws(Failure) -> UInt64 {
        do throws(PoolError) { return try pool.smallerSize(size) } catch { throw shrinkFailure(error) }
    }

    func smallestSize() throws(Failure) -> UInt64 { try run(path) { () throws(PoolError) in try files.smallestSize() } }

    private func shrinkFailure(_ error: PoolError) -> Failure {
        guard error == .invalid(.size) else { return Failure(error, object: path, pool: path) }
        return Failure(.usage, path, "a pool shrinks by a segment of 2 MiB or more; choose a smaller size", errno: EINVAL)
    }

    func shrink(to size: UInt64, _ mode: Progress.Mode) throws(Failure) {
        do throws(PoolError) {
            try WatchedWork.run("shrink", mode) { control throws(PoolError) in try pool.shrink(to: size, control: control) }
        } catch {
            throw shrinkFailure(error)
        }
    }

    func finish() throws(Failure) {
        if pool.statistics().isReadOnly { return }
        try run(path) { () throws(PoolError) in
            try pool.finishReaping()
            try pool.close()
        }
    }

    private func find(_ name: String) throws(PoolError) -> UInt64 {
        let (volume, snapshot) = split(name)
        return try pool.find(volume, snapshot: snapshot)
    }

    /// New files as this process would make them.
    private func attributes(_ mode: UInt32 = 0o666) -> Attributes {
        let mask = umask(0)
        umask(mask)
        return Attributes(mode: mode & ~mask, uid: getuid(), gid: getgid())
    }

    @discardableResult
    private func run<Result>(_ object: String, _ body: () throws(PoolError) -> Result) throws(Failure) -> Result {
        do throws(PoolError) {
            return try body()
        } catch .notFound {
            throw missing(object, in: path)
        } catch {
            throw Failure(error, object: object, pool: path)
        }
    }
}
