internal import BlockStorage
internal import NBDProtocol
internal import TestSupport
import Testing

/// Replies as a client takes them apart.
@Suite struct ReplyPartTests {
    private func next(_ bytes: [UInt8], _ style: ReplyStyle) throws -> ReplyPart.Next { try bytes.withUnsafeBytes { try ReplyPart.next($0, style) } }

    /// What our server lays out is understood, whole, and waited for at every byte before.
    @Test(arguments: ReplyStyle.allCases) func understandsOurReplies(style: ReplyStyle) throws {
        let writer = ReplyWriter(style, to: Request(.read, cookie: 77, offset: 4096, length: 512))
        func laid(_ body: (UnsafeMutableRawBufferPointer) -> Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: 64)
            let count = bytes.withUnsafeMutableBytes(body)
            return Array(bytes.prefix(count))
        }
        var cases: [([UInt8], ReplyPart.Body, Bool)] = [
            (laid { writer.done($0) }, style == .simple ? .simple(error: 0) : .none, true),
            (laid { writer.error(.noSpace, $0) }, style == .simple ? .simple(error: 28) : .error(28), true),
        ]
        if style != .simple {
            cases += [
                (laid { writer.data(at: 4200, count: 100, isDone: false, $0) }, .data(offset: 4200, count: 100), false),
                (laid { writer.hole(at: 4096, count: 512, $0) }, .hole(offset: 4096, count: 512), true),
                (laid { writer.error(.input, at: 4100, $0) }, .error(5), true),
            ]
        }
        for (bytes, body, isDone) in cases {
            #expect(try next(bytes, style) == .part(bytes.count, ReplyPart(cookie: 77, isDone: isDone, body: body)))
            for count in 0..<bytes.count {
                guard case .needs(let needed) = try next(Array(bytes.prefix(count)), style) else {
                    Issue.record("\(count) of \(bytes.count) bytes were taken for all")
                    continue
                }
                #expect(needed > count && needed <= ReplyPart.longest)
            }
        }
    }

    private func chunk(_ type: UInt16, _ payload: [UInt8], isDone: Bool = true, length: UInt32? = nil) -> [UInt8] {
        network(0x668e_33ef as UInt32) + network(UInt16(isDone ? 1 : 0)) + network(type) + network(5 as UInt64)
            + network(length ?? UInt32(payload.count)) + payload
    }

    @Test func refusesWhatCannotBe() throws {
        for (bytes, what) in [
            ([UInt8](repeating: 0, count: 32), ReplyPart.Malformed.magic), (chunk(9, []), .type), (chunk(5, [UInt8](repeating: 0, count: 12)), .type),
            (chunk(0, [], isDone: false), .length), (chunk(0, [1]), .length), (chunk(1, [UInt8](repeating: 0, count: 8)), .length),
            (chunk(2, [UInt8](repeating: 0, count: 13)), .length), (chunk(0x8001, [0, 0, 0, 5]), .length),
            (chunk(0x8001, [0, 0, 0, 5, 0, 1]), .length), (chunk(0x8001, [], length: UInt32.max), .length),
        ] {
            #expect(throws: what) { try next(bytes, .structured) }
        }
        // An error that nobody knows is one; so is one that says that it is none.
        #expect(try next(chunk(0xffff, [0, 0, 0, 28, 0, 0]), .structured) == .part(26, ReplyPart(cookie: 5, isDone: true, body: .error(28))))
        #expect(try next(chunk(0x8001, [0, 0, 0, 0, 0, 0]), .structured) == .part(26, ReplyPart(cookie: 5, isDone: true, body: .error(5))))
    }

    @Test(arguments: 0..<10 as Range<UInt64>) func takesAnything(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<30_000 {
            let style = ReplyStyle.allCases[random.below(3)]
            var bytes = (0..<random.below(80)).map { _ in UInt8(random.oneIn(2) ? 0 : random.below(256)) }
            if bytes.count >= 8 && !random.oneIn(8) {
                bytes.replaceSubrange(0..<4, with: network([0x6744_6698, 0x668e_33ef, 0x6e8a_278c][random.below(3)] as UInt32))
                bytes.replaceSubrange(6..<8, with: network([0, 1, 2, 5, 0x8001, 0x8002][random.below(6)] as UInt16))
            }
            switch try? next(bytes, style) {
            case .needs(let count)?: #expect(count > bytes.count && count <= ReplyPart.longest)
            case .part(let count, _)?: #expect(count >= 16 && count <= bytes.count)
            case nil: break
            }
        }
    }

    /// Parts in any order make a read whole; what is missing, twice there or elsewhere does not.
    @Test func coverage() {
        var random = SeededRandom(seed: 4)
        for _ in 0..<300 {
            let size = UInt64(1 + random.below(500))
            var parts: [Range<UInt64>] = [], at: UInt64 = 100
            while at < 100 + size {
                let end = min(100 + size, at + 1 + UInt64(random.below(60)))
                parts.append(at..<end)
                at = end
            }
            for index in parts.indices.reversed() { parts.swapAt(index, random.below(index + 1)) }
            var coverage = ReadCoverage(offset: 100, count: size)
            for part in parts {
                let wasWhole = coverage.isWhole, isNew = coverage.add(part.lowerBound, UInt64(part.count))
                let isNewAgain = coverage.add(part.lowerBound, UInt64(part.count))
                #expect(!wasWhole && isNew && !isNewAgain)
            }
            #expect(coverage.isWhole)
        }
        var coverage = ReadCoverage(offset: 100, count: 50)
        for (offset, count) in [(99, 10), (140, 11), (100, 0), (100, 51), (UInt64.max, 2)] as [(UInt64, UInt64)] {
            let isTaken = coverage.add(offset, count)
            #expect(!isTaken, "\(offset) \(count)")
        }
        let taken = [coverage.add(120, 10), coverage.add(115, 6), coverage.add(129, 1)]
        #expect(taken == [true, false, false] && !coverage.isWhole)
    }
}
