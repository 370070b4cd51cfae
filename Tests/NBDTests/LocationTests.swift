internal import LinuxIO
internal import NBD
import Testing

/// URIs of exports.
@Suite struct LocationTests {
    @Test func understood() throws {
        let unix = try NBDLocation(parsing: "nbd+unix:///root%40a?socket=/run/a%20b.sock")
        #expect(unix.address == .unix("/run/a b.sock") && unix.export == "root@a" && !unix.isEncrypted && unix.timeout == 30 && unix.reconnect == 120)
        let network = try NBDLocation(parsing: "nbd://example.org")
        #expect(network.address == .tcp(host: "example.org", port: 10809) && network.export == "")
        let all = try NBDLocation(parsing: "nbds://me@[::1]:99/a/b?tls-psk-file=/k&tls-hostname=h&timeout=5&reconnect=0")
        #expect(all.address == .tcp(host: "::1", port: 99) && all.export == "a/b" && all.isEncrypted && all.user == "me" && all.keyFile == "/k")
        #expect(all.hostName == "h" && all.timeout == 5 && all.reconnect == 0)
        #expect(try NBDLocation(parsing: "nbds+unix:///?socket=/s&tls-certificates=/c&tls-username=u").certificates == "/c")
        #expect(NBDLocation.isMeant("nbd://x") && NBDLocation.isMeant("nbdx://") && !NBDLocation.isMeant("/nbd") && !NBDLocation.isMeant("http://nbd://"))
    }

    @Test(arguments: [
        ("nbdx://h/", .scheme), ("nbd:/h", .scheme), ("nbd:///x", .host), ("nbd://[::1/x", .host), ("nbd://[::1]x/", .host), ("nbd://h:0/", .port),
        ("nbd://h:65536/", .port), ("nbd://h:/", .port), ("nbd://h:1:2/", .port), ("nbd://h/a%4", .escape), ("nbd://h/%zz", .escape), ("nbd://h/%00", .escape),
        ("nbd://h/%ff", .escape), ("nbd://h/a#b", .fragment), ("nbd+unix:///x", .noSocket), ("nbd+unix:///x?socket=s", .relativeSocket),
        ("nbd+unix://h/x?socket=/s", .hostAndSocket), ("nbd://h/x?socket=/s", .hostAndSocket), ("nbd://h/?foo=1", .parameter("foo")),
        ("nbd://h/?timeout=0", .value("timeout")), ("nbd://h/?timeout", .value("timeout")), ("nbd://h/?reconnect=x", .value("reconnect")),
        ("nbds://h/?tls-certificates=c", .value("tls-certificates")), ("nbd://h/?tls-certificates=/c", .needsTLS("tls-certificates")),
        ("nbd+unix:///x?socket=/s&tls-psk-file=/c", .needsTLS("tls-psk-file")),
    ] as [(String, NBDLocation.Malformed)])
    func refused(text: String, why: NBDLocation.Malformed) {
        #expect(throws: why) { try NBDLocation(parsing: text) }
    }

    @Test func oneExportHasOneIdentity() throws {
        let one = try NBDLocation(parsing: "nbd+unix:///x?socket=/s"), other = try NBDLocation(parsing: "nbd+unix:///x?timeout=3&socket=/s")
        #expect(one.identity == other.identity)
        #expect(try one.identity != NBDLocation(parsing: "nbd+unix:///y?socket=/s").identity)
    }
}
