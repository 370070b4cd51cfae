internal import BlockStorage
internal import NBDProtocol
internal import TestSupport
import Testing

/// Bytes of any kind: nothing traps, nothing is taken that is not there, and what is answered is bounded.
@Suite struct FuzzTests {
    /// Conversations made of good messages that are damaged, cut and joined. A million messages in all.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func handshakeTakesAnything(seed: UInt64) {
        var random = SeededRandom(seed: seed), mutator = Mutator(seed: seed &+ 100)
        let good: [[UInt8]] = [
            message(7, wanting("root", [1, 2, 3])), message(6, wanting("root@a")), message(3), message(8), message(11), message(5),
            message(10, asking("root", ["base:allocation", "qemu:dirty-bitmap:since-a:b"])), message(9, asking("root", ["qemu:"])),
            message(1, Array("root".utf8)), message(2), network(UInt32(3)),
        ]
        var steps = 0
        while steps < 25_000 {
            let encryption: ServerHandshake.Encryption = random.oneIn(3) ? .required : .unavailable
            var handshake = ServerHandshake(encryption: encryption), exports = Exports()
            var input = random.oneIn(8) ? [] : network(UInt32(3))
            for _ in 0...random.below(6) {
                var next = good[random.below(good.count)]
                if random.oneIn(2) { next.withUnsafeMutableBytes { mutator.mutate($0) } }
                if random.oneIn(6) { next.removeLast(random.below(next.count)) }
                input += next
            }
            conversation: while true {
                steps += 1
                var output: [UInt8] = []
                switch input.withUnsafeBytes({ handshake.step($0, &exports, &output) }) {
                case .needs(let count):
                    #expect(count > input.count && count <= 16 + Int(Limits.option) && output.isEmpty)
                    break conversation
                case .taken(let count), .startTLS(let count), .transmission(let count, _):
                    #expect(count > 0 && count <= input.count)
                    input.removeFirst(count)
                    if handshake.encryption == .required && random.oneIn(2) { handshake.didStartTLS() }
                case .close: break conversation
                }
                #expect(output.count < 1 << 16)
            }
        }
    }

    /// Requests and replies of random and of nearly right bytes.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func messagesAreAnything(seed: UInt64) {
        var random = SeededRandom(seed: seed), mutator = Mutator(seed: seed &+ 100)
        let exports = Exports()
        var accepted = 0
        for _ in 0..<50_000 {
            let style = ReplyStyle.allCases[random.below(3)]
            var session = Session(export: exports.all[random.below(2)], style: style)
            if random.oneIn(2) { session.contexts = [MetaContext(id: 1, name: "base:allocation")] }
            var bytes = [UInt8](repeating: 0, count: 40)
            bytes.withUnsafeMutableBytes { raw in
                let command = Command.allCases[random.below(8)]
                let flags = random.oneIn(2) ? [] : CommandFlags(rawValue: 1 << UInt16(random.below(7)))
                _ = Request(command, flags: flags, cookie: 9, offset: UInt64(random.below(1 << 20)), length: UInt64(random.below(1 << 16))).encode(style, into: raw)
                if random.oneIn(2) { mutator.mutate(UnsafeMutableRawBufferPointer(rebasing: raw[4...])) }
            }
            bytes.withUnsafeBytes { raw in
                guard let request = Request(decoding: raw, style) else { return }
                guard session.refusal(of: request) == nil, let command = request.command else { return }
                accepted += 1
                // What is accepted can be done: it lies inside, and is no larger than memory is set aside for.
                if command != .disconnect && command != .flush { #expect(request.offset + request.length <= session.export.size) }
                if command == .read || command == .write { #expect(request.length <= UInt64(Limits.payload)) }
                if command.writes { #expect(!session.export.isReadOnly) }
            }
            var reply = [UInt8](repeating: 0, count: 40)
            reply.withUnsafeMutableBytes { raw in
                _ = Reply(kind: style == .simple ? .simple(error: 0) : .chunk(.offsetData), cookie: 9, offset: 1, length: 99).encode(style, into: raw)
                mutator.mutate(raw)
            }
            reply.withUnsafeBytes { raw in
                if let decoded = try? Reply(decoding: raw, style), case .chunk(.offsetHole) = decoded.kind { #expect(style != .simple) }
            }
        }
        #expect(accepted > 1000)
    }
}
