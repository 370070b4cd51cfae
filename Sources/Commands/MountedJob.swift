internal import CLinux
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// A job of a mounted pool, driven through `.ctl/job` as a shell would.
struct MountedJob {
    private let mountpoint: String
    private let directory: String
    private let kind: String

    init(_ kind: String, mountpoint: String) {
        self.kind = kind
        self.mountpoint = mountpoint
        directory = "\(mountpoint)/.ctl/job/\(kind)"
    }

    /// Starts it, waits for its end, prints its report and removes it. Returns 0 if everything was as it should be, else 4. A
    /// signal that asks for the end cancels it, or with `cancels` false lets it go on alone.
    func run(isJSON: Bool, _ mode: Progress.Mode, cancels: Bool = true) throws(Failure) -> Int32 {
        try start()
        return try wait(isJSON: isJSON, mode, cancels: cancels)
    }

    func start() throws(Failure) {
        // Both kinds of check keep a checkpoint, of which there can be one.
        for other in ["check", "check-data"] where kind.hasPrefix("check") && other != kind {
            if MountedJob(other, mountpoint: mountpoint).state == "running" {
                throw Failure(.busy, kind, "a check is running already; wait for it: volfs wait \(Path.quoted(mountpoint)) \(other)", errno: EBUSY)
            }
        }
        let start = Wording.time(wallClock())
        // A report that nobody fetched is in the way of the next.
        if mkdir(directory, 0o755) == 0 { return }
        if errno == EEXIST, let state, state != "running" {
            rmdir(directory)
            if mkdir(directory, 0o755) == 0 { return }
        }
        if errno == EEXIST {
            throw Failure(.busy, kind, "is running already; wait for it: volfs wait \(Path.quoted(mountpoint)) \(kind), or stop it: rmdir \(directory)", errno: EBUSY)
        }
        let number = errno
        throw ControlledPool(MountTable.Mount(mountpoint: mountpoint, source: mountpoint)).failure(number, kind, since: start)
    }

    func wait(isJSON: Bool, _ mode: Progress.Mode, cancels: Bool) throws(Failure) -> Int32 {
        var progress = Progress(kind, mode)
        while let state {
            let (done, total) = self.progress
            if state == "running" {
                if Interruption.isEnding { try leave(cancels, progress) }
                progress.show(done, of: max(done, total))
                pause(milliseconds: 50)
                continue
            }
            progress.end(done, of: done)
            let report = readText(directory + (isJSON ? "/report.json" : "/report")) ?? ""
            rmdir(directory)
            switch state {
            case "clean", "problems":
                say(report, end: "")
                return state == "clean" ? CheckCommand.Status.clean : CheckCommand.Status.uncorrected
            case "cancelled": throw Failure(.failed, kind, "was cancelled", errno: EINTR)
            default: throw Failure(.failed, kind, report.split(separator: "\n").first.map(String.init) ?? "failed")
            }
        }
        throw Failure(.notFound, kind, "does not run", errno: ENOENT)
    }

    private func leave(_ cancels: Bool, _ progress: Progress) throws(Failure) {
        progress.leaveLine()
        if cancels { rmdir(directory) }
        let hint = cancels ? "it was cancelled; start again" : "it goes on in the daemon; volfs \(kind) \(mountpoint) --wait, --status or --stop"
        try Interruption.check(kind, hint)
    }

    func stop() throws(Failure) {
        guard rmdir(directory) == 0 else { throw Failure(.notFound, kind, "does not run", errno: ENOENT) }
    }

    /// `KIND: STATE, DONE of about TOTAL`.
    var status: String {
        guard let state else { return "\(kind): not running" }
        let (done, total) = progress
        return total == 0 || state != "running" ? "\(kind): \(state)" : "\(kind): \(state), \(Wording.size(done)) of about \(Wording.size(total))"
    }

    var json: JSON {
        let (done, total) = progress
        return .fields([
            ("schema", .text("volfs.job/1")), ("job", .text(kind)), ("state", .text(state ?? "none")), ("done", .size(done)), ("total", .size(total)),
        ])
    }

    var progress: (done: UInt64, total: UInt64) {
        let words = (readText(directory + "/progress") ?? "").split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
        return words.count == 2 ? (words[0], words[1]) : (0, 0)
    }

    /// `running` or how it ended; nil if there is none.
    var state: String? { readText(directory + "/state")?.split(separator: "\n").first.map(String.init) }
}
