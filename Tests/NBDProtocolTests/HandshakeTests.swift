internal import NBDProtocol
import Testing

/// A server's handshake, without sockets. Numbers are those of the cases in the design's list of what came before.
@Suite struct HandshakeTests {
    private func isTaken(_ step: ServerHandshake.Step) -> Bool { if case .taken = step { true } else { false } }

    private func ending(_ step: ServerHandshake.Step) -> ServerHandshake.Ending? { if case .close(let why) = step { why } else { nil } }

    private func session(_ step: ServerHandshake.Step) -> Session? { if case .transmission(_, let session) = step { session } else { nil } }

    /// The greeting and a GO with its answer, byte for byte.
    @Test func goldenBytes() {
        #expect(Greeting.bytes == Array("NBDMAGICIHAVEOPT".utf8) + [0, 3])
        var client = Haggler()
        let (step, output) = client.send(message(7, wanting("root@a", [3])))
        let answer: [UInt8] = [
            0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 12,
            0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0x05, 0x0f,
            0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 14,
            0, 3, 0, 0, 0, 1, 0, 0, 0x10, 0, 2, 0, 0, 0,
            0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0,
        ]
        #expect(output == answer)
        #expect(session(step)?.export.name == "root@a" && client.exports.opened == "root@a")
    }

    /// NBD-02: the oldest way in, with and without 124 bytes of nothing.
    @Test func nbd02ExportNameAndItsZeroes() {
        for (flags, size) in [(UInt32(3), 10), (1, 134)] {
            var client = Haggler(flags: flags)
            let (step, output) = client.send(message(1, Array("root".utf8)))
            #expect(output.count == size && session(step)?.style == .simple)
            #expect(number(output[0..<8]) == 1 << 20 && number(output[8..<10]) == 0x0d6d)
        }
        var client = Haggler()
        #expect(ending(client.send(message(1, Array("nothing".utf8))).step) == .refusedExport)
    }

    /// NBD-03: information does not end the haggling.
    @Test func nbd03InfoThenGo() {
        var client = Haggler()
        let info = client.option(.info, wanting("root", [1, 2, 3, 99]))
        #expect(isTaken(info.step) && client.exports.opened == nil)
        #expect(info.answers.map(\.reply) == [3, 3, 3, 3, 1])
        #expect(Set(info.answers.dropLast().map { number($0.data[0..<2]) }) == [0, 1, 2, 3])
        let go = client.option(.go, wanting("root", [1, 2, 3, 99]))
        #expect(session(go.step) != nil && go.answers.map(\.data) == info.answers.map(\.data))
    }

    /// NBD-04: an export that is not there is said to be so, and the haggling goes on.
    @Test func nbd04UnknownExport() {
        var client = Haggler()
        for option in [OptionCode.info, .go] {
            let (step, answers) = client.option(option, wanting("nothing"))
            #expect(isTaken(step) && answers.map(\.reply) == [OptionReply.unknown.rawValue] && answers[0].text == "no such export")
        }
        #expect(session(client.option(.go, wanting("root")).step) != nil)
    }

    /// NBD-05: data that is not what belongs there.
    @Test func nbd05MalformedInfo() {
        var client = Haggler()
        let bad: [[UInt8]] = [
            [1], [], network(UInt32.max) + [0, 0], named("root"), named("root") + [0], wanting("root", [1]).dropLast(),
            wanting("root") + [0], named("root") + [0, 9, 0, 1], network(UInt32(4)) + [0xff, 0xfe, 0, 0, 0, 0],
            wanting(String(repeating: "x", count: 4097)), wanting("a\0b"),
        ]
        for data in bad {
            for option in [OptionCode.info, .go] {
                let (step, answers) = client.option(option, data)
                #expect(isTaken(step) && answers.map(\.reply) == [OptionReply.invalid.rawValue], "\(data.prefix(20))")
            }
        }
        #expect(session(client.option(.go, wanting("root")).step) != nil)
    }

