internal import Commands
internal import LinuxIO
import Testing

/// Addresses of NBD servers as people write them.
@Suite struct NBDAddressTests {
    @Test(arguments: [
        ("unix:/run/a.sock", SocketAddress.unix("/run/a.sock")), ("nbd+unix:///?socket=/run/a%20b.sock", .unix("/run/a b.sock")),
        ("nbds+unix:///disk?socket=/run/a.sock&tls-psk-file=x", .unix("/run/a.sock")), ("127.0.0.1:1", .tcp(host: "127.0.0.1", port: 1)),
        ("localhost:10809", .tcp(host: "localhost", port: 10809)), ("[::1]:2", .tcp(host: "::1", port: 2)),
        ("nbd://host", .tcp(host: "host", port: 10809)), ("nbds://host:5/disk", .tcp(host: "host", port: 5)), ("nbd://[::1]/", .tcp(host: "::1", port: 10809)),
    ])
    func understands(text: String, address: SocketAddress) { #expect(NBDAddress.parse(text) == address) }

    @Test(arguments: ["", "host", "host:", "host:x", "host:70000", ":1", "unix:", "::1:5", "[::1]5", "http://host:1", "nbd+unix:///", "a/b:1", "nbd://"])
    func refuses(text: String) { #expect(NBDAddress.parse(text) == nil) }

    @Test func whatOtherMachinesReachIsNotServedInTheClear() throws {
        var settings = NBDSettings()
        for host in ["127.0.0.1", "127.8.9.1", "::1", "localhost"] {
            settings.addresses = [.tcp(host: host, port: 1)]
            try settings.check()
        }
        for host in ["0.0.0.0", "10.0.0.1", "::", "example.org", "1270.0.0.1"] {
            settings.addresses = [.unix("/run/a.sock"), .tcp(host: host, port: 1)]
            settings.isInsecure = false
            #expect(throws: Failure.self) { try settings.check() }
            settings.isInsecure = true
            try settings.check()
        }
    }
}
