internal import CLinux
internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// A mounted pool, reached through its mount: each command is what a shell would type there.
final class ControlledPool: PoolAccess {
    let mountpoint: String
    let source: String

    init(_ mount: MountTable.Mount) { (mountpoint, source) = (mount.mountpoint, mount.source) }

    func list() throws(Failure) -> [ObjectLine] {
        try read("list").split(separator: "\n").compactMap { ObjectLine(line: String($0)) }
    }

    func trash() throws(Failure) -> [ObjectLine] {
        Directory.names(in: "\(mountpoint)/.ctl/trash").sorted().compactMap { name -> ObjectLine? in
            var status = stat()
            let file = ".ctl/trash/\(name)"
            guard stat("\(mountpoint)/\(file)", &status) == 0 else { return nil }
            func property(_ name: String) -> String { ((try? attribute(file, "user.volfs.\(name)")) ?? nil) ?? "-" }
            return ObjectLine(
                inTrash: name, id: UInt64(status.st_ino) >> 8, size: UInt64(status.st_size), referenced: UInt64(status.st_blocks) * 512,
                created: Wording.nanoseconds(property("created")) ?? 0, removed: UInt64(status.st_ctim.tv_sec) * 1_000_000_000 + UInt64(status.st_ctim.tv_nsec), uuid: property("guid"))
        }
    }

    func trashSeconds() throws(Failure) -> UInt64 { try counters().number("trash_seconds") }

    func summary() throws(Failure) -> PoolSummary {
        PoolSummary(try counters())
    }

    func statistics(isJSON: Bool) throws(Failure) -> String { try read(isJSON ? "stats.json" : "stats") }

    /// What `.ctl/stats.json` says.
    func counters() throws(Failure) -> FlatJSON {
        guard let fields = FlatJSON(try read("stats.json")) else {
            throw Failure(.unreachable, mountpoint, "its control directory tells nonsense")
        }
        return fields
    }

