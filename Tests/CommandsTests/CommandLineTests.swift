internal import BlockStorage
internal import Commands
internal import TestSupport
internal import VolumeFS
import Testing

@Suite struct CommandLineTests {
    @Test(arguments: [
        ("0", 0), ("4096", 4096), ("1K", 1024), ("1KiB", 1024), ("1KB", 1000), ("32G", 32 << 30), ("2T", 2 << 40), ("3MB", 3_000_000), ("1k", 1024), ("8g", 8 << 30), ("1kB", 1000), ("2miB", 2 << 20), ("10gb", 10_000_000_000), ("10gib", 10 << 30), ("16mb", 16_000_000), ("1Gib", 1 << 30), ("1KIB", 1024),
        ("1.5G", 3 << 29), ("4.25MiB", 17 << 18), ("0.5k", 512), ("1.234KB", 1234), ("4194304.000000000000000000K", 4 << 30),
    ] as [(String, UInt64)])
    func sizesAsCoreutilsReadThem(text: String, bytes: UInt64) { #expect(Size.parse(text) == bytes) }

    @Test(arguments: ["", "G", "10s", "10b", "-1", "1.5", "1.3K", "1.G", ".5G", "1.5.5G", "1.0000000000000000000G", "15999999.9P", "1GB2", "99999999999999999999", "99999999P", "1bb", "1ibk", "1gg"])
    func otherSizesAreRefused(text: String) { #expect(Size.parse(text) == nil) }

    @Test func wholeBytesAreAskedFor() {
        for text in ["1.3K", "1.5", "1.0000000000000000000G"] { #expect(Size.complaint(text).contains("no whole number of bytes")) }
        for text in ["G", "1.G", "10s", "99999999P"] { #expect(Size.complaint(text) == "not a size; write it as 500M, 64G or 2T") }
    }

    @Test func sizesForPeople() {
        #expect(Wording.size(512) == "512 B")
        #expect(Wording.size(1536) == "1.5 KiB")
        #expect(Wording.size(32 << 30) == "32.0 GiB")
    }

    @Test func optionsAreTakenApart() throws {
        let list = try #require(CommandTable.find("ls"))
        let arguments = try Arguments(["-Hp", "-o", "name,size", "pool", "--type=clone", "--", "-odd"], for: list)
        #expect(arguments.operands == ["pool", "-odd"])
        #expect(arguments.has("no-header") && arguments.has("exact"))
        #expect(arguments["columns"] == "name,size" && arguments["type"] == "clone")
        let resize = try #require(CommandTable.find("resize"))
        #expect(try Arguments(["p", "v", "-1G", "--shrink"], for: resize).operands == ["p", "v", "-1G"])
        let shrink = try #require(CommandTable.find("shrink"))
        #expect(try Arguments(["p", "-1.5G"], for: shrink).operands == ["p", "-1.5G"])
        let mount = try #require(CommandTable.find("mount"))
        #expect(try Arguments(["p", "m", "-oro", "-o", "threads=2"], for: mount)["options"] == "ro,threads=2")
        #expect(try Arguments(["p", "m", "--options=ro", "--options", "ctl=off"], for: mount)["options"] == "ro,ctl=off")
        let destroy = try #require(CommandTable.find("rm"))
        #expect(try Arguments(["p", "v", "-rvny"], for: destroy).has("verbose"))
    }

    @Test(arguments: [["--colour"], ["-x"], ["-o"], ["--json=yes"]])
    func wrongOptionsAreNamed(words: [String]) throws {
        let list = try #require(CommandTable.find("list"))
        let failure = #expect(throws: Failure.self) { try Arguments(words[...], for: list) }
        #expect(failure?.status == .usage)
        #expect(failure?.object.hasPrefix(String(words[0].prefix(2))) == true)
    }

    @Test(arguments: [("--jsno", "did you mean --json?"), ("--colums", "did you mean --columns?"), ("--what-is-it", "see: volfs help list")])
    func nearestOptionIsNamed(word: String, text: String) throws {
        let list = try #require(CommandTable.find("list"))
        let failure = #expect(throws: Failure.self) { try Arguments([word], for: list) }
        #expect(failure?.message.contains(text) == true)
    }

    @Test func exitStatusesFollowTheErrno() {
        #expect(Failure.status(ofErrno: 2) == .notFound)
        #expect(Failure.status(ofErrno: 17) == .exists)
        #expect(Failure.status(ofErrno: 16) == .busy)
        #expect(Failure.status(ofErrno: 39) == .busy)
        #expect(Failure.status(ofErrno: 28) == .noSpace)
        #expect(Failure.status(ofErrno: 5) == .corrupt)
        #expect(Failure.status(ofErrno: 30) == .permission)
    }

    @Test func listLinesAreRead() throws {
        let line = try #require(ObjectLine(line: "snapshot\tv@s\t7\t4096\t1024\t1500000000000000000\tuuid\t-\t0\t444\t0\t0"))
        #expect(line.isSnapshot && line.name == "v@s" && line.id == 7 && line.origin == nil)
        #expect(line.text("created", exact: false) == "2017-07-14T02:40:00Z")
        #expect(line.text("size", exact: false) == "4.0 KiB" && line.text("size", exact: true) == "4096")
        #expect(ObjectLine(line: "nonsense") == nil)
    }

    @Test func jsonIsEscaped() {
        #expect(JSON.object([("a\"b", .text("x\n\\")), ("n", .null), ("l", .array([.number(-1), .bool(true)]))])
            == #"{"a\"b":"x\u000a\\","n":null,"l":[-1,true]}"#)
    }
}
