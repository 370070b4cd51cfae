internal import FuseFrontEnd
internal import PoolEngine
internal import VolumeFS

/// What `-o` says.
package struct MountSettings {
    var options: MountOptions
    var configuration = Pool.Configuration()
    /// Seconds to wait for a pool that another process is about to release.
    var lockWait = 30
    /// Where the daemon's messages go: an absolute path, "" for the standard error it was started with, nil for nowhere.
    package private(set) var log: String?

    /// Words that mean something to mount(8) or systemd, or are what volfs does anyway.
    private static let accepted: Set<String> = [
        "rw", "nodev", "dev", "nosuid", "suid", "noexec", "exec", "noatime", "relatime", "atime", "dirsync",
        "user", "users", "nouser", "nousers", "auto", "noauto", "nofail", "_netdev", "defaults", "default_permissions", "loop",
    ]

    /// Throws a usage failure that names a word nobody knows: a typo must not mount silently.
    package init(_ text: String, mountpoint: String, source: String) throws(Failure) {
        options = MountOptions(mountpoint: mountpoint, source: source)
        for word in text.split(separator: ",") {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            try take(String(word), parts[0], parts.count == 2 ? parts[1] : nil)
        }
    }

    private mutating func take(_ word: String, _ name: String, _ value: String?) throws(Failure) {
        switch (name, value) {
        case ("ro", nil): options.isReadOnly = true
        case ("sync", nil): options.isSynchronous = true
        case ("async", nil): options.isSynchronous = false
        case ("allow_other", nil): options.allowsOthers = true
        case ("snapshots", "visible"), ("snapshots", "hidden"): options.showsSnapshots = value == "visible"
        case ("ctl", "hidden"), ("ctl", "visible"), ("ctl", "off"):
            options.showsControl = value == "visible"
            options.hasControl = value != "off"
        case ("threads", let value?): options.threads = Int(try number(value, word, 1...64))
        case ("cache", let value?): configuration.cacheSize = Int(try size(value, word, least: 1 << 20))
        case ("dirty", let value?): configuration.dirtySize = Int(try size(value, word, least: 1 << 20))
        case ("lock_wait", let value?): lockWait = Int(try number(value, word, 0...86_400))
        case ("log", "stderr"): log = ""
        case ("log", let value?):
            // These are words for later, not files.
            guard !["", "journal", "syslog"].contains(value) else {
                throw .usage("-o \(word)", "needs stderr or a file, as log=/var/log/volfs.log")
            }
            log = Path.absolute(value)
        case ("nodiscard", nil): configuration.discardsFreeSegments = false
        case ("discard", nil): configuration.discardsFreeSegments = true
        case ("fsname", _?), ("subtype", "volfs"), ("comment", _?), ("context", _?): break
        case (_, nil) where Self.accepted.contains(name) || name.hasPrefix("x-") || name.hasPrefix("X-"): break
        case (_, _?) where name.hasPrefix("x-") || name.hasPrefix("X-"): break
        default: throw .usage("-o \(word)", "no such mount option; see volfs(1)")
        }
    }

    private func size(_ text: String, _ word: String, least: UInt64) throws(Failure) -> UInt64 {
        guard let size = Size.parse(text), size >= least, size <= 1 << 40 else {
            throw .usage("-o \(word)", "needs a size of \(Wording.size(least)) or more, as 256M")
        }
        return size
    }

    private func number(_ text: String, _ word: String, _ range: ClosedRange<UInt64>) throws(Failure) -> UInt64 {
        guard let number = UInt64(text), range.contains(number) else {
            throw .usage("-o \(word)", "needs a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}
