internal import BlockStorage
internal import Glibc
internal import NBDProtocol
internal import TestSupport
import Testing

/// Requests and replies, byte for byte.
@Suite struct MessageTests {
    private func encoded(_ size: Int = 256, _ body: (UnsafeMutableRawBufferPointer) -> Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: size)
        let count = bytes.withUnsafeMutableBytes { body($0) }
        return Array(bytes.prefix(count))
    }

    @Test func goldenRequests() {
        let request = Request(.write, flags: [.fua], cookie: 0x0102_0304_0506_0708, offset: 0x1000, length: 0x200)
        #expect(
            encoded { request.encode(.structured, into: $0) }
                == [0x25, 0x60, 0x95, 0x13, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 2, 0])
        #expect(
            encoded { request.encode(.extended, into: $0) }
                == [0x21, 0xe4, 0x1c, 0x71, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 2, 0])
    }

    @Test func goldenReplies() {
        let request = Request(.read, cookie: 0x0102_0304_0506_0708, offset: 0x1000, length: 0x200)
        let cookie: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        let simple = ReplyWriter(.simple, to: request), structured = ReplyWriter(.structured, to: request)
        let extended = ReplyWriter(.extended, to: request)
        #expect(encoded { simple.done($0) } == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0] + cookie)
        #expect(encoded { simple.error(.noSpace, $0) } == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28] + cookie)
        #expect(encoded { structured.done($0) } == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 0] + cookie + [0, 0, 0, 0])
        #expect(
            encoded { structured.error(.invalid, $0) }
                == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 1] + cookie + [0, 0, 0, 6, 0, 0, 0, 22, 0, 0])
        #expect(
            encoded { structured.error(.input, at: 0x1100, $0) }
                == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0x80, 2] + cookie + [0, 0, 0, 14, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0])
        #expect(
            encoded { structured.data(at: 0x1000, count: 0x200, $0) }
                == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 1] + cookie + [0, 0, 2, 8, 0, 0, 0, 0, 0, 0, 0x10, 0])
        #expect(
            encoded { structured.hole(at: 0x1000, count: 0x200, isDone: false, $0) }
                == [0x66, 0x8e, 0x33, 0xef, 0, 0, 0, 2] + cookie + [0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 2, 0])
        #expect(
            encoded { structured.status(context: 7, count: 2, isDone: true, $0) }
                == [0x66, 0x8e, 0x33, 0xef, 0, 1, 0, 5] + cookie + [0, 0, 0, 20, 0, 0, 0, 7])
        #expect(encoded { structured.extent(0x1000, flags: 3, $0) } == [0, 0, 0x10, 0, 0, 0, 0, 3])
        #expect(
            encoded { extended.status(context: 7, count: 2, isDone: true, $0) }
                == [0x6e, 0x8a, 0x27, 0x8c, 0, 1, 0, 6] + cookie + [0, 0, 0, 0, 0, 0, 0x10, 0] + [0, 0, 0, 0, 0, 0, 0, 40] + [0, 0, 0, 7, 0, 0, 0, 2])
        #expect(encoded { extended.extent(1 << 40, flags: 3, $0) } == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3])
        #expect(
            encoded { extended.data(at: 0x1100, count: 0x100, $0) }
                == [0x6e, 0x8a, 0x27, 0x8c, 0, 1, 0, 1] + cookie + [0, 0, 0, 0, 0, 0, 0x10, 0] + [0, 0, 0, 0, 0, 0, 1, 8] + [0, 0, 0, 0, 0, 0, 0x11, 0])
    }

    /// What was written is what is read, whichever style.
    @Test func roundTrips() throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<20_000 {
            for style in ReplyStyle.allCases {
                var request = Request(.read, cookie: random.next(), offset: random.next(), length: random.next())
                request.flags = CommandFlags(rawValue: UInt16(truncatingIfNeeded: random.next()))
                request.code = UInt16(truncatingIfNeeded: random.next())
                if style != .extended { request.length &= 0xffff_ffff }
                let bytes = encoded { request.encode(style, into: $0) }
                #expect(bytes.count == style.requestSize)
                #expect(bytes.withUnsafeBytes { Request(decoding: $0, style) } == request)

                let type = Reply.Chunk.allCases[random.below(Reply.Chunk.allCases.count)]
                var reply = Reply(kind: .chunk(type), isDone: random.oneIn(2), cookie: random.next(), offset: random.next(), length: random.next())
                if style == .simple { reply = Reply(kind: .simple(error: UInt32(truncatingIfNeeded: random.next())), cookie: random.next()) }
                if style == .structured { (reply.offset, reply.length) = (0, reply.length & 0xffff_ffff) }
                let header = encoded { reply.encode(style, into: $0) }
                #expect(header.withUnsafeBytes { Reply.headerSize($0, style) } == header.count)
                let back = try header.withUnsafeBytes { try Reply(decoding: $0, style) }
                #expect(back == reply)
            }
        }
    }

    /// NBD-18, of requests: a wrong magic number, each of its bytes in turn, and the other style's.
    @Test func nbd18WrongMagicIsNoRequest() {
        for style in ReplyStyle.allCases {
            let good = encoded { Request(.read, cookie: 1).encode(style, into: $0) } + [UInt8](repeating: 0, count: 4)
            for index in 0..<4 {
                var bad = good
                bad[index] ^= 0x10
                #expect(bad.withUnsafeBytes { Request(decoding: $0, style) } == nil)
            }
            let other: ReplyStyle = style == .extended ? .simple : .extended
            #expect(good.withUnsafeBytes { Request(decoding: $0, other) } == nil)
        }
    }

    /// NBD-08 to NBD-14 as far as they are decided before anything is done, and NBD-20.
    @Test func nbd08Nbd10Nbd11Nbd12Nbd13Nbd14Nbd20Refusals() {
        var exports = Exports()
        let volume = Session(export: exports.all[0], style: .structured), snapshot = Session(export: exports.all[1], style: .structured)
        exports.all[0].size = 1024
        let small = Session(export: exports.all[0], style: .simple)
        func refused(_ session: Session, _ command: Command, _ offset: UInt64, _ length: UInt64, _ flags: CommandFlags = []) -> WireError? {
            session.refusal(of: Request(command, flags: flags, cookie: 1, offset: offset, length: length))
        }
        // NBD-08: a read-only export.
        for command in [Command.write, .trim, .writeZeroes] { #expect(refused(snapshot, command, 0, 512) == .notPermitted) }
        #expect(refused(snapshot, .flush, 0, 0) == nil && refused(snapshot, .read, 0, 4096) == nil)
        // NBD-10, NBD-11, NBD-13: beyond the end.
        #expect(refused(small, .trim, 1000, 100) == .invalid && refused(small, .read, 1000, 100) == .invalid)
        #expect(refused(small, .write, 1000, 100) == .noSpace && refused(small, .writeZeroes, 1024, 1) == .noSpace)
        for command in [Command.read, .trim, .cache] { #expect(refused(small, command, UInt64.max - 9, 100) == .invalid) }
        for command in [Command.write, .writeZeroes] { #expect(refused(small, command, UInt64.max - 9, 100) == .noSpace) }
        // NBD-10: a trim that was not offered.
        var kept = exports.all[0]
        kept.canTrim = false
        #expect(refused(Session(export: kept, style: .simple), .trim, 0, 512) == .invalid && !Session(export: kept, style: .simple).flags.contains(.trim))
        #expect(refused(small, .trim, 0, 512) == nil && small.flags.contains(.trim))
        // NBD-12: more than a request may have.
        #expect(refused(volume, .read, 0, 1 << 26) == .invalid && refused(volume, .write, 0, 1 << 26) == .invalid)
        #expect(refused(volume, .read, 0, 1 << 26, .dontFragment) == .overflow)
        // NBD-14, and flags that mean nothing there.
        var unknown = Request(.read, cookie: 1)
        unknown.code = 0xeeee
        #expect(volume.refusal(of: unknown) == .invalid)
        #expect(refused(volume, .read, 0, 1, .noHole) == .invalid && refused(volume, .write, 0, 1, .dontFragment) == .invalid)
        #expect(refused(volume, .trim, 0, 1, .fastZero) == .invalid && refused(small, .read, 0, 1, .dontFragment) == .invalid)
        #expect(refused(volume, .write, 0, 1, CommandFlags(rawValue: 1 << 9)) == .invalid)
        #expect(refused(volume, .writeZeroes, 0, 1, [.noHole, .fastZero, .fua]) == nil && refused(volume, .read, 0, 1, .fua) == nil)
        // NBD-20: nothing is no mistake.
        for command in [Command.read, .write, .trim, .writeZeroes, .cache] { #expect(refused(volume, command, 0, 0) == nil) }
        #expect(refused(volume, .flush, 1, 0) == .invalid && refused(volume, .blockStatus, 0, 512) == .invalid)
        var status = volume
        status.contexts = [MetaContext(id: 1, name: "base:allocation")]
        #expect(refused(status, .blockStatus, 0, 512, .requestOne) == nil && refused(status, .blockStatus, 0, 0) == .invalid)
        #expect(refused(status, .blockStatus, 1 << 20, 1) == .invalid)
        // Extended headers: only a write has a payload, and always.
        let extended = Session(export: volume.export, style: .extended, contexts: status.contexts)
        #expect(refused(extended, .write, 0, 512) == .invalid && refused(extended, .write, 0, 512, .payloadLength) == nil)
        #expect(refused(extended, .blockStatus, 0, 512, .payloadLength) == .invalid && refused(extended, .read, 0, 512, .payloadLength) == .invalid)
    }

    /// Whatever is wrong with a request, the bytes behind it are known.
    @Test func payloadIsFramed() {
        let write = Request(.write, cookie: 1, length: 77), read = Request(.read, cookie: 1, length: 77)
        #expect(write.payloadSize(.simple) == 77 && write.payloadSize(.structured) == 77 && write.payloadSize(.extended) == 0)
        #expect(read.payloadSize(.simple) == 0 && read.payloadSize(.extended) == 0)
        #expect(Request(.blockStatus, flags: .payloadLength, cookie: 1, length: 12).payloadSize(.extended) == 12)
    }

    @Test func errnoBecomesNumber() {
        let table: [(Int32, WireError)] = [
            (EPERM, .notPermitted), (EACCES, .notPermitted), (EROFS, .notPermitted), (EIO, .input), (ENOMEM, .memory),
            (EINVAL, .invalid), (ENOSPC, .noSpace), (EDQUOT, .noSpace), (EFBIG, .noSpace), (EOVERFLOW, .overflow),
            (EOPNOTSUPP, .notSupported), (ESHUTDOWN, .shutdown), (ENOENT, .input), (EBUSY, .input), (0, .input),
        ]
        for (errno, error) in table { #expect(WireError(errno: errno) == error) }
        for error in WireError.allCases { #expect(WireError(errno: WireError.errno(error.rawValue)) == error) }
        #expect(WireError.errno(99) == EINVAL)
        // What the engine says of a full pool is what a client pauses for.
        #expect(WireError(errno: PoolError.outOfSpace(needed: 1, free: 0).errno) == .noSpace)
    }
}
