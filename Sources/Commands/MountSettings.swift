internal import FuseFrontEnd
internal import Glibc
package import LinuxIO
internal import PoolEngine

/// What command line, environment and configuration file say about a mount. A later word overrides an earlier one.
package struct MountSettings: Sendable {
    var options: MountOptions
    var configuration = Pool.Configuration()
    /// Seconds to wait for a pool that another process is about to release.
    package private(set) var lockWait = 30
    /// Where the pool is served over NBD too.
    package private(set) var nbd = NBDSettings(isOfMount: true)
    /// What `log=` names; nil leaves it to where the daemon runs.
    package var log: String?
    package private(set) var logLevel = Log.Level.info
    /// O_DIRECT on the pool's file.
    package private(set) var isDirect = false
    /// Whom the daemon runs as, if not as who started it.
    package var user: UInt32?
    /// What was wrong in the words and is left out, or taken as it was before.
    package private(set) var remarks: [Failure] = []
    private let tolerance: Tolerance
    /// Where nothing can be that the daemon itself uses.
    private let places: [String]
    /// Seconds for which removed volumes are kept.
    package var trashSeconds: UInt64 { options.trashSeconds }
    /// Bytes. A pool gets a zone or more each time that it is made larger, of which it can have 8192.
    package static let leastGrowth: UInt64 = 16 << 20
    package var autogrow: UInt64? { configuration.autogrow }

    /// What is taken with a remark instead of being refused.
    package enum Tolerance: Sendable {
        case nothing
        /// What versions before this one took.
        case oldForms
        /// All, as for a mount that nobody would serve otherwise.
        case everything
    }

    /// The words of `-o` alone.
    package init(_ text: String, mountpoint: String, source: String) throws(Failure) {
        try self.init(MountWord.list(text), mountpoint: mountpoint, source: source)
    }

    /// Throws a usage failure that names a word nobody knows, or a wrong value, and where it stands, if that is not tolerated.
    package init(_ words: [MountWord], mountpoint: String, source: String, tolerance: Tolerance = .nothing) throws(Failure) {
        options = MountOptions(mountpoint: mountpoint, source: source)
        self.tolerance = tolerance
        places = MountTable.places(of: mountpoint)
        var wrong: Set<String> = [], hasTrash = false
        for word in words {
            do throws(Failure) {
                try take(word)
                if word.name == "trash" { hasTrash = true }
            } catch {
                guard tolerance == .everything else { throw error }
                remark(error)
                wrong.insert(beStrict(about: word))
            }
        }
        // Which word was meant by one that nobody knows can only be guessed.
        if wrong.contains("") && !hasTrash { options.trashSeconds = MountWord.longestTime }
        // Clients are not let in otherwise than was wanted.
        if wrong.contains(where: { $0.hasPrefix("nbd") }) { nbd = NBDSettings(isOfMount: true) }
    }

    /// For a word that is left out: what goes for good, or is open to others, is the least that it can have asked for. Returns the name of
    /// the option, or nothing for one that there is not and that none is like.
    private mutating func beStrict(about word: MountWord) -> String {
        let meant = MountOptionTable.find(word.name)?.name ?? Spelling.nearest(word.name, of: MountOptionTable.options.map(\.name)) ?? ""
        switch meant {
        // Of what is removed nothing goes for good while it is not known when it may.
        case "trash": options.trashSeconds = MountWord.longestTime
        case "umask": options.umask = Self.strictUmask
        case "file_mode": options.fileMode = 0o600
        default: break
        }
        return MountOptionTable.find(word.name) == nil && !meant.hasPrefix("nbd") ? "" : meant
    }

    /// New volumes are their owner's alone.
    package static let strictUmask: UInt32 = 0o077

    mutating func remark(_ failure: Failure) { remarks.append(failure) }

    /// Does what may fail because of a setting. Where everything is tolerated the failure is a remark.
    mutating func tolerating(_ body: (inout MountSettings) throws(Failure) -> Void) throws(Failure) {
        do throws(Failure) {
            try body(&self)
        } catch {
            guard tolerance == .everything else { throw error }
            remark(error)
        }
    }

    /// Throws for what should not be served over NBD as it would be; where everything is tolerated, nothing is then.
    mutating func checkNBD() throws(Failure) {
        try tolerating { settings throws(Failure) in
            do throws(Failure) {
                try settings.nbd.check()
            } catch {
                settings.nbd = NBDSettings(isOfMount: true)
                throw error
            }
        }
    }

    /// The switches that turn others off, for a configuration file's `NAME = no`.
    package static let opposites = [
        "ro": "rw", "sync": "async", "discard": "nodiscard", "dev": "nodev", "suid": "nosuid", "exec": "noexec",
    ]

    private mutating func take(_ word: MountWord) throws(Failure) {
        guard let option = MountOptionTable.find(word.name) else {
            throw word.wrong("no such mount option; " + Spelling.advice(word.name, of: MountOptionTable.options.map(\.name), otherwise: "see mount.volfs(8)"))
         }
        switch option.group {
        case .refused: throw word.wrong(option.reason)
        case .generic:
            try word.check(against: option)
            takeGeneric(word)
        case .ownership: try takeOwnership(word)
        case .behaviour:
            try word.check(against: option)
            try takeBehaviour(word)
        case .resources:
            // What data is worth is not an option.
            if word.name == "checksum" && word.value == "off" { throw word.wrong("is not possible: what volfs stores it can verify; leave it out") }
            if word.name == "checksum" && word.value != "on" { throw word.wrong("needs on, which it always is") }
            try word.check(against: option)
            try takeResources(word)
        case .nbd:
            try word.check(against: option)
            try takeNBD(word)
        case .diagnostics:
            try word.check(against: option)
            try takeDiagnostics(word)
        case .fuse:
            try word.check(against: option)
            try takeFuse(word)
        }
    }

    private mutating func takeOwnership(_ word: MountWord) throws(Failure) {
        switch word.name {
        case "uid": options.owner = try word.user()
        case "gid": options.group = try word.group()
        case "umask": options.umask = try word.mode(0o777)
        case "file_mode": options.fileMode = try word.mode(0o777)
        case "dir_mode": options.directoryMode = try word.mode(0o7777)
        case "clone_mode": options.cloneMode = try word.mode(0o7777)
        case "setuid": user = try word.user()
        default: preconditionFailure("an option of the table that nobody takes: \(word.name)")
        }
    }

    private mutating func takeBehaviour(_ word: MountWord) throws(Failure) {
        switch word.name {
        case "ro", "rw": options.isReadOnly = word.name == "ro"
        case "sync", "async": options.isSynchronous = word.name == "sync"
        case "snapshots": options.showsSnapshots = word.value == "visible"
        case "ctl":
            options.showsControl = word.value == "visible"
            options.hasControl = word.value != "off"
        case "discard", "nodiscard": configuration.discardsFreeSegments = word.name == "discard"
        case "fallocate": options.reservesOnAllocate = word.value == "reserve"
        case "fixed": options.makesFixed = true
        case "trash": options.trashSeconds = try trashTime(word)
        case "autogrow": configuration.autogrow = word.value == "off" ? 0 : try word.size(least: Self.leastGrowth)
        case "lock_wait": lockWait = Int(try word.number(0...86_400))
        default: preconditionFailure("an option of the table that nobody takes: \(word.name)")
        }
    }

    private mutating func trashTime(_ word: MountWord) throws(Failure) -> UInt64 {
        guard tolerance != .nothing, let number = word.bareTime else { return try word.seconds() }
        remark(word.wrong("is without a unit, and taken for seconds as before; write \(number)s"))
        return number
    }

    private mutating func takeResources(_ word: MountWord) throws(Failure) {
        switch word.name {
        case "cache": configuration.cacheSize = try word.memory(least: 1 << 20)
        case "dirty": configuration.dirtySize = try word.memory(least: 1 << 20)
        case "threads": options.threads = Int(try word.number(1...64))
        case "max_idle_threads": options.idleThreads = Int(try word.number(1...64))
        case "max_read": options.maximumRead = UInt32(try word.number(4096...1_048_576))
        case "direct": isDirect = true
        default: break
        }
    }

    private mutating func takeNBD(_ word: MountWord) throws(Failure) {
        switch word.name {
        case "nbd":
            guard let text = word.value else { return nbd.addresses.append(NBDAddress.standard(forPool: options.source)) }
            if let file = NBDAddress.file(text) { try refuseInside(word, file) }
            guard let address = NBDAddress.parse(text) else { throw word.wrong("needs unix:PATH or HOST:PORT, as nbd=unix:/run/pool.sock") }
            nbd.addresses.append(address)
        case "nbd_tls": nbd.certificates = try path(word)
        case "nbd_insecure": nbd.isInsecure = true
        case "nbd_readonly": nbd.isReadOnly = true
        default: preconditionFailure("an option of the table that nobody takes: \(word.name)")
        }
    }

    private func path(_ word: MountWord) throws(Failure) -> String {
        let path = try word.text()
        try refuseInside(word, path)
        return Path.absolute(path)
    }

    /// For a place in the mount the daemon would wait for itself, even to find out what its name means.
    private func refuseInside(_ word: MountWord, _ path: String) throws(Failure) {
        guard Path.rest(of: path, below: places) != nil else { return }
        throw word.wrong("is in the mount itself, where its daemon cannot have it; choose a place outside")
    }

    private mutating func takeDiagnostics(_ word: MountWord) throws(Failure) {
        switch word.name {
        case "log":
            let target = try word.text()
            log = ["journal", "syslog", "stderr"].contains(target) ? target : try path(word)
        case "loglevel": logLevel = Log.Level(name: try word.text()) ?? .info
        case "metrics": options.metrics = try path(word)
        case "debug": options.debugs = true
        // Read before all other words.
        default: break
        }
    }

    private mutating func takeFuse(_ word: MountWord) throws(Failure) {
        switch word.name {
        case "allow_other": options.access = .everybody
        case "allow_root": options.access = .root
        case "subtype": guard word.value == "volfs" else { throw word.wrong("is volfs, so that its mounts can be found") }
        case "attr_timeout": options.attributeSeconds = try word.seconds(upTo: 1, else: "of a snapshot alone are attributes kept, and for no longer than that")
        case "entry_timeout", "negative_timeout":
            _ = try word.seconds(upTo: 0, else: "names are not kept: a change in .ctl shows under several of them at once")
        default: break
        }
    }

    /// Those that mean something for the mount itself go to the kernel.
    private mutating func takeGeneric(_ word: MountWord) {
        let passed = ["dev", "nodev", "suid", "nosuid", "exec", "noexec", "dirsync"]
        if passed.contains(word.name) { options.kernelOptions.append(word.name) }
        // mount(8) leaves these out where there is no SELinux, as the kernel would refuse them.
        if word.name.hasSuffix("context"), let value = word.value, access("/sys/fs/selinux", F_OK) == 0 {
            options.kernelOptions.append("\(word.name)=\(value)")
        }
    }
}
