internal import Commands
import Testing

@Suite struct NameTests {
    /// A name becomes part of a path below a mount, so whatever could lead out of it is refused before.
    @Test(arguments: [
        ("../x", "'/'"), ("a/b", "'/'"), ("..", "begins with"), (".hidden", "begins with"), ("-x", "begins with"), ("a,b", "','"),
        ("a b", "' '"), ("", "empty"), ("a@b", "volfs snapshot"), ("größe", "'ö'"), (String(repeating: "a", count: 128), "127 bytes"),
    ])
    func illegalVolumeNamesSayTheRule(name: String, rule: String) {
        let failure = #expect(throws: Failure.self) { try NameRule.checkVolume(name) }
        #expect(failure?.status == .usage)
        #expect(failure?.message.contains(rule) == true, "\(failure?.message ?? "")")
    }

    @Test func snapshotsHaveMoreNames() throws {
        try NameRule.checkVolume("a.B_c+d-9")
        try NameRule.checkSnapshot("_2026-01-01T00:00", in: "v@_2026-01-01T00:00")
        for name in ["", "a/b", "../../x", "a@b"] {
            let failure = #expect(throws: Failure.self) { try NameRule.checkSnapshot(name, in: "v@\(name)") }
            #expect(failure?.status == .usage && failure?.object == "v@\(name)")
        }
        let head = #expect(throws: Failure.self) { try NameRule.checkSnapshot("head", in: "v@head") }
        #expect(head?.status == .usage && head?.message.contains("choose another name") == true)
    }

    @Test func whatCannotBeANameIsNotFound() throws {
        try NameRule.checkReference("v")
        try NameRule.checkReference("v@s:1")
        for object in ["../v", "v@../s", "v@", "@s", ""] {
            let failure = #expect(throws: Failure.self) { try NameRule.checkReference(object) }
            #expect(failure?.status == .notFound)
        }
    }
}
