internal import Commands
import Testing

/// What the daemon writes is read again, and nothing else is.
@Suite struct FlatJSONTests {
    @Test func fieldsInTheirOrder() throws {
        let json = try #require(FlatJSON(#"{"schema":"volfs.pool/1", "free" : 12,"list":[1,{"a":"]}"}],"ok":true,"none":null,"text":"a\"b\\c\u000ad,e"}"#))
        #expect(json.fields.map(\.name) == ["schema", "free", "list", "ok", "none", "text"])
        #expect(json["schema"] == "volfs.pool/1" && json.number("free") == 12 && json["ok"] == "true" && json["none"] == "null")
        #expect(json["list"] == #"[1,{"a":"]}"}]"# && json["text"] == "a\"b\\c\nd,e" && json["missing"].isEmpty)
        #expect(FlatJSON("{}")?.fields.isEmpty == true)
    }

    @Test(arguments: ["", "[]", "{", "{\"a\"}", "{\"a\":", "{\"a\":1", "{\"a\":\"b", "{a:1}", "{\"a\":1,}", "{\"a\":[1", "text"])
    func anythingElseIsNone(text: String) { #expect(FlatJSON(text) == nil) }

    @Test func usersOfAVolume() throws {
        let user = try #require(VolumeUse(object: "v", line: "pid=812 comm=qemu-system-x86 mode=rw kind=fuse since=2026-11-26T20:00:00Z"))
        #expect(user.text == "pid 812 (qemu-system-x86)" && user.mode == "rw" && user.kind == "fuse" && user.since == "2026-11-26T20:00:00Z")
        // A daemon that does not say what it is called; this number no process has.
        #expect(VolumeUse(object: "v", line: "pid=999999999 mode=ro kind=fuse")?.text == "pid 999999999 (gone)")
        #expect(VolumeUse(object: "v", line: "mode=rw") == nil)
    }

    @Test func eventsAsLines() {
        #expect(EventsCommand.text(#"{"schema":"volfs.event/1","time":"T","kind":"renamed","object":"v","to":"w","pid":7,"x":null}"#) == "T renamed v to=w pid=7")
        #expect(EventsCommand.text("words") == "words")
    }
}
