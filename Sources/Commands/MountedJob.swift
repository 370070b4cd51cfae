internal import CLinux
internal import Glibc
internal import LinuxIO
internal import VolumeFS

/// A job of a mounted pool, driven through `.ctl/job` as a shell would.
struct MountedJob {
    private let directory: String
    private let kind: String

    init(_ kind: String, mountpoint: String) {
        self.kind = kind
        directory = "\(mountpoint)/.ctl/job/\(kind)"
    }

    /// Starts it, waits for its end, prints its report and removes it. Returns 0 if everything was as it should be, else 4.
    func run(isJSON: Bool) throws(Failure) -> Int32 {
        try start()
        return try wait(isJSON: isJSON)
    }

    func start() throws(Failure) {
        // A report that nobody fetched is in the way of the next.
        if mkdir(directory, 0o755) == 0 { return }
        if errno == EEXIST, let state, state != "running" {
            rmdir(directory)
            if mkdir(directory, 0o755) == 0 { return }
        }
        let text = errno == EEXIST ? "is running already; wait for it, or stop it: rmdir \(directory)" : String(cString: strerror(errno))
        throw Failure(errno: errno, object: kind, reason: text)
    }

    func wait(isJSON: Bool) throws(Failure) -> Int32 {
        while let state {
            if state == "running" {
                pause(milliseconds: 50)
                continue
            }
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

    func stop() throws(Failure) {
        guard rmdir(directory) == 0 else { throw Failure(.notFound, kind, "does not run", errno: ENOENT) }
    }

    /// `STATE DONE of TOTAL bytes`.
    func status() throws(Failure) -> String {
        guard let state else { return "\(kind): not running" }
        let words = (readText(directory + "/progress") ?? "").split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
        guard words.count == 2 else { return "\(kind): \(state)" }
        return "\(kind): \(state), \(Wording.size(words[0])) of about \(Wording.size(words[1]))"
    }

    private var state: String? { readText(directory + "/state")?.split(separator: "\n").first.map(String.init) }
}
