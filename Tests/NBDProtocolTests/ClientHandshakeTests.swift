internal import BlockStorage
internal import NBDProtocol
internal import TestSupport
import Testing

/// A client's negotiation, with our own server's and with answers made by hand.
@Suite struct ClientHandshakeTests {
    private func steps(_ handshake: inout ClientHandshake, _ input: [UInt8]) -> (last: ClientHandshake.Step, output: [UInt8]) {
        var rest = input, output: [UInt8] = []
        while true {
            let step = rest.withUnsafeBytes { handshake.step($0, &output) }
            guard case .taken(let count) = step else { return (step, output) }
            rest.removeFirst(count)
        }
    }

    private func refusal(_ step: ClientHandshake.Step) -> ClientHandshake.Refusal? { if case .failed(let why) = step { why } else { nil } }
    private func export(_ step: ClientHandshake.Step) -> RemoteExport? { if case .ready(_, let export) = step { export } else { nil } }

    private let greeting = Array("NBDMAGICIHAVEOPT".utf8) + [0, 3]

    private func reply(_ option: UInt32, _ type: UInt32, _ data: [UInt8] = []) -> [UInt8] {
        network(0x0003_e889_0455_65a9 as UInt64) + network(option) + network(type) + network(UInt32(data.count)) + data
    }

    private func info(_ size: UInt64, _ flags: UInt16 = 1) -> [UInt8] { reply(7, 3, network(0 as UInt16) + network(size) + network(flags)) }
    private func blocks(_ a: UInt32, _ b: UInt32, _ c: UInt32) -> [UInt8] { reply(7, 3, network(3 as UInt16) + network(a) + network(b) + network(c)) }
    private let unsupported: UInt32 = 0x8000_0001

    /// Both halves together, byte by byte, each at its best and at less.
    @Test(arguments: ReplyStyle.allCases) func agreesWithOurServer(best: ReplyStyle) {
        var client = ClientHandshake(export: "root", wantsTLS: false, best: best)
        var server = ServerHandshake(encryption: .unavailable), exports = Exports()
        var toClient = Greeting.bytes, toServer: [UInt8] = [], found: RemoteExport?, session: Session?
        while found == nil {
            var output: [UInt8] = []
            switch toClient.withUnsafeBytes({ client.step($0, &output) }) {
            case .taken(let count): toClient.removeFirst(count)
            case .ready(let count, let export):
                toClient.removeFirst(count)
                found = export
            case .needs(let count):
                #expect(count > toClient.count)
                var answer: [UInt8] = []
                switch toServer.withUnsafeBytes({ server.step($0, &exports, &answer) }) {
                case .taken(let count): toServer.removeFirst(count)
                case .transmission(let count, let begun):
                    toServer.removeFirst(count)
                    session = begun
                default:
                    Issue.record("the server does not understand")
                    return
                }
                toClient += answer
            case .startTLS, .failed:
                Issue.record("the client does not understand")
                return
            }
            toServer += output
        }
        #expect(found?.size == 1 << 20 && found?.style == best && session?.style == best && found?.flags == session?.flags)
        #expect(found?.minimumBlock == 1 && found?.maximumPayload == Limits.payload && toClient.isEmpty && toServer.isEmpty)
    }

    /// NBD-26: a server without GO, and one that knows no options at all.
    @Test func nbd26ServersWithoutGo() {
        var client = ClientHandshake(export: "x", wantsTLS: false)
        let refusals = reply(11, unsupported) + reply(8, unsupported) + reply(7, unsupported)
        let (last, output) = steps(&client, greeting + refusals + network(4096 as UInt64) + network(5 as UInt16))
        #expect(export(last)?.size == 4096 && export(last)?.style == .simple)
        #expect(Array(output.suffix(17)) == Array("IHAVEOPT".utf8) + network(1 as UInt32) + network(1 as UInt32) + [0x78])
        var old = ClientHandshake(export: "x", wantsTLS: false)
        #expect(export(steps(&old, Array("NBDMAGICIHAVEOPT".utf8) + [0, 0] + network(9 as UInt64) + network(3 as UInt16) + [UInt8](repeating: 0, count: 124)).last)?.isReadOnly == true)
        var ancient = ClientHandshake(export: "x", wantsTLS: false)
        #expect(refusal(steps(&ancient, Array("NBDMAGIC".utf8) + network(0x0000_4202_8186_1253 as UInt64)).last) == .oldStyle)
    }

