internal import Commands
import Testing

/// What is said about a command line that cannot be meant as it is.
@Suite struct MisuseTests {
    @Test(arguments: [
        ("statu", "status"), ("lst", "list"), ("snapshto", "snapshot"), ("unmout", "unmount"), ("destory", "destroy"), ("hepl", "help"),
    ])
    func nearestCommandIsFound(word: String, meant: String) { #expect(Spelling.nearest(word, of: CommandTable.words) == meant) }

    @Test(arguments: ["data.pool", "pool", "x", "", "frobnicate", "convert"])
    func whatIsNearToNothingIsLeft(word: String) { #expect(Spelling.nearest(word, of: CommandTable.words) == nil) }

    @Test(arguments: [
        ("list", [], "list", "POOL is missing; usage: volfs list POOL [NAME…]"), ("new", ["v", "1G"], "new", "POOL is missing"),
        ("new", ["a.pool", "v"], "new", "SIZE is missing"), ("snapshot", ["a.pool"], "snapshot", "VOL@SNAP is missing"),
        ("clone", ["a.pool", "v@s"], "clone", "NAME is missing"), ("completion", [], "completion", "SHELL is missing"),
        ("rollback", ["a.pool", "v", "s"], "s", "one word too many; usage: volfs rollback POOL VOL@SNAP"),
        ("create", ["a.pool", "10G"], "10G", "volfs create a.pool --size 10G"), ("create", ["a.pool", "b.pool"], "b.pool", "one word too many"),
    ] as [(String, [String], String, String)])
    func countOfOperands(name: String, operands: [String], object: String, text: String) throws {
        let command = try #require(CommandTable.find(name))
        let failure = Misuse.miscounted(operands, command) { $0.hasSuffix(".pool") }
        #expect(failure.status == .usage && failure.object == object && failure.message.contains(text), "\(failure.text)")
    }

    @Test(arguments: [("snapshot=hidden", "did you mean snapshots?"), ("nonsense", "see mount.volfs(8)"), ("autogrow", "as autogrow=SIZE")])
    func mountOptions(word: String, text: String) {
        let failure = #expect(throws: Failure.self) { try MountSettings(word, mountpoint: "/m", source: "/p") }
        #expect(failure?.status == .usage && failure?.message.contains(text) == true)
    }
}
