internal import BlockStorage
internal import TestSupport
import Testing

@Suite struct ChecksumTests {
    /// Test vectors of RFC 3720, appendix B.4.
    @Test(arguments: [
        Vector(bytes: [UInt8](repeating: 0, count: 32), checksum: 0x8a91_36aa),
        Vector(bytes: [UInt8](repeating: 0xff, count: 32), checksum: 0x62a8_ab43),
        Vector(bytes: Array(0..<32), checksum: 0x46dd_794e), Vector(bytes: (0..<32).reversed(), checksum: 0x113f_db5c),
    ])
    func matchesPublishedVectors(vector: Vector) {
        #expect(vector.bytes.withUnsafeBytes { crc32c($0) } == vector.checksum)
        #expect(vector.bytes.withUnsafeBytes { crc32cPortable($0) } == vector.checksum)
    }

    struct Vector: Sendable {
        var bytes: [UInt8]
        var checksum: UInt32
    }

    /// The instruction's three lanes join to what the tables compute, for every length around their borders.
    @Test func instructionEqualsTables() {
        var random = SeededRandom(seed: 1)
        let bytes = (0..<9000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        for count in Array(0..<70) + Array(4020..<4110) + Array(8050..<8080) {
            let slice = Array(bytes[count % 7..<count % 7 + count])
            #expect(slice.withUnsafeBytes { crc32c($0) } == slice.withUnsafeBytes { crc32cPortable($0) }, "\(count) bytes")
        }
    }

    /// A checksum can be continued over parts.
    @Test func continuesOverParts() {
        let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        bytes.withUnsafeBytes { all in
            let first = crc32c(all.part(0..<1234))
            #expect(crc32c(all.part(1234..<5000), seed: first) == crc32c(all))
        }
    }

    @Test func findsTheOneByteThatIsNotZero() {
        var bytes = [UInt8](repeating: 0, count: 4096)
        #expect(bytes.withUnsafeBytes { isZero($0) })
        for index in [0, 1, 15, 16, 17, 2000, 4095] {
            bytes[index] = 1
            #expect(!bytes.withUnsafeBytes { isZero($0) }, "byte \(index)")
            bytes[index] = 0
        }
    }

    /// Every single damaged bit of a sealed block is seen.
    @Test func sealSeesEveryBit() {
        var block = (0..<512).map { UInt8(truncatingIfNeeded: $0) }
        let magic = SealedBlock.magic("TEST")
        block.withUnsafeMutableBytes { SealedBlock.seal($0, magic: magic) }
        #expect(block.withUnsafeBytes { SealedBlock.problem($0, magic: magic) } == nil)
        for bit in 0..<4096 {
            block[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(block.withUnsafeBytes { SealedBlock.problem($0, magic: magic) } != nil, "bit \(bit)")
            block[bit / 8] ^= 1 << UInt8(bit % 8)
        }
    }
}
