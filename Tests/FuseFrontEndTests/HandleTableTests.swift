internal import BlockStorage
internal import FuseFrontEnd
internal import TestSupport
internal import VolumeFS
import Testing

/// Open files in memory that outlives a daemon.
@Suite final class HandleTableTests {
    /// Both outlive every table that a test makes: slots, and the word that says how many were used.
    private let slots = AlignedBuffer(count: 64 * OpenHandle.size), used = AlignedBuffer(count: 512)

    init() {
        slots.bytes.clear()
        used.bytes.clear()
    }

    private func table(_ count: Int = 8) throws -> HandleTable {
        try HandleTable(slots: slots.bytes.part(0..<count * OpenHandle.size), used: used.bytes.part(0..<8))
    }

    private func handle(_ number: UInt64, object: UInt64 = 7, request: UInt64 = 100) -> OpenHandle {
        OpenHandle(
            handle: number, object: object, request: request,
            user: VolumeUser(process: 812, command: "qemu-system-x86", writes: true, kind: .fuse, since: 5), isSynchronous: false)
    }

    private func decoded(_ bytes: [UInt8]) throws -> OpenHandle? {
        try bytes.withUnsafeBytes { try OpenHandle(decoding: $0) }
    }

    @Test(arguments: 0..<50 as Range<UInt64>) func decodesWhatWasEncoded(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let command = String((0..<1 + random.below(16)).map { _ in "abc_(1)-".randomElement(using: &random) ?? "a" })
        let handle = OpenHandle(
            handle: random.next() | 1, object: random.next() | 1, request: random.next(),
            user: VolumeUser(
                process: Int32(truncatingIfNeeded: random.next()), command: command, writes: random.oneIn(2), kind: .fuse, since: random.next()),
            isSynchronous: random.oneIn(2))
        var bytes = [UInt8](repeating: 0, count: OpenHandle.size)
        bytes.withUnsafeMutableBytes { handle.encode(into: $0) }
        #expect(try decoded(bytes) == handle)
        for index in bytes.indices {
            var damaged = bytes
            damaged[index] ^= 1 << UInt8(random.below(8))
            // The handle is one of the bytes that count; all of it zero is a free slot, which one bit does not make.
            #expect(throws: MountRecord.Problem.checksum) { try decoded(damaged) }
        }
    }

    /// What was open and not closed is there for the next one, whatever happened in between.
    @Test(arguments: 0..<30 as Range<UInt64>) func nextDaemonFindsWhatIsOpen(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var table = try self.table(64), open: [UInt64: OpenHandle] = [:], next: UInt64 = 1
        for _ in 0..<500 {
            switch random.below(10) {
            case 0:
                table = try self.table(64)
                #expect(table.inherited.sorted { $0.handle < $1.handle } == open.values.sorted { $0.handle < $1.handle })
            case 1..<6:
                let new = handle(next, object: UInt64(1 + random.below(5)), request: next &* 2)
                next += 1
                if open.count == 64 {
                    #expect(throws: PoolError.self) { try table.add(new) }
                } else {
                    try table.add(new)
                    open[new.handle] = new
                }
            default:
                guard let some = open.keys.sorted().randomElement(using: &random) else { continue }
                table.remove(some)
                open[some] = nil
            }
        }
    }

    /// Killed before the last word was stored, a slot is free; and then it is used again.
    @Test func unfinishedSlotIsFree() throws {
        try self.table().add(handle(1))
        slots.bytes.store(0 as UInt64, at: 0)
        let table = try self.table()
        #expect(table.inherited.isEmpty)
        for number in 2..<10 as Range<UInt64> { try table.add(handle(number)) }
        #expect(throws: PoolError.self) { try table.add(handle(10)) }
    }

    /// A request that is sent again finds what was opened for it, once.
    @Test func openedByARequest() throws {
        try self.table().add(handle(1, request: 44))
        let table = try self.table()
        #expect(table.takeInherited(openedBy: 46) == nil)
        #expect(table.takeInherited(openedBy: 44)?.handle == 1)
        #expect(table.takeInherited(openedBy: 44) == nil)
        #expect(try self.table().inherited.isEmpty)
    }

    /// Damage is found, and never read beyond the memory.
    @Test func damageIsFound() throws {
        try self.table().add(handle(1))
        try self.table().add(handle(2))
        used.bytes.store(9 as UInt64, at: 0)
        #expect(throws: MountRecord.Problem.contents) { try self.table() }
        used.bytes.store(UInt64.max, at: 0)
        #expect(throws: MountRecord.Problem.contents) { try self.table() }
        used.bytes.store(2 as UInt64, at: 0)
        slots.bytes.part(64..<128).copyMemory(from: UnsafeRawBufferPointer(slots.bytes.part(0..<64)))
        #expect(throws: MountRecord.Problem.contents) { try self.table() }
        slots.bytes[20] ^= 1
        #expect(throws: MountRecord.Problem.checksum) { try self.table() }
    }

    @Test(arguments: 0..<300 as Range<UInt64>) func survivesNonsense(seed: UInt64) throws {
        var mutator = Mutator(seed: seed)
        for number in 1...8 as ClosedRange<UInt64> { try self.table().add(handle(number)) }
        mutator.mutate(slots.bytes)
        guard let table = try? self.table() else { return }
        #expect(table.inherited.count <= 8)
        for handle in table.inherited { table.remove(handle.handle) }
        for number in 100..<108 as Range<UInt64> { try table.add(handle(number)) }
    }
}
