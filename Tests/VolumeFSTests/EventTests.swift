internal import BlockStorage
internal import PoolEngine
internal import Synchronization
internal import TestSupport
internal import VolumeFS
import Testing

/// `.ctl/events` without a mount: no thread waits, so a test sees each answer when it is given.
@Suite struct EventTests {
    private let root = Caller(process: 1, uid: 0, gid: 0)
    private let read = OpenRequest(writes: false, truncates: false)

    private func files() throws -> VolumeFileSystem {
        let options = VolumeFileSystem.Options(now: { 5_000_000_000 }, pause: { _ in })
        return VolumeFileSystem(pool: try Pool.makeTiny(on: SimulatedDisk(size: 640 * 1024)), options: options)
    }

    private final class Answers: Sendable {
        private let given = Mutex<[EventAnswer]>([])
        func add(_ answer: EventAnswer) { given.withLock { $0.append(answer) } }
        var all: [EventAnswer] { given.withLock { $0 } }
        var text: String {
            all.map { answer in
                guard case .bytes(let bytes) = answer else { return "\(answer)" }
                return String(decoding: bytes, as: UTF8.self)
            }.joined()
        }
    }

    private func ask(_ files: VolumeFileSystem, _ handle: UInt64, _ answers: Answers, count: Int = 4096, waits: Bool = true) -> UInt64 {
        let token = files.announceEventRead()
        files.readEvents(handle: handle, token: token, count: count, waits: waits) { answers.add($0) }
        return token
    }

    /// From the moment of open on; who waits is answered by whoever does something.
    @Test func readersWaitForWhatHappens() throws {
        let files = try files(), answers = Answers()
        _ = try files.create(.root, "before", mode: 0o644, read, by: root)
        let handle = try files.open(.events, read, by: root).handle
        _ = ask(files, handle, answers)
        #expect(answers.all.isEmpty)
        _ = try files.create(.root, "v", mode: 0o644, read, by: root)
        #expect(answers.text == #"{"schema":"volfs.event/1","time":"1970-01-01T00:00:05Z","kind":"volume-created","object":"v","size":0}"# + "\n")
        _ = ask(files, handle, answers, waits: false)
        #expect(answers.all.last == .nothing)
        files.release(.events, handle: handle)
        #expect(!files.hasEventReaders)
    }

    /// A volume that grows by writes is told with its size when who wrote it closes it, once, and by a request for a size at once.
    @Test func sizesFollowWhatMadeThem() throws {
        let files = try files(), answers = Answers()
        let handle = try files.open(.events, read, by: root).handle
        let write = OpenRequest(writes: true, truncates: false)
        let (inode, file) = try files.create(.root, "v", mode: 0o644, write, by: root)
        let other = try files.open(inode, write, by: root)
        try [UInt8](repeating: 1, count: 5000).withUnsafeBytes { try files.write(inode, handle: file.handle, at: 0, $0) }
        func told() -> [String] {
            _ = ask(files, handle, answers, waits: false)
            return answers.text.split(separator: "\n").filter { $0.contains("kind") }.compactMap { $0.split(separator: "\"kind\":").last.map(String.init) }
        }
        let created = #""volume-created","object":"v","size":0}"#, grown = #""volume-resized","object":"v","size":5000}"#
        #expect(told() == [created])
        files.release(inode, handle: file.handle)
        #expect(told() == [created, grown])
        files.release(inode, handle: other.handle)
        #expect(told() == [created, grown])
        var cut = AttributeChanges()
        cut.size = 100
        _ = try files.setAttributes(inode, cut, hasHandle: false)
        files.release(inode, handle: try files.open(inode, write, by: root).handle)
        #expect(told() == [created, grown, #""volume-resized","object":"v","size":100}"#])
        files.release(.events, handle: handle)
    }

    /// Also where somebody opens and closes it all the while.
    @Test func eachRequestForASizeIsToldOnce() throws {
        let files = try files(), answers = Answers(), failures = Failures(), isOver = Atomic(false), root = root
        let handle = try files.open(.events, read, by: root).handle, write = OpenRequest(writes: true, truncates: false)
        let (inode, file) = try files.create(.root, "v", mode: 0o644, read, by: root)
        inParallel(2) { index in
            do throws(PoolError) {
                while index == 1 && !isOver.load(ordering: .acquiring) { files.release(inode, handle: try files.open(inode, write, by: root).handle) }
                guard index == 0 else { return }
                defer { isOver.store(true, ordering: .releasing) }
                for size in 1...400 {
                    var change = AttributeChanges()
                    change.size = UInt64(size)
                    _ = try files.setAttributes(inode, change, hasHandle: false)
                    if size % 100 == 0 { _ = self.ask(files, handle, answers, count: 65_536, waits: false) }
                }
            } catch {
                failures.add("\(error)")
            }
        }
        files.release(inode, handle: file.handle)
        _ = ask(files, handle, answers, count: 65_536, waits: false)
        #expect(failures.all == [])
        let told = answers.text.split(separator: "\n").filter { $0.contains("volume-resized") }.compactMap { $0.split(separator: ":").last }
        #expect(told == (1...400).map { "\($0)}" })
        files.release(.events, handle: handle)
    }

