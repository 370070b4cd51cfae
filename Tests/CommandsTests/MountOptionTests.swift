internal import Commands
internal import LinuxIO
internal import VolumeFS
import Testing

@Suite struct MountOptionTests {
    private static func settings(_ text: String) throws -> MountSettings { try MountSettings(text, mountpoint: "/m", source: "/p") }

    /// A word that the option takes.
    private static func sample(_ option: MountOption) -> String {
        let name = option.name == "x-*" ? "x-systemd.automount" : option.name
        guard let value = option.value else { return name }
        let samples = [
            "SIZE": "256M", "COUNT": "3", "SECONDS": "1", "BYTES": "65536", "MODE": "750", "USER": "0", "GROUP": "0", "TIME": "7d",
            "FILE": "/none", "TARGET": "syslog", "NAME": "any", "TEXT": "any",
            "ADDRESS": "127.0.0.1:10809", "DIR": "/none",
        ]
        // Names are never kept.
        if ["entry_timeout", "negative_timeout"].contains(name) { return "\(name)=0" }
        return "\(name)=\(option.choices?.first ?? samples[value] ?? value)"
    }

    @Test(arguments: MountOptionTable.options.map(\.name)) func everyOptionOfTheTableIsTaken(name: String) throws {
        let option = try #require(MountOptionTable.find(name))
        let word = Self.sample(option)
        if option.group == .refused {
            let failure = #expect(throws: Failure.self) { try Self.settings(word) }
            #expect(failure?.object == "-o \(word)" && failure?.message == option.reason)
            return
        }
        _ = try Self.settings(word)
        if option.isValueOptional { _ = try Self.settings(name == "x-*" ? "x-any" : name) }
        // With a value that it does not take, or none where one is due.
        if option.value == nil { #expect(throws: Failure.self) { try Self.settings("\(name)=1") } }
        if option.value != nil && !option.isValueOptional { #expect(throws: Failure.self) { try Self.settings(name) } }
    }

    /// Everything that mount(8) calls independent of the filesystem, what fstab(5) and systemd.mount(5) add, and what FUSE has.
    @Test(arguments: [
        "async", "atime", "noatime", "auto", "noauto", "context=system_u:object_r:removable_t", "defcontext=x", "fscontext=x", "rootcontext=x", "defaults",
        "dev", "nodev", "diratime", "nodiratime", "dirsync", "exec", "noexec", "group", "iversion", "noiversion", "mand", "nomand",
        "_netdev", "nofail", "relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "suid", "nosuid",
        "silent", "loud", "owner", "ro", "rw", "sync", "user", "user=alice", "nouser", "users", "X-mount.mkdir=0755", "X-mount.owner=alice",
        "x-systemd.mount-timeout=5min", "x-systemd.automount", "x-gvfs-show", "x-initrd.mount", "comment=systemd.automount", "nosymfollow",
        "allow_other", "allow_root", "default_permissions", "fsname=x", "max_read=131072", "attr_timeout=0.5", "entry_timeout=0", "negative_timeout=0",
    ])
    func genericOptionsAreAccepted(word: String) throws { _ = try Self.settings(word) }

    @Test(arguments: ["atimes", "Ro", "allow_others", "cach=1G", "nodiscards", "x", "checksum=off", "checksum", "autogrow=1M", "trash=soon", "trash=7", "trash=d", "trash=7D", "umask=9", "uid=nobody-here", "max_read=1", "nbdx=1", "fallocate=no", "loglevel=loud", "attr_timeout=x", "attr_timeout=1.5", "attr_timeout=nan", "entry_timeout=0.1", "negative_timeout=1", "log=/m/log", "metrics=/m/m", "nbd=unix:/m/s", "nbd=nbd+unix:///?socket=/m/s", "nbd_tls=/m/c"])
    func wrongWordsAreNamed(word: String) {
        let failure = #expect(throws: Failure.self) { try Self.settings("ro,\(word)") }
        #expect(failure?.status == .usage && failure?.object == "-o \(word)" && failure?.message.isEmpty == false)
    }

    @Test(arguments: [("0", 0), ("0d", 0), ("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)] as [(String, UInt64)])
    func timesInSeconds(text: String, seconds: UInt64) throws { #expect(try Self.settings("trash=\(text)").trashSeconds == seconds) }

    @Test func timesWithoutAUnitAreAsked() {
        let failure = #expect(throws: Failure.self) { try Self.settings("trash=7") }
        #expect(failure?.message == "is without a unit; write 7d, 7h, 7m or 7s")
    }

    /// For a mount that nobody would serve otherwise each wrong word is a remark, and the others count.
    @Test(arguments: MountOptionTable.options.map(\.name)) func everythingIsToleratedForAMountThatGoesOn(name: String) throws {
        let words = [MountWord("lock_wait=7", place: "/c:1"), MountWord("\(name)=\u{1}", place: "/c:2"), MountWord("nonsense", place: "/c:3")]
        let settings = try MountSettings(words, mountpoint: "/m", source: "/p", tolerance: .everything)
        #expect(settings.remarks.last?.object == "/c:3: nonsense" && settings.lockWait == 7)
        if name == "trash" { #expect(settings.trashSeconds == 1 << 32) }
    }

    /// What is wrong with NBD leaves nothing served that way, and a time of before is taken.
    @Test func toleranceIsCareful() throws {
        let words = [MountWord("nbd=127.0.0.1:1"), MountWord("nbd_readonly=maybe"), MountWord("trash=86400")]
        let settings = try MountSettings(words, mountpoint: "/m", source: "/p", tolerance: .everything)
        #expect(settings.nbd.addresses.isEmpty && settings.trashSeconds == 86_400 && settings.remarks.count == 2)
        #expect(try MountSettings([words[0], words[2]], mountpoint: "/m", source: "/p", tolerance: .oldForms).trashSeconds == 86_400)
        #expect(throws: Failure.self) { try MountSettings(words, mountpoint: "/m", source: "/p", tolerance: .oldForms) }
    }

    @Test func laterWordsOverride() throws {
        #expect(try Self.settings("lock_wait=1,lock_wait=2").lockWait == 2)
        #expect(try Self.settings("log=/a,log=syslog").log == "syslog")
        #expect(try Self.settings("comment=\"a,b\",lock_wait=7").lockWait == 7)
        #expect(try Self.settings("comment=a\\,b,lock_wait=8").lockWait == 8)
    }

    // MARK: The configuration

    @Test func configurationIsRead() throws {
        let file = try ConfigurationFile(
            """
            # a comment
            pool = /srv/my data.pool
              mountpoint=/mnt/v
            ; another
            cache = 1G
            log = "/var/log/a b.log"
            snapshots = hidden
            ro
            nofail = yes
            discard = no
            fixed = off
            x-systemd.automount
            """, path: "/c")
        #expect(file.pool == "/srv/my data.pool" && file.mountpoint == "/mnt/v")
        #expect(file.words.map(\.subject) == [
            "/c:5: cache=1G", "/c:6: log=/var/log/a b.log", "/c:7: snapshots=hidden", "/c:8: ro", "/c:9: nofail", "/c:10: nodiscard",
            "/c:12: x-systemd.automount",
        ])
        let settings = try MountSettings(file.words + MountWord.list("log=syslog"), mountpoint: "/m", source: "/p")
        #expect(settings.log == "syslog", "the command line comes first")
    }

    @Test(arguments: [
        ("cach = 1G", "/c:2: cach"), ("config = /d", "/c:2: config"), ("pool =", "/c:2: pool"), ("mountpoint", "/c:2: mountpoint"),
        ("ro = maybe", "/c:2: ro = maybe"),
    ])
    func wrongLinesAreNamed(line: String, object: String) {
        let failure = #expect(throws: Failure.self) { try ConfigurationFile("\n\(line)\n", path: "/c") }
        #expect(failure?.object == object && failure?.status == .usage)
    }

    /// For a mount that goes on a line that is none is left out, and any other is a word.
    @Test func wrongLinesAreLeftOut() throws {
        let file = try ConfigurationFile("pool =\ncach = 1G\nconfig = /d\nro = maybe\nthreads = 2\n", path: "/c", isTolerant: true)
        #expect(file.remarks.map(\.object) == ["/c:1: pool", "/c:3: config"] && file.words.map(\.subject) == ["/c:2: cach=1G", "/c:4: ro=maybe", "/c:5: threads=2"])
    }

    /// A value is looked at when the words are taken, and still knows its line.
    @Test(arguments: ["cache = lots", "threads = 0", "loglevel = loud", "snapshots = no", "clone_fd = yes"])
    func wrongValuesAreNamed(line: String) throws {
        let file = try ConfigurationFile("\n\n\(line)\n", path: "/c")
        let failure = #expect(throws: Failure.self) { try MountSettings(file.words, mountpoint: "/m", source: "/p") }
        #expect(failure?.object.hasPrefix("/c:3: \(line.split(separator: " ")[0])") == true)
    }

    @Test func missingConfigurationIsNamed() {
        for path in ["/no/such.conf", "/tmp"] {
            let failure = #expect(throws: Failure.self) { try ConfigurationFile(path: path) }
            #expect(failure?.object == path && failure?.text.contains("cannot be read") == true)
        }
    }

    // MARK: Helpers of mount(8)

    @Test func helpersAreKnownByName() throws {
        #expect(MountHelper(program: "volfs") == nil && MountHelper(program: "/usr/bin/mount") == nil)
        let mount = try #require(MountHelper(program: "/sbin/mount.fuse.volfs"))
        #expect(try mount.translated(["p", "m", "-n", "-v", "-o", "rw,noatime", "-t", "volfs"]) == ["mount", "p", "m", "--background", "-o", "rw,noatime"])
        #expect(try mount.translated(["p", "m", "-fr"]) == ["mount", "p", "m", "--background", "--dry-run", "-o", "ro"])
        #expect(try mount.translated(["p", "m", "-s", "-o", "nonsense,cache=1G,comment=\"a,b\""])
            == ["mount", "p", "m", "--background", "-o", "cache=\"1G\",comment=\"a,b\""])
        let unmount = try #require(MountHelper(program: "umount.volfs"))
        #expect(try unmount.translated(["m", "-n", "-v", "-t", "volfs"]) == ["umount", "m"])
        #expect(try unmount.translated(["m", "-l"]) == ["umount", "m", "--lazy"])
        for words in [["p"], ["p", "m", "-x"], ["p", "m", "n"]] { #expect(throws: Failure.self) { try mount.translated(words) } }
        #expect(throws: Failure.self) { try unmount.translated([]) }
    }

    @Test(arguments: [
        (Failure.usage("-o x", "no"), 1), (Failure(.mount, "p", "no", errno: 13), 1), (Failure(.permission, "p", "no"), 1),
        (Failure(.mount, "p", "no", errno: 12), 2), (Failure(.mount, "p", "no", errno: 16), 32), (Failure(.corrupt, "p", "no"), 32),
    ] as [(Failure, Int32)])
    func helpersHaveTheNumbersOfMount(failure: Failure, status: Int32) throws {
        let helper = try #require(MountHelper(program: "mount.volfs"))
        #expect(MountHelper.status(of: failure) == status)
        #expect(helper.status(0) == 0 && helper.status(6) == 32)
    }
}
