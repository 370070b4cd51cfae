internal import BlockStorage

/// Changes bytes the way damage and malice do: bits, bytes, whole fields with awkward values, ranges.
package struct Mutator {
    package var random: SeededRandom

    package init(seed: UInt64) { random = SeededRandom(seed: seed) }

    private static let awkward: [UInt64] = [
        0, 1, 2, 7, 8, 0x7f, 0xff, 0x7fff, 0xffff, 1 << 20, 1 << 31, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 1 << 48, 1 << 52,
        UInt64(Int64.max), UInt64.max - 1, UInt64.max,
    ]

    package mutating func mutate(_ bytes: UnsafeMutableRawBufferPointer) {
        for _ in 0...random.below(4) {
            // Headers more often than the rest.
            let limit = random.oneIn(2) ? min(bytes.count, 288) : bytes.count
            let at = random.below(limit)
            switch random.below(6) {
            case 0: bytes[at] ^= 1 << UInt8(random.below(8))
            case 1: bytes[at] = UInt8(truncatingIfNeeded: random.next())
            case 2: put(Self.awkward[random.below(Self.awkward.count)], 8, at, bytes)
            case 3: put(Self.awkward[random.below(Self.awkward.count)], 4, at, bytes)
            case 4: put(random.next() >> UInt64(random.below(64)), random.oneIn(2) ? 8 : 2, at, bytes)
            default:
                let count = min(random.below(64), bytes.count - at)
                for index in at..<at + count { bytes[index] = random.oneIn(2) ? 0 : UInt8(truncatingIfNeeded: random.next()) }
            }
        }
    }

    private func put(_ value: UInt64, _ size: Int, _ at: Int, _ bytes: UnsafeMutableRawBufferPointer) {
        // Aligned, where fields are.
        let start = at / size * size
        for index in 0..<size where start + index < bytes.count { bytes[start + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }
}

/// Sets four bytes so that a block has the checksum it had before: CRC-32C is linear, so the bits to set are the solution of
/// 32 equations (M. Stigge et al., "Reversing CRC", 2006). With it a changed node passes for the one its parent names.
package func forgeChecksum(of block: UnsafeMutableRawBufferPointer, to target: UInt32, at position: Int) {
    func checksum() -> UInt32 { crc32c(UnsafeRawBufferPointer(block)) }
    for index in 0..<4 { block[position + index] = 0 }
    let base = checksum()
    // What each bit adds, and which bits that took.
    var rows: [(effect: UInt32, bits: UInt32)] = (0..<32).map { bit in
        block[position + bit / 8] = 1 << UInt8(bit % 8)
        defer { block[position + bit / 8] = 0 }
        return (checksum() ^ base, 1 << UInt32(bit))
    }
    var wanted = base ^ target
    var solution: UInt32 = 0
    for bit in 0..<32 {
        guard let pivot = rows[bit...].firstIndex(where: { $0.effect >> UInt32(bit) & 1 == 1 }) else { continue }
        rows.swapAt(bit, pivot)
        for row in rows.indices where row != bit && rows[row].effect >> UInt32(bit) & 1 == 1 {
            rows[row].effect ^= rows[bit].effect
            rows[row].bits ^= rows[bit].bits
        }
    }
    for bit in 0..<32 where wanted >> UInt32(bit) & 1 == 1 {
        wanted ^= rows[bit].effect
        solution ^= rows[bit].bits
    }
    for index in 0..<4 { block[position + index] = UInt8(truncatingIfNeeded: solution >> UInt32(8 * index)) }
}