    /// Interrupted before it waits, while it waits, and when it has its answer; each is answered once.
    @Test func interruptionsAreAnsweredOnce() throws {
        let files = try files(), answers = Answers()
        let handle = try files.open(.events, read, by: root).handle
        let token = files.announceEventRead()
        files.interruptEvents(token)
        files.readEvents(handle: handle, token: token, count: 10, waits: true) { answers.add($0) }
        #expect(answers.all == [.interrupted])
        let second = ask(files, handle, answers)
        files.interruptEvents(second)
        files.interruptEvents(second)
        #expect(answers.all == [.interrupted, .interrupted])
        let third = ask(files, handle, answers)
        _ = try files.create(.root, "v", mode: 0o644, read, by: root)
        files.interruptEvents(third)
        #expect(answers.all.count == 3 && answers.text.contains("volume-created"))
    }

    /// The end of the mount is the end of the file, for those that wait and those that come later; what is there is read first.
    @Test func theEndWakesEverybody() throws {
        let files = try files(), answers = Answers()
        let handle = try files.open(.events, read, by: root).handle, other = try files.open(.events, read, by: root).handle
        _ = ask(files, handle, answers)
        files.stop()
        #expect(answers.text.contains(#""kind":"state""#))
        let late = Answers()
        _ = ask(files, other, late)
        _ = ask(files, other, late)
        #expect(late.all.count == 2 && late.text.contains("stopping") && late.all.last == .bytes([]))
    }

    /// It is told once, however late it is read, and the state says so as long as somebody has something open.
    @Test func stoppingIsToldOnce() throws {
        let files = try files(), answers = Answers()
        let made = try files.create(.root, "v", mode: 0o644, read, by: root), handle = try files.open(.events, read, by: root).handle
        files.tend()
        files.stop()
        files.tend()
        files.stop()
        for _ in 0..<3 { _ = ask(files, handle, answers, waits: false) }
        #expect(answers.text.split(separator: "stopping", omittingEmptySubsequences: false).count == 2, "\(answers.text)")
        let state = try files.open(.state, read, by: root)
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = try bytes.withUnsafeMutableBytes { try files.read(.state, handle: state.handle, at: 0, into: $0) }
        #expect(String(decoding: bytes[..<count], as: UTF8.self) == "stopping\n")
        for inode in [made.inode, .events] { #expect(throws: PoolError.refused(.isStopping)) { try files.open(inode, read, by: root) } }
        #expect(throws: PoolError.refused(.isStopping)) { try files.open(.poolSize, OpenRequest(writes: true, truncates: false), by: root) }
    }

    /// Lines are kept up to a limit; then they are counted, and the reader is told how many it missed. Lines come whole.
    @Test func slowReadersAreToldWhatTheyMissed() throws {
        let files = try files(), answers = Answers()
        let handle = try files.open(.events, read, by: root).handle
        for _ in 0..<2000 { files.refused(RefusedRequest("mkdir", .root, "x"), by: root, .notPermitted) }
        while true {
            let before = answers.all.count
            _ = ask(files, handle, answers, count: 1000, waits: false)
            guard answers.all.count == before + 1, case .bytes(let bytes) = answers.all[before] else { break }
            #expect(bytes.last == UInt8(ascii: "\n"))
        }
        let lines = answers.text.split(separator: "\n").dropLast()
        let missed = lines.filter { $0.contains(#""kind":"missed""#) }
        #expect(missed.count == 1)
        #expect(lines.last == missed.first && lines.count < 600 && answers.text.utf8.count < 70_000)
        #expect(missed.first?.contains("\"count\":\(2000 - (lines.count - 1))") == true)
    }

    @Test func readersAreBounded() throws {
        let files = try files()
        for _ in 0..<64 { _ = try files.open(.events, read, by: root) }
        #expect(throws: PoolError.refused(.tooManyReaders(limit: 64))) { try files.open(.events, read, by: root) }
        #expect(throws: PoolError.notPermitted) { try files.open(.events, OpenRequest(writes: true, truncates: false), by: root) }
    }
}