    /// NBD-23: an acknowledgement without the export, a reply for another option, another magic number, an information that nobody
    /// knows, a reply that is too large.
    @Test func nbd23WrongAnswers() {
        func end(_ answers: [UInt8]) -> ClientHandshake.Step {
            var client = ClientHandshake(export: "x", wantsTLS: false, best: .simple)
            return steps(&client, greeting + answers).last
        }
        #expect(refusal(end(reply(7, 1))) == .malformed)
        #expect(refusal(end(reply(6, 1))) == .malformed)
        #expect(refusal(end([1] + info(4096).dropFirst())) == .malformed)
        #expect(export(end(reply(7, 3, network(77 as UInt16) + [1, 2, 3]) + info(4096) + reply(7, 1)))?.size == 4096)
        #expect(refusal(end(network(0x0003_e889_0455_65a9 as UInt64) + network(7 as UInt32) + network(3 as UInt32) + network(UInt32.max))) == .malformed)
        #expect(refusal(end(Array(repeating: reply(7, 3, network(1 as UInt16)), count: 65).flatMap { $0 })) == .malformed)
        #expect(refusal(end(info(1 << 63) + reply(7, 1))) == .malformed)
        #expect(refusal(end(info(4096, 0) + reply(7, 1))) == .malformed)
        #expect(refusal(end(reply(7, 0x8000_0006, Array("gone".utf8)))) == .unknownExport(words: "gone"))
        #expect(refusal(end(reply(7, 0x8000_0002, Array("no\u{1b}\n".utf8)))) == .refused(words: "no"))
        #expect(refusal(end(reply(7, 0x8000_0005))) == .needsTLS)
        var other = ClientHandshake(export: "x", wantsTLS: false)
        #expect(refusal(steps(&other, Array("SSH-2.0-OpenSSH_".utf8)).last) == .malformed)
    }

    @Test func blockSizes() {
        func end(_ a: UInt32, _ b: UInt32, _ c: UInt32) -> RemoteExport? {
            var client = ClientHandshake(export: "x", wantsTLS: false, best: .simple)
            return export(steps(&client, greeting + blocks(a, b, c) + info(10_000) + reply(7, 1)).last)
        }
        #expect(end(1, 4096, 33_554_432)?.usableSize == 10_000)
        #expect(end(4096, 4096, 1_000_000).map { ($0.usableSize, $0.maximumPayload) } ?? (0, 0) == (8192, 999_424))
        #expect(end(512, 4096, UInt32.max)?.maximumPayload == Limits.payload)
        for (a, b, c) in [(0, 4096, 4096), (3, 4096, 4096), (131_072, 131_072, 131_072), (4096, 512, 4096), (512, 3000, 4096), (512, 4096, 256)] as [(UInt32, UInt32, UInt32)] {
            #expect(end(a, b, c) == nil, "\(a) \(b) \(c)")
        }
    }

    /// TLS comes before anything else, and what was said in the clear behind it counts as an attack elsewhere.
    @Test func encryption() {
        var client = ClientHandshake(export: "x", wantsTLS: true), output: [UInt8] = []
        let (last, first) = steps(&client, greeting + reply(5, 1))
        guard case .startTLS = last else { return #expect(Bool(false), "TLS begins") }
        #expect(Array(first.suffix(16)) == Array("IHAVEOPT".utf8) + network(5 as UInt32) + network(0 as UInt32))
        client.didStartTLS(&output)
        #expect(Array(output) == Array("IHAVEOPT".utf8) + network(11 as UInt32) + network(0 as UInt32))
        var refused = ClientHandshake(export: "x", wantsTLS: true)
        #expect(refusal(steps(&refused, greeting + reply(5, unsupported)).last) == .hasNoTLS)
        var fixedless = ClientHandshake(export: "x", wantsTLS: true)
        #expect(refusal(steps(&fixedless, Array("NBDMAGICIHAVEOPT".utf8) + [0, 2]).last) == .hasNoTLS)
    }

    /// Bytes of any kind: nothing traps, nothing is taken that is not there, and what is sent is bounded.
    @Test(arguments: 0..<10 as Range<UInt64>) func takesAnything(seed: UInt64) {
        var random = SeededRandom(seed: seed), mutator = Mutator(seed: seed &+ 50)
        let good = [greeting, reply(11, 1), reply(11, unsupported), reply(8, 1), reply(8, unsupported), reply(5, 1), info(4096), blocks(1, 512, 4096), reply(7, 1), reply(7, unsupported)]
        for _ in 0..<5000 {
            var handshake = ClientHandshake(export: "x", wantsTLS: random.oneIn(4), best: ReplyStyle.allCases[random.below(3)])
            var input = random.oneIn(8) ? [] : greeting, output: [UInt8] = []
            for _ in 0...random.below(6) {
                var next = good[random.below(good.count)]
                if random.oneIn(3) { next.withUnsafeMutableBytes { mutator.mutate($0) } }
                if random.oneIn(6) { next.removeLast(random.below(next.count)) }
                input += next
            }
            conversation: while true {
                switch input.withUnsafeBytes({ handshake.step($0, &output) }) {
                case .needs(let count):
                    #expect(count > input.count && count <= 20_000)
                    break conversation
                case .taken(let count), .startTLS(let count):
                    #expect(count > 0 && count <= input.count)
                    input.removeFirst(count)
                case .ready(let count, let export):
                    #expect(count <= input.count && export.maximumPayload >= export.minimumBlock)
                    break conversation
                case .failed: break conversation
                }
            }
            #expect(output.count < 400)
        }
    }
}
