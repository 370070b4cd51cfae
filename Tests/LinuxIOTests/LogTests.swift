internal import Foundation
internal import LinuxIO
internal import Synchronization
import Testing

@Suite struct LogTests {
    private final class Clock: Sendable {
        let time = Atomic<UInt64>(0)
        func advance(seconds: UInt64) { time.add(seconds * 1_000_000_000, ordering: .relaxed) }
    }

    private func withLog(_ level: Log.Level, _ body: (Log, Clock, URL) throws -> Void) throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString).log")
        defer { try? FileManager.default.removeItem(at: file) }
        let clock = Clock()
        let log = Log(name: "volfs[test]", level: level, now: { clock.time.load(ordering: .relaxed) })
        #expect(log.open(.file(file.path)) == 0)
        try body(log, clock, file)
    }

    /// Lines without their time.
    private func lines(_ file: URL) throws -> [String] {
        try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1)[1] }.map(String.init)
    }

    @Test func oneLineOfKeysAndValues() throws {
        try withLog(.info) { log, _, file throws in
            log.write(.error, "cannot read", ["volume": "root", "offset": "4096", "reason": "a \"b\"\nc=\\"])
            log.write(.info, "ready")
            log.write(.debug, "not this one")
            let found = try lines(file)
            #expect(found == [#"level=error msg="cannot read" volume=root offset=4096 reason="a \"b\"?c=\\""#, "level=info msg=ready"])
        }
    }

    /// Of one kind twenty in ten seconds; others are not affected, and the next window says how many were left out.
    @Test func rateIsLimitedByKind() throws {
        try withLog(.debug) { log, clock, file throws in
            for number in 0..<50 { log.write(.debug, "refused", ["number": "\(number)"]) }
            log.write(.info, "other")
            #expect(try lines(file).count == 21)
            clock.advance(seconds: 11)
            log.write(.debug, "refused", ["number": "50"])
            log.write(.debug, "refused", ["number": "51"])
            #expect(try lines(file).suffix(2) == ["level=debug msg=refused number=50 left_out=30", "level=debug msg=refused number=51"])
        }
    }

    /// After a rename it goes on in a new file, and the level can change.
    @Test func isOpenedAnew() throws {
        try withLog(.warning) { log, _, file throws in
            log.write(.warning, "one")
            let old = file.appendingPathExtension("1")
            defer { try? FileManager.default.removeItem(at: old) }
            try FileManager.default.moveItem(at: file, to: old)
            #expect(log.reopen() == 0)
            log.write(.warning, "two")
            #expect(try lines(old) == ["level=warning msg=one"] && lines(file) == ["level=warning msg=two"])
            log.level = .error
            log.write(.warning, "three")
            #expect(try lines(file).count == 1)
            #expect(log.open(.file("/no/such/directory/log")) == 2)
            log.write(.error, "four")
            #expect(try lines(file).last == "level=error msg=four", "a log that cannot be opened leaves the one before")
        }
    }

    @Test(arguments: Log.Level.allCases) func levelsHaveNames(level: Log.Level) {
        #expect(Log.Level(name: level.name) == level && Log.Level(name: "\(level)x") == nil)
    }
}
