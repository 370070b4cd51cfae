internal import CLinux
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// A mounted pool, reached through its mount: each command is what a shell would type there.
final class ControlledPool: PoolAccess {
    private let mountpoint: String

    init(mountpoint: String) { self.mountpoint = mountpoint }

    func list() throws(Failure) -> [ObjectLine] {
        try read("list").split(separator: "\n").compactMap { ObjectLine(line: String($0)) }
    }

    func summary() throws(Failure) -> PoolSummary {
        let text = try read("stats.json")
        func number(_ name: String) -> UInt64 { UInt64(field(name, in: text)) ?? 0 }
        return PoolSummary(
            uuid: field("uuid", in: text), state: field("state", in: text), blockSize: number("block_size"),
            capacity: number("capacity"), allocated: number("allocated"), available: number("available"),
            volumes: number("volumes"), snapshots: number("snapshots"))
    }

    func makeVolume(_ name: String, size: UInt64) throws(Failure) {
        let path = "\(mountpoint)/\(name)"
        let descriptor = try call(name) { volfs_open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }
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

    func makeSnapshot(_ volume: String, _ name: String) throws(Failure) {
        try call("\(volume)@\(name)") { mkdir("\(mountpoint)/.ctl/snap/\(volume)/\(name)", 0o755) }
    }

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
        try call(object.name) {
            snapshot.map { rmdir("\(mountpoint)/.ctl/snap/\(volume)/\($0)") } ?? unlink("\(mountpoint)/\(volume)")
        }
    }

    func rename(_ object: ObjectLine, to name: String) throws(Failure) {
        let (volume, snapshot) = split(object.name)
        let directory = snapshot == nil ? mountpoint : "\(mountpoint)/.ctl/snap/\(volume)"
        try call(name) { Glibc.rename("\(directory)/\(snapshot ?? volume)", "\(directory)/\(name)") }
    }

    func rollback(_ volume: String, to snapshot: String, discarding: Bool) throws(Failure) {
        try command("vol/\(volume)/rollback", snapshot + (discarding ? " discard\n" : "\n"), object: "\(volume)@\(snapshot)")
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

    func stream(_ name: String, writing: Bool) throws(Failure) -> any VolumeStream {
        try FileStream("\(mountpoint)/\(name)", name: name, writing: writing)
    }

    func differences(_ volume: String, from: String, to: String?) throws(Failure) -> String {
        let path = "\(mountpoint)/.ctl/diff/\(volume)/\(from)..\(to ?? "head")"
        guard let text = readText(path) else { throw Failure(errno: errno, object: "\(volume)@\(from)", reason: nil) }
        return text
    }

    private func propertyDirectory(_ name: String) -> String {
        let (volume, snapshot) = split(name)
        return snapshot.map { "snap/\(volume)/\($0)/prop" } ?? "vol/\(volume)/prop"
    }

    func properties(_ name: String) throws(Failure) -> [(name: String, value: String)] {
        let directory = propertyDirectory(name)
        guard let stream = opendir("\(mountpoint)/.ctl/\(directory)") else { throw Failure(errno: errno, object: name, reason: nil) }
        defer { closedir(stream) }
        var found: [(name: String, value: String)] = []
        while let entry = Glibc.readdir(stream) {
            let property = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if property.hasPrefix(".") { continue }
            let text = try read("\(directory)/\(property)")
            if !text.isEmpty { found.append((property, String(text.dropLast()))) }
        }
        return found
    }

    func setProperty(_ name: String, _ property: String, _ value: String) throws(Failure) {
        try command("\(propertyDirectory(name))/\(property)", value + "\n", object: "\(name) \(property)")
    }

    func size() throws(Failure) -> UInt64 { UInt64(try read("size").filter { !$0.isWhitespace }) ?? 0 }

    func grow(to size: UInt64) throws(Failure) { try command("size", "\(size)\n", object: mountpoint) }

    func finish() throws(Failure) {}

    /// How many handles are open below the mount, by what `.ctl/vol/*/users` says: lines `VOL: pid=…`.
    func users() throws(Failure) -> [String] {
        try list().filter { !$0.isSnapshot }.flatMap { volume in
            (readText("\(mountpoint)/.ctl/vol/\(volume.name)/users") ?? "").split(separator: "\n").map { "\(volume.name) \($0)" }
        }
    }

    /// The process that serves the mount.
    func process() throws(Failure) -> Int32 { Int32(field("pid", in: try read("stats.json"))) ?? 0 }

    private func read(_ name: String) throws(Failure) -> String {
        guard let text = readText("\(mountpoint)/.ctl/\(name)") else {
            if errno == ENOENT {
                throw Failure(.unreachable, mountpoint, "mounted without .ctl; mount it again without -o ctl=off", errno: ENOENT)
            }
            throw Failure(.unreachable, mountpoint, "its control directory does not answer; is the mount dead? try: volfs umount --lazy \(mountpoint)", errno: errno)
        }
        return text
    }

    /// The value of a field of a flat JSON object as our daemon writes it.
    private func field(_ name: String, in json: String) -> String {
        let parts = json.split(separator: "\"\(name)\":", maxSplits: 1)
        guard parts.count == 2 else { return "" }
        let rest = parts[1]
        if rest.first == "\"" { return String(rest.dropFirst().prefix { $0 != "\"" }) }
        return String(rest.prefix { $0 != "," && $0 != "}" })
    }

    @discardableResult
    private func call(_ object: String, _ body: () -> Int32) throws(Failure) -> Int32 {
        // The log has whole seconds. A line before this one is of another process that had our number.
        let start = Wording.time(wallClock())
        let result = body()
        if result >= 0 { return result }
        let number = errno
        let last = readText("\(mountpoint)/.ctl/errors")?.split(separator: "\n").last {
            $0.contains("errno=\(number):") && $0.contains("pid=\(getpid()) ") && $0.prefix(start.count) >= start
        }
        let reason = last?.split(separator: ": ", maxSplits: 1).last.map(String.init)
        var failure = Failure(errno: number, object: object, reason: reason)
        // As for an unmounted pool: what cannot be a name is wrong usage.
        if number == EINVAL && reason?.hasPrefix("names are") == true { failure.status = .usage }
        throw failure
    }
}
