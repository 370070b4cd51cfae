internal import BlockStorage
internal import Foundation
internal import LinuxIO
import Testing

@Suite struct LockFileTests {
    /// The file is there as long as somebody has the lock, and no longer.
    @Test func fileEndsWithItsLastOwner() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-lock-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("below/lock").path
        func isThere() -> Bool { FileManager.default.fileExists(atPath: path) }
        var first: LockFile? = try LockFile(path: path, exclusive: true)
        #expect(throws: PoolError.locked(process: 0)) { try LockFile(path: path, exclusive: false) }
        #expect(isThere())
        withExtendedLifetime(first) {}
        first = nil
        #expect(!isThere())
        var readers: [LockFile] = try (0..<3).map { _ in try LockFile(path: path, exclusive: false) }
        #expect(throws: PoolError.locked(process: 0)) { try LockFile(path: path, exclusive: true) }
        while readers.count > 1 {
            readers.removeLast()
            #expect(isThere())
        }
        readers = []
        #expect(!isThere())
    }

    /// Of many that take it and let it go at once, no two ever have it together.
    @Test func removalLetsNoTwoIn() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-lock-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appendingPathComponent("lock").path, inside = InsideCounter()
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            var taken = 0
            while taken < 500 {
                guard let lock = try? LockFile(path: path, exclusive: true) else { continue }
                inside.enter()
                withExtendedLifetime(lock) { inside.leave() }
                taken += 1
            }
        }
        #expect(inside.most == 1)
    }
}

/// How many are inside at most.
private final class InsideCounter: @unchecked Sendable {
    private let lock = NSLock()
    private var count = 0
    private(set) var most = 0

    func enter() {
        lock.withLock {
            count += 1
            most = max(most, count)
        }
    }

    func leave() { lock.withLock { count -= 1 } }
}