    func makeVolume(_ name: String, size: UInt64, mode: UInt32) throws(Failure) {
        let path = "\(mountpoint)/\(name)"
        let descriptor = try call(name) { volfs_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode) }
        do throws(Failure) {
            try call(name) { ftruncate(descriptor, off_t(clamping: size)) }
            close(descriptor)
        } catch {
            // As for an unmounted pool: a volume that cannot have its size is not made.
            close(descriptor)
            unlink(path)
            throw error
        }
    }

    func resize(_ name: String, to size: UInt64) throws(Failure) {
        try call(name) { truncate("\(mountpoint)/\(name)", off_t(clamping: size)) }
    }

    func makeSnapshots(_ volumes: [String], _ name: String) throws(Failure) {
        // No name has a comma: `a,b@s` is snapshots of both at one moment.
        let place = volumes.count == 1 ? "\(volumes[0])/\(name)" : "\(volumes.joined(separator: ","))@\(name)"
        do throws(Failure) {
            try call(volumes.map { "\($0)@\(name)" }.joined(separator: ", ")) { mkdir("\(mountpoint)/.ctl/snap/\(place)", 0o755) }
        } catch {
            let missing = volumes.first { Glibc.access("\(mountpoint)/\($0)", F_OK) != 0 }
            guard error.status == .notFound, let missing else { throw error }
            throw self.missing("\(missing)@\(name)", in: mountpoint)
        }
    }

    func makeGroupSnapshot(_ group: String, _ name: String) throws(Failure) {
        do throws(Failure) {
            try call(group) { mkdir("\(mountpoint)/.ctl/group/\(group)/snap/\(name)", 0o755) }
        } catch {
            var failure = error
            switch error.errno {
            case ENOENT where error.status == .notFound: failure.message = "no such group, or nothing in it; see: ls \(mountpoint)/.ctl/group"
            // The snapshot, not the group, is there.
            case EEXIST: failure.object = "\(group)@\(name)"
            default: break
            }
            throw failure
        }
    }

    func detach(_ volume: String) throws(Failure) { try call(volume) { unlink("\(mountpoint)/.ctl/clone/\(volume)") } }

    func makeClone(_ source: String, _ name: String) throws(Failure) {
        do throws(Failure) {
            try call(name) { symlink(source, "\(mountpoint)/.ctl/clone/\(name)") }
        } catch {
            // It is the source that is not there.
            var failure = error
            if failure.status == .notFound { failure.object = source }
            throw failure
        }
    }

    func destroy(_ object: ObjectLine) throws(Failure) {
        let (volume, snapshot) = split(object.name)
        let path = snapshot.map { "\(mountpoint)/.ctl/snap/\(volume)/\($0)" } ?? "\(mountpoint)/\(volume)"
        try refuseIfAnother(object, at: path)
        try call(object.name) { snapshot == nil ? unlink(path) : rmdir(path) }
    }

    /// Throws if what has the name by now is not the object that was looked at: between that and this somebody may have been asked.
    private func refuseIfAnother(_ object: ObjectLine, at path: String) throws(Failure) {
        var status = stat()
        // One that is not there is refused by who is to delete it.
        guard lstat(path, &status) == 0, UInt64(status.st_ino) >> 8 != object.id else { return }
        let list = "volfs list \(Path.quoted(mountpoint))\(object.isInTrash ? " -t trash" : "")"
        throw Failure(.notFound, object.name, "is not what it was when this began: another has that name now, and stays; see: \(list)", errno: ESTALE)
    }

    func rename(_ object: ObjectLine, to name: String) throws(Failure) {
        let (volume, snapshot) = split(object.name)
        let directory = snapshot == nil ? mountpoint : "\(mountpoint)/.ctl/snap/\(volume)"
        try call(snapshot == nil ? name : "\(volume)@\(name)") { Glibc.rename("\(directory)/\(snapshot ?? volume)", "\(directory)/\(name)") }
    }

    func undelete(_ entry: ObjectLine, as name: String) throws(Failure) {
        try call(name) { Glibc.rename("\(mountpoint)/.ctl/trash/\(entry.name)", "\(mountpoint)/\(name)") }
    }

    func purge(_ entry: ObjectLine) throws(Failure) {
        let path = "\(mountpoint)/.ctl/trash/\(entry.name)"
        try refuseIfAnother(entry, at: path)
        try call(entry.name) { unlink(path) }
    }

    func rollback(_ volume: String, to snapshot: String, discarding: Bool) throws(Failure) {
        do throws(Failure) {
            try command("vol/\(volume)/rollback", snapshot + (discarding ? " discard\n" : "\n"), object: volume)
        } catch {
            var failure = error
            // It is the snapshot that is not there, or the volume that is in use.
            if failure.status == .notFound { failure.object = "\(volume)@\(snapshot)" }
            throw failure
        }
    }

    /// Writes words to a control file.
    private func command(_ file: String, _ text: String, object: String) throws(Failure) {
        let descriptor = try call(object) { volfs_open("\(mountpoint)/.ctl/\(file)", O_WRONLY | O_CLOEXEC, 0) }
        defer { close(descriptor) }
        try call(object) { Int32(clamping: text.withCString { write(descriptor, $0, strlen($0)) }) }
    }

    func swap(_ first: String, _ second: String) throws(Failure) {
        try call("\(first), \(second)") { volfs_exchange("\(mountpoint)/\(first)", "\(mountpoint)/\(second)") }
    }

    func stream(_ name: String, writing: Bool) throws(Failure) -> any ByteStream {
        let start = Wording.time(wallClock())
        return try FileStream("\(mountpoint)/\(name)", flags: writing ? O_RDWR : O_RDONLY) { self.failure($0, name, since: start) }
    }

    func differences(
        _ volume: String, from: String, to: String?, _ body: (_ offset: UInt64, _ count: UInt64, _ isHole: Bool) throws(Failure) -> Void
    ) throws(Failure) {
        let path = "\(mountpoint)/.ctl/diff/\(volume)/\(from)..\(to ?? "head")"
        guard let file = fopen(path, "re") else { throw failure(errno, "\(volume)@\(from)", since: Wording.time(wallClock())) }
        defer { fclose(file) }
        var line: UnsafeMutablePointer<CChar>?, size = 0
        defer { free(line) }
        while getline(&line, &size, file) > 0, let pointer = line {
            let words = String(cString: pointer).split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, let offset = UInt64(words[0]), let count = UInt64(words[1]) else { continue }
            try body(offset, count, words.count > 2)
        }
        if ferror(file) != 0 { throw failure(errno, "\(volume)@\(from)", since: Wording.time(wallClock())) }
    }

    func attribute(_ volume: String, _ name: String) throws(Failure) -> String? {
        var bytes = [CChar](repeating: 0, count: 4096)
        let count = volfs_get_attribute("\(mountpoint)/\(volume)", name, &bytes, bytes.count)
        if count < 0 && errno == ENODATA { return nil }
        guard count >= 0 else { throw failure(errno, volume, since: Wording.time(wallClock())) }
        return String(decoding: bytes[..<Int(count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func setAttribute(_ volume: String, _ name: String, _ value: String?) throws(Failure) {
        let path = "\(mountpoint)/\(volume)"
        try call(volume) { value.map { volfs_set_attribute(path, name, $0, $0.utf8.count) } ?? volfs_remove_attribute(path, name) }
    }

    /// Of a volume or a snapshot, below .ctl.
    private func directory(_ name: String) -> String {
        let (volume, snapshot) = split(name)
        return snapshot.map { "snap/\(volume)/\($0)" } ?? "vol/\(volume)"
    }

    func propertyDirectory(_ name: String) -> String { directory(name) + "/prop" }

    func usage(_ object: ObjectLine) throws(Failure) -> ObjectUsage? {
        guard let text = try readIfThere(directory(object.name) + "/info.json"), let info = FlatJSON(text),
            let used = UInt64(info["used"]), let unique = UInt64(info["unique"]), let written = UInt64(info["written"])
        else { return nil }
        return ObjectUsage(used: used, unique: unique, written: written)
    }

    func freed(byDestroying objects: [ObjectLine]) throws(Failure) -> UInt64? {
        // The daemon may be exchanged between question and answer, and the next one does not know the question.
        for _ in 0..<8 {
            if let freed = try askFreed(objects) { return freed }
            if errno != ESTALE && errno != EINTR { break }
            // Of a daemon that is being exchanged, until the next one is there.
            if errno == EINTR { pause(milliseconds: 50) }
        }
        return nil
    }

    /// Nil with errno if there is no answer.
    private func askFreed(_ objects: [ObjectLine]) throws(Failure) -> UInt64? {
        let file = open("\(mountpoint)/.ctl/unique", O_RDWR | O_CLOEXEC)
        guard file >= 0 else { throw Failure(errno: errno, object: mountpoint, reason: nil) }
        var problem: Int32 = 0
        defer {
            close(file)
            errno = problem
        }
        let names = objects.map(\.name).joined(separator: "\n")
        guard write(file, names, names.utf8.count) == names.utf8.count else {
            problem = errno
            return nil
        }
        var answer = [UInt8](repeating: 0, count: 32)
        let count = Glibc.read(file, &answer, answer.count)
        problem = count < 0 ? errno : 0
        return count > 0 ? UInt64(String(decoding: answer[..<(count - 1)], as: UTF8.self)) : nil
    }

    func poolProperties() throws(Failure) -> [(name: String, value: String)] { try properties(in: "prop", of: mountpoint) }

    func properties(_ name: String) throws(Failure) -> [(name: String, value: String)] {
        try properties(in: propertyDirectory(name), of: name)
    }

    private func properties(in directory: String, of name: String) throws(Failure) -> [(name: String, value: String)] {
        guard Glibc.access("\(mountpoint)/.ctl/\(directory)", F_OK) == 0 else {
            throw errno == ENOENT ? missing(name, in: mountpoint) : Failure(errno: errno, object: name, reason: nil)
        }
        var found: [(name: String, value: String)] = []
        for property in Directory.names(in: "\(mountpoint)/.ctl/\(directory)") {
            if let value = try value(property, in: directory, of: name) { found.append((property, value)) }
        }
        return found
    }

    /// Nil for a property that is not set.
    private func value(_ property: String, in directory: String, of name: String) throws(Failure) -> String? {
        guard let text = try readIfThere("\(directory)/\(property)") else {
            // The daemon may be of another version, and not know the property.
            if Glibc.access("\(mountpoint)/.ctl/\(directory)", F_OK) == 0 { return nil }
            throw missing(name, in: mountpoint)
        }
        return text.isEmpty ? nil : String(text.dropLast())
    }

    /// By its file, as asking for an attribute that is not set would be a refusal.
    func setting(_ name: String, _ property: String) throws(Failure) -> String? {
        try value(property, in: propertyDirectory(name), of: name)
    }

    func setProperty(_ name: String, _ property: String, _ value: String) throws(Failure) {
        do throws(Failure) { try command("\(propertyDirectory(name))/\(property)", value + "\n", object: name) } catch { throw error.of(property: property) }
    }

    func size() throws(Failure) -> UInt64 { UInt64(try read("size").filter { !$0.isWhitespace }) ?? 0 }

    func grow(to size: UInt64) throws(Failure) { try setSize(size) }

    /// A size that no pool can have is wrong usage here as it is of an unmounted pool.
    private func setSize(_ size: UInt64) throws(Failure) {
        do throws(Failure) { try command("size", "\(size)\n", object: mountpoint) } catch { throw Self.asUsage(error) }
    }

    private static func asUsage(_ failure: Failure) -> Failure {
        var failure = failure
        if failure.errno == EINVAL { failure.status = .usage }
        return failure
    }

    func smallerSize(_ size: UInt64) throws(Failure) -> UInt64 {
        let text: String?
        do throws(Failure) {
            text = try attribute("", "user.volfs.smaller.\(size)")
        } catch {
            var failure = Self.asUsage(error)
            failure.object = mountpoint
            throw failure
        }
        return text.flatMap { UInt64($0) } ?? size
    }

    func smallestSize() throws(Failure) -> UInt64 {
        guard let text = try attribute("", VolumeFileSystem.smallest), let size = UInt64(text) else {
            throw Failure(.unreachable, mountpoint, "its daemon does not know how small the pool can be")
        }
        return size
    }

    func shrink(to size: UInt64, _ mode: Progress.Mode) throws(Failure) {
        let job = MountedJob("shrink", mountpoint: mountpoint)
        try WatchedWork.run("shrink", mode, progress: { job.progress }, cancel: { try? job.stop() }) { () throws(Failure) in
            try setSize(size)
        }
    }

    func finish() throws(Failure) {}

    /// Who has which volume open, by what the files `users` say. Snapshots, of which there may be a hundred thousand, have none.
    func users() throws(Failure) -> [VolumeUse] { try list().flatMap { $0.isSnapshot ? [] : users(of: $0.name) } }

    func users(of object: String) -> [VolumeUse] {
        let lines = (readText("\(mountpoint)/.ctl/\(directory(object))/users") ?? "").split(separator: "\n")
        return lines.compactMap { VolumeUse(object: object, line: $0) }
    }

    /// The process that serves the mount.
    func process() throws(Failure) -> Int32 { Int32(try counters()["pid"]) ?? 0 }

    /// Jobs that run or whose report is there, by name.
    func jobs() -> [MountedJob] {
        Directory.names(in: "\(mountpoint)/.ctl/job").sorted().map { MountedJob($0, mountpoint: mountpoint) }
    }

    private func read(_ name: String) throws(Failure) -> String {
        guard let text = readText("\(mountpoint)/.ctl/\(name)") else {
            let number = errno
            if number == ENOENT { throw Failure(.unreachable, mountpoint, Self.without, errno: ENOENT) }
            if let dead = dead(number) { throw dead }
            if number == EACCES { throw Failure(errno: number, object: mountpoint, reason: nil) }
            throw Failure(.unreachable, mountpoint, "its control directory does not answer: \(String(cString: strerror(number)))", errno: number)
        }
        return text
    }

    /// Nil if there is no such file: of an object that was there a moment ago, as others make and delete meanwhile.
    private func readIfThere(_ name: String) throws(Failure) -> String? {
        do throws(Failure) {
            return try read(name)
        } catch {
            guard error.errno == ENOENT, Self.withoutControl(mountpoint) == nil else { throw error }
            return nil
        }
    }

    private static let without = "mounted without .ctl; mount it again without -o ctl=off"

    /// What to say where there is no control directory; nil where there is.
    static func withoutControl(_ mountpoint: String) -> String? {
        Glibc.access("\(mountpoint)/.ctl", F_OK) != 0 && errno == ENOENT ? without : nil
    }

    /// For what a mount answers that nobody serves.
    private func dead(_ number: Int32) -> Failure? {
        guard number == ENOTCONN || number == ECONNABORTED, MountTable.isDead(mountpoint) else { return nil }
        return Failure(.unreachable, mountpoint, "its daemon is gone; clear the dead mount with: volfs umount \(Path.quoted(mountpoint))", errno: number)
    }

    @discardableResult
    private func call(_ object: String, _ body: () -> Int32) throws(Failure) -> Int32 {
        // The log has whole seconds. A line before this one is of another process that had our number.
        let start = Wording.time(wallClock())
        let result = body()
        if result >= 0 { return result }
        throw failure(errno, object, since: start)
    }

    /// What an errno means that a call on `object` got: what the daemon noted of it, and who is in the way.
    func failure(_ number: Int32, _ object: String, since start: String) -> Failure {
        if let dead = dead(number) { return dead }
        if number == ENOENT, let text = Self.withoutControl(mountpoint) { return Failure(.unreachable, mountpoint, text, errno: number) }
        let last = readText("\(mountpoint)/.ctl/errors")?.split(separator: "\n").last {
            $0.contains("errno=\(number):") && $0.contains("pid=\(getpid()) ") && $0.prefix(start.count) >= start
        }
        var reason = last?.split(separator: ": ", maxSplits: 1).last.map { CommandForm.translated(String($0), mountpoint: mountpoint) }
        // What it is about is said before.
        if let text = reason, text.hasPrefix("\(object) ") { reason = String(text.dropFirst(object.count + 1)) }
        if number == ENOENT && reason == nil { return missing(object, in: mountpoint) }
        if number == EBUSY { reason = openReason(object) ?? reason }
        if number == EROFS && reason == nil { reason = MountTable.readOnlyReason(mountpoint) }
        var failure = Failure(errno: number, object: object, reason: reason)
        // As for an unmounted pool: what cannot be a name is wrong usage.
        if number == EINVAL && reason?.hasPrefix("names are") == true { failure.status = .usage }
        return failure
    }

    /// Who has it open, and what to do; nil if nobody has.
    func openReason(_ object: String) -> String? {
        openBy(object).map { "is open; open by \($0); close, unmount or detach it" }
    }

    /// `pid 812 (qemu-system-x86), /dev/loop0`; nil if nobody has it open.
    private func openBy(_ objects: String) -> String? {
        let names = objects.split(separator: ", ").map(String.init)
        let users = names.flatMap { self.users(of: $0) }
        if users.isEmpty { return nil }
        let loops = names.flatMap { VolumeUse.loopDevices(of: "\(mountpoint)/\($0)") }
        return (Set(VolumeUse.living(users, mountpoint).map(\.text)).sorted() + loops).joined(separator: ", ")
    }
}
