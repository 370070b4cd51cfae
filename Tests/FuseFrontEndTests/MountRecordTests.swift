internal import BlockStorage
internal import FuseFrontEnd
internal import TestSupport
import Testing

/// What a daemon leaves about a mount: bytes that another version may have to read, or that somebody else has written.
@Suite struct MountRecordTests {
    private static let example = MountRecord(
        slots: 65536, intents: 1024, isReadOnly: true, maximumRead: 131_072, maximumWrite: 1 << 20, readAhead: 131_072,
        capabilities: 0x1234_5678, initial: [1, 2, 3, 4], device: "0:52", mountpoint: "/mnt/vols", source: "/srv/data.pool")

    private func encoded(_ record: MountRecord) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: MountRecord.size)
        bytes.withUnsafeMutableBytes { record.encode(into: $0) }
        return bytes
    }

    private func decoded(_ bytes: [UInt8]) throws -> MountRecord {
        try bytes.withUnsafeBytes { try MountRecord(decoding: $0) }
    }

    /// Byte for byte what the table in the source says.
    @Test func goldenImage() {
        let bytes = encoded(Self.example)
        func hex(_ range: Range<Int>) -> String { bytes[range].map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() }
        #expect(hex(0..<12) == "564f4c46534d4e5401000000")
        #expect(hex(16..<52) == "0000010000040000010000000000020000001000000002007856341204000000" + "01020304")
        #expect(hex(304..<310) == "0400" + "303a3532")
        #expect(hex(336..<347) == "0900" + "2f6d6e742f766f6c73")
        #expect(hex(4434..<4450) == "0e00" + "2f7372762f646174612e706f6f6c")
        #expect(bytes[4450...].allSatisfy { $0 == 0 })
    }

    @Test(arguments: 0..<50 as Range<UInt64>) func decodesWhatWasEncoded(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        func text(_ limit: Int) -> String { String((0..<random.below(limit + 1)).map { _ in "abc/-:ä".randomElement(using: &random) ?? "a" }.prefix(limit / 2)) }
        let record = MountRecord(
            slots: UInt32(random.below(1 << 24)), intents: UInt32(random.below(1 << 16)), isReadOnly: random.oneIn(2),
            maximumRead: UInt32(truncatingIfNeeded: random.next()), maximumWrite: UInt32(truncatingIfNeeded: random.next()),
            readAhead: UInt32(truncatingIfNeeded: random.next()), capabilities: UInt32(truncatingIfNeeded: random.next()),
            initial: (0..<random.below(257)).map { _ in UInt8(truncatingIfNeeded: random.next()) }, device: text(30), mountpoint: text(4096),
            source: text(4096))
        #expect(record.isStorable)
        #expect(try decoded(encoded(record)) == record)
    }

    /// No byte can change without being noticed.
    @Test func everyByteCounts() {
        let bytes = encoded(Self.example)
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 0x10
            let wanted: MountRecord.Problem = index < 8 ? .magic : index < 12 ? .version(1 ^ 0x10 << UInt32(8 * (index - 8))) : .checksum
            #expect(throws: wanted) { try decoded(damaged) }
        }
        #expect(throws: MountRecord.Problem.contents) { try decoded(Array(bytes.dropLast())) }
    }

    /// With a right checksum too, what cannot be is refused and nothing is read that is not there.
    @Test(arguments: 0..<300 as Range<UInt64>) func survivesNonsense(seed: UInt64) {
        var mutator = Mutator(seed: seed), bytes = encoded(Self.example)
        bytes.withUnsafeMutableBytes { bytes in
            mutator.mutate(bytes)
            let zero: [UInt8] = [0, 0, 0, 0]
            var sum = crc32c(UnsafeRawBufferPointer(bytes.part(0..<12)))
            sum = zero.withUnsafeBytes { crc32c($0, seed: sum) }
            bytes.store(crc32c(UnsafeRawBufferPointer(bytes.part(16..<bytes.count)), seed: sum), at: 12)
        }
        // Whatever it is found to be, it can be written again.
        if let record = try? decoded(bytes) { #expect(record.isStorable) }
    }

    @Test func longPathsAreNotStorable() {
        var record = Self.example
        record.source = "/" + String(repeating: "x", count: 4096)
        #expect(!record.isStorable)
    }

    /// The kernel's first request: protocol 7.45 with and without the flag that it can send requests again.
    @Test func kernelOffers() {
        var bytes = [UInt8](repeating: 0, count: 104)
        bytes.withUnsafeMutableBytes { bytes in
            bytes.store(26 as UInt32, at: 4)
            bytes.store(2 as UInt64, at: 8)
            bytes.store(7 as UInt32, at: 40)
            bytes.store(45 as UInt32, at: 44)
            bytes.store(1 << 30 as UInt32, at: 52)
        }
        #expect(KernelOffer(bytes).isInitial)
        #expect(!KernelOffer(bytes).resends)
        bytes.withUnsafeMutableBytes { $0.store(1 << 7 as UInt32, at: 56) }
        #expect(KernelOffer(bytes).resends)
        let repeated = KernelOffer(bytes).repeated
        #expect(repeated.count == bytes.count && repeated[8..<16].elementsEqual([0, 0, 0, 0, 0, 0, 0, 0x40]))
        #expect(KernelOffer(repeated).isInitial && KernelOffer(repeated).resends)
        // Without the flag that says that there are more, they are none.
        bytes.withUnsafeMutableBytes { $0.store(0 as UInt32, at: 52) }
        #expect(!KernelOffer(bytes).resends)
        bytes[4] = 27
        #expect(!KernelOffer(bytes).isInitial)
        #expect(!KernelOffer(Array(bytes.prefix(40))).isInitial && !KernelOffer([]).resends)
    }

    /// A copy in the kernel's newer words becomes one that libfuse knows, and nothing else of it or of another request changes.
    @Test(arguments: [(53, 47), (47, 47), (26, 26), (15, 15), (0x3500, 0x3500)] as [(UInt32, UInt32)])
    func newerCopyIsTheOlderOne(sent: UInt32, taken: UInt32) {
        var random = SeededRandom(seed: 1)
        let bytes = (0..<96).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        var request = bytes, expected = bytes
        request.withUnsafeMutableBytes { $0.store(sent, at: 4) }
        expected.withUnsafeMutableBytes { $0.store(taken, at: 4) }
        request.withUnsafeMutableBytes { KernelOffer.adapt($0) }
        #expect(request == expected)
    }
}