    /// NBD-06: the list of exports.
    @Test func nbd06List() {
        var client = Haggler()
        let (step, answers) = client.option(.list)
        #expect(isTaken(step) && answers.map(\.reply) == [2, 2, 1])
        #expect(answers[0].data == named("root") + Array("1.0 MiB volume".utf8))
        #expect(answers[1].data == named("root@a") + Array("snapshot of root".utf8))
        #expect(client.option(.list, [0]).answers.map(\.reply) == [OptionReply.invalid.rawValue])
    }

    /// NBD-07: an option that nobody knows.
    @Test func nbd07UnknownOption() {
        var client = Haggler()
        for code: UInt32 in [0x4242, 0, 4, 12, .max] {
            let (step, answers) = client.option(code, [1, 2, 3])
            #expect(isTaken(step) && answers.map(\.reply) == [OptionReply.unsupported.rawValue] && answers[0].option == code)
        }
    }

    /// NBD-18, of the handshake: what nobody can go on from closes the connection.
    @Test func nbd18FatalMistakes() {
        for flags: UInt32 in [0, 2, 4, 7, 0x8000_0001] {
            var handshake = ServerHandshake(encryption: .unavailable)
            var exports = Exports(), output: [UInt8] = []
            let step = network(flags).withUnsafeBytes { handshake.step($0, &exports, &output) }
            #expect(ending(step) == .clientFlags && output.isEmpty)
        }
        var client = Haggler()
        #expect(ending(client.send(Array("IHAVEOPQ".utf8) + [UInt8](repeating: 0, count: 8)).step) == .optionMagic)
        client = Haggler()
        let (step, output) = client.send(Array("IHAVEOPT".utf8) + network(UInt32(7)) + network(UInt32(65_537)))
        #expect(ending(step) == .optionSize && client.answers(output).map(\.reply) == [OptionReply.tooBig.rawValue])
        client = Haggler()
        for _ in 0..<Limits.options { #expect(isTaken(client.option(.list).step)) }
        #expect(ending(client.option(.list).step) == .optionFlood)
    }

    @Test func abortIsAcknowledged() {
        for encryption in [ServerHandshake.Encryption.unavailable, .required, .active] {
            var client = Haggler(encryption)
            let (step, answers) = client.option(.abort, [7])
            #expect(ending(step) == .asked && answers.map(\.reply) == [1])
        }
    }

    @Test func stylesOfReplies() {
        var client = Haggler()
        #expect(client.option(.structuredReply, [1]).answers.map(\.reply) == [OptionReply.invalid.rawValue])
        #expect(client.option(.structuredReply).answers.map(\.reply) == [1])
        #expect(client.option(.structuredReply).answers.map(\.reply) == [1])
        #expect(client.option(.extendedHeaders, [1]).answers.map(\.reply) == [OptionReply.invalid.rawValue])
        #expect(client.option(.extendedHeaders).answers.map(\.reply) == [1])
        #expect(client.option(.structuredReply).answers.map(\.reply) == [OptionReply.extendedHeadersRequired.rawValue])
        let session = session(client.option(.go, wanting("root")).step)
        #expect(session?.style == .extended && session?.flags.contains(.dontFragment) == true)
        client = Haggler()
        _ = client.option(.extendedHeaders)
        // There is no way to say that this style was settled.
        #expect(ending(client.send(message(1, Array("root".utf8))).step) == .refusedExport)
    }

    @Test func metadataContexts() {
        var client = Haggler()
        #expect(client.option(.setMetaContext, asking("root", ["base:allocation"])).answers.map(\.reply) == [OptionReply.invalid.rawValue])
        _ = client.option(.structuredReply)
        func listed(_ queries: [String]) -> [String] {
            client.option(.listMetaContext, asking("root", queries)).answers.dropLast().map { String(decoding: $0.data.dropFirst(4), as: UTF8.self) }
        }
        #expect(listed([]).count == 3 && listed(["base:"]) == ["base:allocation"] && listed(["qemu:"]).count == 2)
        #expect(listed(["qemu:dirty-bitmap:"]) == ["qemu:dirty-bitmap:since-a:b"] && listed(["x:y", "qemu:nothing"]).isEmpty)
        #expect(listed(["qemu:allocation-depth", "base:"]) == ["base:allocation", "qemu:allocation-depth"])

        let wanted = ["qemu:dirty-bitmap:since-a:b", "base:", "base:allocation", "base:nothing", "base:allocation"]
        let set = client.option(.setMetaContext, asking("root", wanted))
        #expect(set.answers.map(\.reply) == [4, 4, 1])
        let expected = [MetaContext(id: 1, name: "qemu:dirty-bitmap:since-a:b"), MetaContext(id: 2, name: "base:allocation")]
        #expect(set.answers.dropLast().map { MetaContext(id: UInt32(number($0.data[0..<4])), name: String(decoding: $0.data.dropFirst(4), as: UTF8.self)) } == expected)
        #expect(session(client.option(.go, wanting("root")).step)?.contexts == expected)

        // For another export they do not count; nor after an attempt that failed; nor what asks for too many.
        for (bad, reply) in [
            (asking("nothing", ["base:allocation"]), OptionReply.unknown), (asking("root", ["a"]).dropLast(), .invalid),
            (asking("root", [String](repeating: "base:allocation", count: 65)), .tooBig), (named("root"), .invalid),
            (asking("root", []) + [0], .invalid), (named("root") + network(UInt32(1)) + network(UInt32.max), .invalid),
        ] {
            _ = client.option(.setMetaContext, asking("root", ["base:allocation"]))
            #expect(client.option(.setMetaContext, Array(bad)).answers.map(\.reply) == [reply.rawValue])
            #expect(session(client.option(.go, wanting("root")).step)?.contexts == [])
        }
        _ = client.option(.setMetaContext, asking("root", ["base:allocation"]))
        #expect(session(client.option(.go, wanting("root@a")).step)?.contexts == [])
    }

    /// Where TLS is wanted nothing is said before it, and nothing said before it counts.
    @Test func encryption() {
        var client = Haggler(.required)
        for code: UInt32 in [3, 6, 7, 8, 9, 10, 11, 99] {
            #expect(client.option(code, wanting("root")).answers.map(\.reply) == [OptionReply.tlsRequired.rawValue])
        }
        #expect(client.exports.opened == nil)
        #expect(client.option(.startTLS, [1]).answers.map(\.reply) == [OptionReply.invalid.rawValue])
        let (step, answers) = client.option(.startTLS)
        guard case .startTLS(16) = step, answers.map(\.reply) == [1] else {
            Issue.record("no TLS: \(step)")
            return
        }
        client.handshake.didStartTLS()
        #expect(client.option(.startTLS).answers.map(\.reply) == [OptionReply.invalid.rawValue])
        #expect(session(client.option(.go, wanting("root")).step)?.style == .simple)
        client = Haggler(.required)
        #expect(ending(client.send(message(1, Array("root".utf8))).step) == .refusedExport)
        client = Haggler(.unavailable)
        #expect(client.option(.startTLS).answers.map(\.reply) == [OptionReply.policy.rawValue])
    }

    @Test func endingServerSaysSo() {
        var client = Haggler()
        client.handshake.isStopping = true
        #expect(client.option(.go, wanting("root")).answers.map(\.reply) == [OptionReply.shutdown.rawValue])
        #expect(client.option(.list).answers.map(\.reply) == [OptionReply.shutdown.rawValue])
        #expect(ending(client.option(.abort).step) == .asked)
    }

    /// Of any message cut short nothing is taken, and the server says how much it waits for.
    @Test func everyTruncationWaits() {
        let messages = [
            message(7, wanting("root", [1, 2])), message(10, asking("root", ["base:allocation"])), message(3), message(1, Array("root".utf8)),
        ]
        for message in messages {
            for count in 0..<message.count {
                var client = Haggler()
                let (step, output) = client.send(Array(message.prefix(count)))
                guard case .needs(let needed) = step else {
                    Issue.record("took \(count) of \(message.count)")
                    continue
                }
                #expect(needed > count && needed <= message.count && output.isEmpty)
            }
        }
    }
}
