internal import Commands
import Testing

@Suite struct MountTests {
    @Test(arguments: ["", "ro", "rw,noatime,_netdev,x-systemd.automount,X-mount.mkdir,comment=any", "log=stderr", "snapshots=hidden,ctl=off",
        "threads=8,cache=1G,dirty=64M,lock_wait=0", "allow_other,default_permissions,fsname=x,subtype=volfs"])
    func knownOptions(text: String) throws { _ = try MountSettings(text, mountpoint: "/m", source: "/p") }

    @Test(arguments: ["snapshot=visible", "RO", "threads=0", "threads=x", "cache=1", "cache=10s", "ctl=on", "log=", "lock_wait=-1", "ro=1", "log"])
    func wrongOptionsAreNamed(word: String) {
        let failure = #expect(throws: Failure.self) { try MountSettings("noatime,\(word)", mountpoint: "/m", source: "/p") }
        #expect(failure?.status == .usage && failure?.object == "-o \(word)")
    }

    @Test func logFilesAreAbsolute() throws {
        #expect(try MountSettings("", mountpoint: "/m", source: "/p").log == nil)
        #expect(try MountSettings("log=/no/such.log", mountpoint: "/m", source: "/p").log == "/no/such.log")
        #expect(try MountSettings("log=./x.log", mountpoint: "/m", source: "/p").log?.hasPrefix("/") == true)
    }

    @Test func mountsAreFound() {
        let table = MountTable(text: """
            36 27 0:39 / /mnt/my\\040vols rw,nosuid - fuse.volfs /srv/data\\054a.pool rw,user_id=0
            37 27 0:40 / /mnt/other rw - ext4 /dev/sda1 rw
            38 27 0:41 / /mnt/tag rw shared:1 - fuse.volfs /srv/b.pool rw
            """)
        #expect(table.mounts.map(\.mountpoint) == ["/mnt/my vols", "/mnt/tag"])
        #expect(table.mount(at: "/mnt/my vols")?.source == "/srv/data,a.pool")
        #expect(table.mount(atOrOf: "/srv/b.pool")?.mountpoint == "/mnt/tag")
        #expect(table.mount(at: "/mnt/other") == nil)
        #expect(table.isInside("/mnt/tag/v") && !table.isInside("/mnt/tag") && !table.isInside("/mnt/tagged"))
    }

    /// A path is the same however it is written, also one that is not there or cannot be reached any more.
    @Test(arguments: [
        ("/no-such-thing/", "/no-such-thing"), ("/usr/../no-such-thing", "/no-such-thing"), ("/usr/./none//", "/usr/none"),
        ("/no-such/deeper/", "/no-such/deeper"), ("/usr/", "/usr"), ("/", "/"), ("", ""),
    ])
    func paths(text: String, absolute: String) { #expect(Path.absolute(text) == absolute) }
}
