internal import BlockStorage
internal import PoolEngine
internal import Synchronization
internal import TestSupport
internal import VolumeFS
import Testing

/// What takes long ends when the mount is handed over, with nothing done twice or lost.
@Suite struct HandOverTests {
    private let caller = Caller(process: 1, uid: 0, gid: 0)
    private static let size = 8 << 20

    /// A volume of 512 leaves, a snapshot of it, and a clone that differs from it in each leaf.
    private func image() throws -> [UInt8] {
        let disk = SimulatedDisk(size: 20 << 20)
        let pool = try Pool.makeTiny(on: disk)
        let volume = try pool.createVolume("v", size: UInt64(Self.size), attributes: .plain)
        for offset in stride(from: 0, to: Self.size, by: 16_384) { try pool.write(volume, at: UInt64(offset), [UInt8](repeating: 1, count: 16_384)) }
        let snapshot = try pool.createSnapshot("s", of: volume)
        let clone = try pool.createClone("c", of: snapshot, attributes: .plain)
        for offset in stride(from: 0, to: Self.size, by: 16_384) { try pool.write(clone, at: UInt64(offset), [2]) }
        try pool.close()
        return disk.image
    }

    /// As another daemon opens it: nothing of the maps is in memory.
    private func open(_ image: [UInt8]) throws -> (files: VolumeFileSystem, disk: SimulatedDisk) {
        let disk = SimulatedDisk(image: image)
        var configuration = Pool.Configuration.tiny
        configuration.cacheSize = 1 << 20
        let pool = try Pool(opening: disk, configuration: configuration, environment: .simulated(seed: 2))
        return (VolumeFileSystem(pool: pool, options: .init(now: { 5 }, pause: { _ in })), disk)
    }

    /// Device calls of `body`; at the one of that number the mount is handed over.
    private func calls(
        _ mount: (files: VolumeFileSystem, disk: SimulatedDisk), handedOverAt number: Int = .max, repeats: Bool = true, _ body: () throws -> Void
    ) rethrows -> Int {
        let counter = Counter()
        mount.disk.setHook { [files = mount.files] _ in if counter.next() == number { files.beginHandOver(repeats: repeats) } }
        defer { mount.disk.setHook(nil) }
        try body()
        return counter.count
    }

    private final class Counter: Sendable {
        private let number = Mutex(0)
        var count: Int { number.withLock { $0 } }
        func next() -> Int {
            number.withLock { number in
                number += 1
                return number
            }
        }
    }

    private func text(_ files: VolumeFileSystem, _ inode: Inode) throws -> [UInt8] {
        let file = try files.open(inode, OpenRequest(writes: false, truncates: false), by: caller)
        defer { files.release(inode, handle: file.handle) }
        var bytes = [UInt8](repeating: 0, count: 100_000)
        let count = try bytes.withUnsafeMutableBytes { try files.read(inode, handle: file.handle, at: 0, into: $0) }
        return Array(bytes[..<count])
    }

    private func ask(_ files: VolumeFileSystem, _ name: String) throws -> [UInt8] {
        let file = try files.open(.unique, OpenRequest(writes: true, truncates: false), by: caller)
        defer { files.release(.unique, handle: file.handle) }
        try Array(name.utf8).withUnsafeBytes { try files.write(.unique, handle: file.handle, at: 0, $0) }
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = try bytes.withUnsafeMutableBytes { try files.read(.unique, handle: file.handle, at: 0, into: $0) }
        return Array(bytes[..<count])
    }

    /// A walk ends within the step that it is in, and whoever asks the next daemon has what it would have been.
    private func expectEnd(
        _ image: [UInt8], _ what: String, _ walk: (VolumeFileSystem) throws -> [UInt8]
    ) throws {
        var whole: [UInt8] = []
        let first = try open(image)
        let all = try calls(first) { whole = try walk(first.files) }
        let second = try open(image)
        let some = calls(second, handedOverAt: 10) {
            #expect(throws: PoolError.refused(.isHandedOver), "\(what)") { _ = try walk(second.files) }
        }
        #expect(all > 500 && some < all / 2, "\(what): \(some) of \(all) device calls")
        let next = try open(image)
        #expect(try walk(next.files) == whole, "\(what)")
    }

    @Test func walksEndAtOnce() throws {
        let image = try image(), files = try open(image).files
        let clone = try files.pool.find("c"), snapshot = try files.pool.find(snapshot: "s", of: try files.pool.find("v"))
        try expectEnd(image, "unique") { try ask($0, "c") }
        try expectEnd(image, "info") { try text($0, .volumeInfo(clone)) }
        try expectEnd(image, "property") { try $0.attribute(.file(clone), "user.volfs.unique") }
        try expectEnd(image, "differences") { try text($0, .diff(snapshot << 28 | clone)) }
        try expectEnd(image, "hole") { files in
            let found = try files.seek(.file(clone), data: false, from: 0, noneIs: .notFound)
            return Array("\(found)".utf8)
        }
    }

    /// Nobody asks again for a hole where the kernel does not: then it is looked for to the end.
    @Test func oldKernelsWaitForSeeks() throws {
        let image = try image(), mount = try open(image)
        let clone = try mount.files.pool.find("c")
        _ = try calls(mount, handedOverAt: 10, repeats: false) {
            let found = try mount.files.seek(.file(clone), data: false, from: 0, noneIs: .notFound)
            #expect(found == UInt64(Self.size))
        }
        #expect(throws: PoolError.refused(.isHandedOver)) { try mount.files.attribute(.file(clone), "user.volfs.unique") }
    }

    /// A copy returns what it has done, never nothing, and goes on from there at the next daemon.
    @Test(arguments: [0, 1]) func copiesReturnWhatIsDone(shift: Int) throws {
        let mount = try open(try image()), pool = mount.files.pool
        let from = try pool.find("c"), to = try pool.createVolume("copy", size: 0, attributes: .plain)
        var done: UInt64 = 0, counts: [UInt64] = []
        for number in [1, .max] where done < UInt64(Self.size - shift) {
            _ = try calls(mount, handedOverAt: number) {
                let count = UInt64(Self.size - shift) - done
                let step = try mount.files.copy(from: .file(from), at: UInt64(shift) + done, to: .file(to), at: done, count: count)
                let size = try pool.size(to).bytes
                #expect(size == done + step)
                done += step
                counts.append(step)
            }
        }
        #expect(counts.allSatisfy { $0 > 0 }, "\(counts)")
        if shift == 1 { #expect(counts[0] < UInt64(Self.size) / 2) }
        #expect(try Array(pool.contents(to)) == Array(pool.contents(from)[shift..<shift + Int(done)]))
    }

    /// Figures are not waited for by a mount that ends; what is open is served.
    @Test func stopEndsFigures() throws {
        let image = try image(), mount = try open(image)
        let clone = try mount.files.pool.find("c")
        mount.files.stop()
        #expect(throws: PoolError.refused(.isStopping)) { try mount.files.attribute(.file(clone), "user.volfs.unique") }
        #expect(try mount.files.seek(.file(clone), data: false, from: 0, noneIs: .notFound) == UInt64(Self.size))
    }
}
